package job

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"

	"github.com/pharos-beam/pharos/internal/failpoint"
	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// Recover takes over the jobs that a durable store has from before: those that
// have ended are there to be looked at, the others go on. It is called once,
// before anything else is asked of the manager.
func (m *Manager) Recover() error {
	if m.journal == nil {
		return nil
	}
	all, err := m.journal.load()
	if err != nil {
		return err
	}
	keep := map[uint64]bool{}
	for _, f := range all {
		m.spend(f.entry.Origin)
		for _, id := range f.blocks() {
			keep[id] = true
		}
	}
	failpoint.Hit(failpoint.Recover)
	m.opts.Spool.Retain(keep)
	m.retainLogs(all)
	for _, f := range all {
		j, err := m.revive(f)
		m.mu.Lock()
		m.jobs[j.id] = j
		m.mu.Unlock()
		switch {
		case j.terminal():
			if err := m.journal.sweep(f.id); err != nil {
				return err
			}
			m.dropArtifacts(f.id)
		case errors.Is(err, errOtherPlan):
			m.rest(j, f, err)
		case err != nil:
			m.opts.Log.Warn("job cannot go on", "job", j.id, "err", err)
			j.fail(fmt.Errorf("the job cannot go on after the restart of the runner: %w", err))
		default:
			failpoint.Hit(failpoint.Recovered)
			m.launch(j)
		}
	}
	m.trim()
	return nil
}

// retainLogs removes the logs of jobs that are not known any more.
func (m *Manager) retainLogs(all []*found) {
	for _, name := range m.opts.Logs.Names() {
		if !slices.ContainsFunc(all, func(f *found) bool { return f.id == name }) {
			m.opts.Logs.Remove(name)
		}
	}
}

// revive makes a job of what the store has of it. With an error it is one that
// cannot go on.
func (m *Manager) revive(f *found) (*Job, error) {
	req, err := f.request()
	if err != nil {
		req = &jobpb.PrepareJobRequest{JobName: f.entry.Name}
	}
	j := blankJob(m, f.id, req)
	j.created, j.since, j.state = f.entry.Created, f.entry.Since, f.entry.State
	j.happened = f.first + len(f.events)
	for _, e := range f.events {
		if e.Message != nil {
			j.messages++
		}
		j.events.add(e)
	}
	if err == nil {
		err = j.replan(f)
	}
	if j.terminal() {
		return j, j.exhume(f)
	}
	if f.entry.Draining {
		j.Drain()
	}
	j.state, j.origin = jobpb.JobState_STARTING, f.entry.Origin
	if f.begun() {
		j.found = f
	}
	if missing := m.opts.Spool.Missing(f.blocks()); err == nil && len(missing) > 0 {
		err = fmt.Errorf("%d of its blocks are not on disk, block %d among them", len(missing), missing[0])
	}
	return j, err
}

// errOtherPlan: what the job has in the store is laid out by another plan.
var errOtherPlan = errors.New("this version of the runner plans the pipeline differently from the one that began it")

// rest keeps a job that this runner cannot go on with, until it is stopped: one
// that can may come after it. Meanwhile the job can be cancelled, and a snapshot
// be taken of it.
func (m *Manager) rest(j *Job, f *found, why error) {
	m.opts.Log.Warn("job is suspended", "job", j.id, "err", why)
	j.suspend(fmt.Sprintf("%v. Go on with the version of before, or take a snapshot and begin a new job from it", why))
	j.mu.Lock()
	j.resting, j.laidOut = true, f.entry.Layout // that of what is in the store
	j.mu.Unlock()
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		if !j.cancelledWhileSuspended(m.ctx) {
			j.events.close()
			j.logs.End()
			return
		}
		if err := j.seal(jobpb.JobState_CANCELLED); err != nil {
			m.opts.Log.Warn("the end of the job cannot be written down", "job", j.id, "err", err)
		}
		j.setState(jobpb.JobState_CANCELLED)
	}()
}

