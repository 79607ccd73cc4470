package job

import (
	"time"
)

// AttemptTrace is an attempt of a bundle that has ended.
type AttemptTrace struct {
	Job         string // id
	Stage       int
	StageName   string
	Environment string // id; empty for stages of the runner's own
	Bundle      uint64
	Attempt     int
	Elements    int64 // of the input
	Started     time.Time
	Ended       time.Time
	Committed   time.Time // zero if it failed
	Err         string    // why it failed
}

// Tracer is told what jobs do, for those who collect that. Its methods are
// called by the jobs' own goroutines: they must not block.
type Tracer interface {
	Attempt(AttemptTrace)
	// JobEnded is told of a job after all of its attempts.
	JobEnded(id, name, state string, started, ended time.Time)
}

// noteAttempt keeps what there is to tell of an attempt until it is committed,
// or tells it if it has failed.
func (d *driver) noteAttempt(ex *execution, x attemptDone) {
	tracer := d.j.m.opts.Tracer
	if tracer == nil {
		return
	}
	s := d.j.plan.Stages[x.ev.Stage]
	t := AttemptTrace{
		Job: d.j.id, Stage: x.ev.Stage, StageName: s.Name, Environment: s.Environment,
		Bundle: x.ev.Bundle, Attempt: x.ev.Attempt, Elements: ex.attempt.total(), Started: ex.started, Ended: time.Now(),
	}
	if x.err != nil {
		t.Err = d.j.secrets.Replace(gist(x.err.Error()))
		tracer.Attempt(t)
		return
	}
	x.res.trace = &t
}

// tellCommitted tells of an attempt that is committed.
func (d *driver) tellCommitted(res *result) {
	if res.trace == nil {
		return
	}
	res.trace.Committed = time.Now()
	d.j.m.opts.Tracer.Attempt(*res.trace)
}
