// Package servertest has jobs for tests of the front door: they do what the
// test says and run nothing.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/server"
	"google.golang.org/protobuf/types/known/structpb"
)

// Jobs implements server.Jobs. A pipeline without root transforms is invalid.
type Jobs struct {
	// OnRun is called on a goroutine of its own when a job is run; it plays the
	// job. Nil: the job stays RUNNING.
	OnRun func(*Job)

	mu        sync.Mutex
	jobs      []*Job
	snapshots []*server.Snapshot
}

// Prepare implements server.Jobs.
func (f *Jobs) Prepare(_ context.Context, req *jobpb.PrepareJobRequest) (server.Job, error) {
	if len(req.GetPipeline().GetRootTransformIds()) == 0 {
		return nil, &server.InvalidError{Reasons: []string{"it has no transforms", "and no other merit"}}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.jobs) + 1
	j := newJob(fmt.Sprintf("job-%d", n), fmt.Sprintf("prep-%d", n), req)
	f.jobs = append(f.jobs, j)
	return j, nil
}

// Run implements server.Jobs.
func (f *Jobs) Run(_ context.Context, id string) (server.Job, error) {
	j, ok := f.Job(id)
	if !ok {
		return nil, server.ErrNotFound
	}
	fake := j.(*Job)
	if st, _ := fake.State(); st != jobpb.JobState_STOPPED {
		return nil, fmt.Errorf("%w: %s is %s", server.ErrState, id, st)
	}
	fake.Enter(jobpb.JobState_RUNNING)
	if f.OnRun != nil {
		go f.OnRun(fake)
	}
	return fake, nil
}

// Job implements server.Jobs.
func (f *Jobs) Job(id string) (server.Job, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.jobs {
		if j.id == id || j.prep == id {
			return j, true
		}
	}
	return nil, false
}

// Jobs implements server.Jobs.
func (f *Jobs) Jobs() []server.Job {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]server.Job, len(f.jobs))
	for i, j := range f.jobs {
		out[i] = j
	}
	return out
}

// Add makes a job without the Jobs API.
func (f *Jobs) Add(name string) *Job {
	j, err := f.Prepare(context.Background(), &jobpb.PrepareJobRequest{
		JobName: name, Pipeline: &pipepb.Pipeline{RootTransformIds: []string{"root"}},
	})
	if err != nil {
		panic(err)
	}
	return j.(*Job)
}

// Job implements server.Job.
type Job struct {
	id, prep string
	req      *jobpb.PrepareJobRequest
	created  time.Time

	mu        sync.Mutex
	state     jobpb.JobState_Enum
	since     time.Time
	suspended string
	events    []server.Event
	logs      []server.LogLine
	changed   chan struct{}
	plan      *plan.Plan
	progress  []server.StageProgress
	attempted []*pipepb.MonitoringInfo
	committed []*pipepb.MonitoringInfo
	cancelled int
}

func newJob(id, prep string, req *jobpb.PrepareJobRequest) *Job {
	now := time.Now()
	return &Job{
		id: id, prep: prep, req: req, created: now, state: jobpb.JobState_STOPPED, since: now,
		events:  []server.Event{{At: now, State: jobpb.JobState_STOPPED}},
		changed: make(chan struct{}),
	}
}

// ID implements server.Job.
func (j *Job) ID() string { return j.id }

// PreparationID implements server.Job.
func (j *Job) PreparationID() string { return j.prep }

// Name implements server.Job.
func (j *Job) Name() string { return j.req.GetJobName() }

// Created implements server.Job.
func (j *Job) Created() time.Time { return j.created }

// Pipeline implements server.Job.
func (j *Job) Pipeline() *pipepb.Pipeline { return j.req.GetPipeline() }

// Options implements server.Job.
func (j *Job) Options() *structpb.Struct { return j.req.GetPipelineOptions() }

// Drain implements server.Job.
func (j *Job) Drain() { j.end(jobpb.JobState_DRAINED) }

// State implements server.Job.
func (j *Job) State() (jobpb.JobState_Enum, time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state, j.since
}

// Plan implements server.Job.
func (j *Job) Plan() *plan.Plan {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.plan
}