// replan plans the pipeline again. What the job has in the store is laid out by
// the plan that it had, so that must be the same.
func (j *Job) replan(f *found) error {
	view, err := pipeline.Validate(j.pipeline)
	if err != nil {
		return err
	}
	if j.plan, err = plan.Build(view, j.m.opts.Plan); err != nil {
		return err
	}
	if j.settings, err = readSettings(j.options); err != nil {
		return err
	}
	if isTerminal(f.entry.State) || !f.begun() {
		return nil
	}
	if !samePlan(f.entry.Plan, j.plan) || f.entry.Shards != j.m.opts.Core.Shards {
		return errOtherPlan
	}
	return nil
}

// samePlan says whether an entry is of this plan. Until November 2026 entries
// had the fingerprint of the plan's whole text, reasons included.
func samePlan(entry string, p *plan.Plan) bool {
	return entry == p.Fingerprint() || entry == fingerprint(p.String())
}

// exhume restores what a job that had ended has counted.
func (j *Job) exhume(f *found) error {
	infos, err := decodeInfos(f.entry.Metrics)
	for _, mi := range infos {
		if bad := j.metrics.committed.Add(mi); bad != nil && err == nil {
			err = bad
		}
	}
	j.bury()
	return err
}

// fail ends a job that cannot run.
func (j *Job) fail(err error) {
	j.message(jobpb.JobMessage_JOB_MESSAGE_ERROR, err.Error())
	j.m.dropArtifacts(j.id)
	if err := j.seal(jobpb.JobState_FAILED); err != nil {
		j.m.opts.Log.Warn("the end of a job cannot be written down", "job", j.id, "err", err)
	}
	j.setState(jobpb.JobState_FAILED)
}

// Waiting for worker services that a job had before the restart.
const (
	// DefaultClientTimeout is how long it takes at most.
	DefaultClientTimeout = 5 * time.Minute
	dialTimeout          = time.Second
)

// awaitServices waits until the worker services of a job that goes on are there
// again. That of a LOOPBACK job is in the program that submitted it.
func (d *driver) awaitServices(ctx context.Context) error {
	wait := d.j.m.opts.ClientTimeout
	if wait <= 0 {
		wait = DefaultClientTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for id, p := range d.pools {
		t := p.Target()
		if t == nil || t.Kind != environment.External {
			continue
		}
		if anyAnswers(ctx, t.Services) {
			continue
		}
		d.j.message(jobpb.JobMessage_JOB_MESSAGE_WARNING, fmt.Sprintf("waits up to %v for the worker service at %s", wait, t.Endpoint))
		if err := d.await(ctx, t.Services); err != nil {
			return fmt.Errorf("transform %s: the worker service at %s has not come back within %v of the restart of the runner; with LOOPBACK it ends with the program that submitted the job: jobs that are to outlive it need another environment", d.r.userOf(id), t.Endpoint, wait)
		}
	}
	return nil
}

// giveUp ends a job whose services have not come back, unless it is the runner
// that stops.
func (d *driver) giveUp(ctx context.Context, err error) {
	d.suspended = ctx.Err() != nil
	go d.committer.run(d.ctx)
	d.close()
	if d.suspended {
		d.j.events.close()
		d.j.logs.End()
		return
	}
	d.j.fail(err)
}

// await tries to reach one of the services until ctx ends or the job is cancelled.
func (d *driver) await(ctx context.Context, services []environment.Service) error {
	tick := time.NewTicker(dialTimeout)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.j.cancel:
			return nil // the driver sees to it
		case <-tick.C:
			if anyAnswers(ctx, services) {
				return nil
			}
		}
	}
}

// anyAnswers tells whether one of the services can be reached: the others may
// come back later.
func anyAnswers(ctx context.Context, services []environment.Service) bool {
	return slices.ContainsFunc(services, func(s environment.Service) bool { return dial(ctx, s.Endpoint) == nil })
}

func dial(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}
