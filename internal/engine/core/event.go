package core

import (
	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// Event is something that happened, told to the core.
type Event interface{ event() }

// The events.
type (
	// Start begins the job. NowMS is wall-clock time in Unix milliseconds, here
	// and below.
	Start struct{ NowMS int64 }
	// BundleFinished: an attempt of a bundle succeeded; nothing of it is
	// visible until its record is durable.
	BundleFinished struct{ Record *commit.Record }
	// BundleFailed: an attempt failed. Permanent failures are not retried.
	BundleFailed struct {
		Bundle    uint64
		Attempt   int
		Err       string
		Permanent bool
	}
	// Split: a running attempt of a bundle without keys has given back a part of
	// its input for others to process at once. From now on the bundle's input
	// is Primary, also if it is tried again.
	Split struct {
		Bundle   uint64
		Attempt  int
		Primary  []commit.Block
		Residual []commit.Residual
		// Made are the blocks among them that were not the bundle's before.
		Made []uint64
	}
	// CommitDurable: the records of these bundles have been applied.
	CommitDurable struct{ Bundles []uint64 }
	// TestEvent answers NextTestEvent. Without an event, there is none any more;
	// Err, if not empty, says why there will be none, and fails the job.
	TestEvent struct {
		Stage int
		Event *pipepb.TestStreamPayload_Event
		Err   string
	}
	// ClockAdvanced tells the time.
	ClockAdvanced struct{ NowMS int64 }
	// Drain ends the job once it has processed what it must: see drain.go. It
	// may come before Start.
	Drain struct{}
	// Cancel ends the job at once.
	Cancel struct{}
)

func (Start) event()          {}
func (BundleFinished) event() {}
func (BundleFailed) event()   {}
func (Split) event()          {}
func (CommitDurable) event()  {}
func (TestEvent) event()      {}
func (ClockAdvanced) event()  {}
func (Drain) event()          {}
func (Cancel) event()         {}

// Effect is something the core wants done.
type Effect interface{ effect() }

// Lease is what a bundle takes from one shard.
type Lease struct {
	Shard  int
	Blocks []commit.Block // in order of arrival
}

// The effects.
type (
	// StartBundle runs an attempt of a bundle. The answer is BundleFinished or
	// BundleFailed with the same Bundle and Attempt.
	StartBundle struct {
		Bundle  uint64
		Attempt int
		Stage   int
		Leases  []Lease
		// Watermark is the input watermark: event-time timers up to it are due.
		Watermark timestamp.Time
		// Output is the output watermark of the stage.
		Output timestamp.Time
		// NowMS is processing time.
		NowMS int64
		// ProcDueMS: processing-time timers up to it are due.
		ProcDueMS int64
		// SyncNowMS is synchronized processing time.
		SyncNowMS int64
		// Event is the TestStream event to emit.
		Event *pipepb.TestStreamPayload_Event
		// Truncate: the input is not to be processed but to be truncated, and
		// given back as residuals.
		Truncate bool
	}
	// Commit applies a record; the answer is CommitDurable.
	Commit struct{ Record *commit.Record }
	// SplitBundle asks the harness to give back what is beyond a fraction of
	// what remains of a running bundle. If Share, the answer, if any, is Split:
	// the rest goes to others at once. Otherwise there is none, and what was
	// given back is in the bundle's record.
	SplitBundle struct {
		Bundle   uint64
		Attempt  int
		Fraction float64
		Share    bool
	}
	// NextTestEvent asks the service of a TestStream stage for the next event.
	NextTestEvent struct{ Stage int }
	// AbortBundle stops a running attempt; its answer will be ignored.
	AbortBundle struct {
		Bundle  uint64
		Attempt int
	}
	// Finalize tells the harness that the bundle is durable.
	Finalize struct{ Bundle uint64 }
	// DropBlocks frees blocks that no bundle needs any more.
	DropBlocks struct{ IDs []uint64 }
	// SidesDone: the stage is done, and so are its side inputs.
	SidesDone struct{ Stage int }
	// WakeAt asks for a ClockAdvanced at a time, Unix ms. Only the last counts.
	WakeAt struct{ AtMS int64 }
	// Finish ends the job. Err is empty when it is done.
	Finish struct {
		Cancelled bool
		Drained   bool
		Err       string
		Stage     *plan.Stage // whose bundle failed; nil when it was none
		Attempts  int         // of that bundle
	}
)

func (StartBundle) effect()   {}
func (Commit) effect()        {}
func (SplitBundle) effect()   {}
func (NextTestEvent) effect() {}
func (AbortBundle) effect()   {}
func (Finalize) effect()      {}
func (DropBlocks) effect()    {}
func (SidesDone) effect()     {}
func (WakeAt) effect()        {}
func (Finish) effect()        {}