// Metrics implements server.Job.
func (j *Job) Metrics() (attempted, committed []*pipepb.MonitoringInfo) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.attempted, j.committed
}

// Progress implements server.Job.
func (j *Job) Progress() []server.StageProgress {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress
}

// Suspended implements server.Job.
func (j *Job) Suspended() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.suspended
}

// Suspend suspends the job.
func (j *Job) Suspend(why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.suspended = why
}

// Stats implements server.Job.
func (j *Job) Stats() server.JobStats { return server.JobStats{} }

// Workers implements server.Job: there is one.
func (j *Job) Workers() []server.Worker {
	return []server.Worker{{Name: "w1", Environment: "py", Target: "process"}}
}

// WorkerStatus implements server.Job.
func (j *Job) WorkerStatus(_ context.Context, worker string) (string, error) {
	if worker != "w1" {
		return "", fmt.Errorf("%w: no live worker %q", server.ErrNotFound, worker)
	}
	return "THREADS: one", nil
}

// Samples implements server.Job: those of a job that fails.
func (j *Job) Samples(context.Context) ([]server.Sample, error) {
	if j.Name() != "fails" {
		return nil, fmt.Errorf("%w: it samples nothing", server.ErrState)
	}
	return []server.Sample{
		{PCollection: "lines", At: j.created, Value: "a line"},
		{PCollection: "words", At: j.created, Value: map[string]any{"key": "a", "value": 1}, Transform: "count", Error: "ValueError: boom"},
	}, nil
}

// Cancel implements server.Job.
func (j *Job) Cancel() {
	j.mu.Lock()
	j.cancelled++
	j.mu.Unlock()
	j.end(jobpb.JobState_CANCELLED)
}

// end brings a job that goes on to its end.
func (j *Job) end(s jobpb.JobState_Enum) {
	j.mu.Lock()
	over := server.Terminal(j.state)
	j.mu.Unlock()
	if !over {
		j.Enter(s)
	}
}

// Cancelled is how often the job was asked to stop.
func (j *Job) Cancelled() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cancelled
}

// Enter changes the state.
func (j *Job) Enter(s jobpb.JobState_Enum) {
	j.update(func() {
		j.state, j.since = s, time.Now()
		j.events = append(j.events, server.Event{At: j.since, State: s})
	})
}

// Say adds a message.
func (j *Job) Say(i jobpb.JobMessage_MessageImportance, text string) {
	j.update(func() {
		m := &jobpb.JobMessage{Importance: i, MessageText: text}
		j.events = append(j.events, server.Event{At: time.Now(), State: j.state, Message: m})
	})
}

// Log adds a log line.
func (j *Job) Log(l server.LogLine) { j.update(func() { j.logs = append(j.logs, l) }) }

// Set changes what the job shows of itself.
func (j *Job) Set(p *plan.Plan, progress []server.StageProgress, attempted, committed []*pipepb.MonitoringInfo) {
	j.update(func() { j.plan, j.progress, j.attempted, j.committed = p, progress, attempted, committed })
}

func (j *Job) update(fn func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if server.Terminal(j.state) {
		panic(errors.New("a job changes after its end"))
	}
	fn()
	close(j.changed)
	j.changed = make(chan struct{})
}

// Events implements server.Job.
func (j *Job) Events(ctx context.Context) iter.Seq[server.Event] {
	return follow(ctx, j, true, func() []server.Event { return j.events })
}

// Logs implements server.Job.
func (j *Job) Logs(ctx context.Context, q server.LogQuery) iter.Seq[server.LogLine] {
	return func(yield func(server.LogLine) bool) {
		for l := range follow(ctx, j, q.Follow, func() []server.LogLine { return j.logs }) {
			if q.Match(l) && !yield(l) {
				return
			}
		}
	}
}

func follow[T any](ctx context.Context, j *Job, live bool, list func() []T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for n := 0; ; {
			j.mu.Lock()
			items, changed, over := list()[n:], j.changed, server.Terminal(j.state)
			j.mu.Unlock()
			for _, it := range items {
				if n++; !yield(it) {
					return
				}
			}
			if over || !live {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
