// Package server says what the front door needs to know of jobs: the Jobs API
// (package jobserver), the JSON views (package api) and the pages (package
// webui) are all written against the interfaces here, so that each can be
// tested with a fake and none of them reaches into a job's machinery.
//
// Invariants that every implementation keeps:
//   - Jobs.Job finds a job by its job id and by its preparation id, from
//     Prepare on.
//   - Job.Events ends by itself after the terminal state, and no event follows
//     that state.
//   - All methods may be called from any goroutine, in any state of the job.
package server

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"google.golang.org/protobuf/types/known/structpb"
)

// Errors that implementations of Jobs and Job wrap, and that decide the gRPC
// and HTTP status a caller sees.
var (
	// ErrNotFound: there is no such job.
	ErrNotFound = errors.New("no such job")
	// ErrState: the job is not in a state in which that can be done.
	ErrState = errors.New("not possible in the job's state")
)

// InvalidError says that a pipeline cannot be run, with every reason at once.
type InvalidError struct{ Reasons []string }

// Error lists all reasons, one per line.
func (e *InvalidError) Error() string {
	return "the pipeline cannot be run:\n  - " + strings.Join(e.Reasons, "\n  - ")
}

// Jobs is the set of jobs of a server.
type Jobs interface {
	// Prepare validates a pipeline and keeps it. A pipeline that cannot be run
	// is an *InvalidError.
	Prepare(ctx context.Context, req *jobpb.PrepareJobRequest) (Job, error)
	// Run starts a prepared job: ErrNotFound, or ErrState if it has been
	// started before.
	Run(ctx context.Context, preparationID string) (Job, error)
	// Job finds a job by job id or preparation id.
	Job(id string) (Job, bool)
	// Jobs lists all jobs, oldest first.
	Jobs() []Job
}

// Job is one job, from its preparation on.
type Job interface {
	ID() string
	PreparationID() string
	Name() string
	Created() time.Time
	// State is the current state and the time since when.
	State() (jobpb.JobState_Enum, time.Time)
	// Suspended is why the job does nothing until the runner is started again; ""
	// if it is not so. Its state is RUNNING then: Beam has none for that.
	Suspended() string
	Pipeline() *pipepb.Pipeline
	// Options are the pipeline options as submitted; may be nil.
	Options() *structpb.Struct
	// Plan is the execution plan, nil before the job runs.
	Plan() *plan.Plan
	Cancel()
	// Drain asks the job to finish what it has read and to stop. If it has not
	// been run yet, that holds from its first moment on; if it has ended, nothing
	// changes.
	Drain()
	Metrics() (attempted, committed []*pipepb.MonitoringInfo)
	// Events yields what happened so far (bounded) and then what happens, until
	// the terminal state or the end of ctx. With a ctx that has ended it yields
	// what happened so far.
	Events(ctx context.Context) iter.Seq[Event]
	// Logs yields the log lines that are kept, those that the query asks for.
	Logs(ctx context.Context, q LogQuery) iter.Seq[LogLine]
	Progress() []StageProgress
	// Stats are as old as the last Progress.
	Stats() JobStats
	// Workers are the live workers of a running job.
	Workers() []Worker
	// WorkerStatus asks a live worker what it does: ErrNotFound if there is none
	// of that name, ErrState if it does not say.
	WorkerStatus(ctx context.Context, worker string) (string, error)
	// Samples are elements that workers have seen; ErrState if the job's pipeline
	// options do not ask workers for that.
	Samples(ctx context.Context) ([]Sample, error)
}

// JobStats are what the runner has done for a job since the runner was started.
type JobStats struct {
	Attempts Latencies      // of bundles, failed ones too
	Commits  Latencies      // from a bundle's end until its effects are in the store
	Workers  map[string]int // live ones, by environment
}

// Latencies are durations, counted by size.
type Latencies struct {
	Count   int64
	Sum     time.Duration
	Buckets map[time.Duration]int64 // how many are not longer than the key
}

// RunnerStats are what the runner as a whole uses.
type RunnerStats struct {
	Workers                              int // expected or connected
	SpoolRAMBytes, SpoolRAMLimitBytes    int64
	SpoolDiskBytes, SpoolDeadBytes       int64 // dead: dropped and not yet removed
	SpoolBlocks, SpoolSegments           int
	LogBytes, LostLogLines               int64
	StoreOnDisk                          bool // if not, there is nothing to say of the next three
	StoreDiskBytes                       int64
	StoreAppliedBytes, StoreWrittenBytes int64 // of batches; by the log and by merging too
}

// Event is a change of state or a message of a job.
type Event struct {
	At      time.Time
	State   jobpb.JobState_Enum // the state after the event
	Message *jobpb.JobMessage   // nil for a change of state
}

// StageProgress says how far a stage is.
type StageProgress struct {
	Stage           int
	Name            string
	Kind            string
	State           string // waiting, running, done; failed or stopped where the job ended before
	InputElements   int64
	OutputElements  int64
	Bundles         int64 // committed
	FailedAttempts  int64
	PendingElements int64 // the backlog: what waits for a bundle
	PendingBytes    int64
	InFlight        int64 // bundles
	Bounded         bool  // the input ends by itself
	InputWatermark  timestamp.Time
	Watermark       timestamp.Time // output watermark
	Waiting         string         // why nothing runs, for people; empty when something does
}

// Terminal tells whether a job stays in a state for ever.
func Terminal(s jobpb.JobState_Enum) bool {
	switch s {
	case jobpb.JobState_DONE, jobpb.JobState_FAILED, jobpb.JobState_CANCELLED,
		jobpb.JobState_UPDATED, jobpb.JobState_DRAINED:
		return true
	}
	return false
}
