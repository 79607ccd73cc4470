package job

import (
	"context"
	"errors"
	"log/slog"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/layout"
	"github.com/pharos-beam/pharos/internal/storage/snapshot"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// ExecutorOptions are what an Executor needs.
type ExecutorOptions struct {
	Job     string
	Log     *slog.Logger
	Plan    *plan.Plan
	Store   store.Store
	Spool   *spool.Spool
	Workers map[string]Workers // by environment
	// Shards of keyed stages; as the core's.
	Shards int
	// GroupMemory is how many bytes one grouping may hold; what is more goes to
	// TempDir.
	GroupMemory int64
	TempDir     string
	// SideMemory is how many bytes the indexes of side inputs may take; what is
	// more goes to rows.
	SideMemory int64
	// BlockBytes is the size at which a block is closed; 0: the product's.
	BlockBytes int
	// Durable jobs can be recovered from what their records leave in the store.
	Durable bool
	// Now is the workers' clock, Unix ms.
	Now func() int64
}

// Executor carries out the bundles of a job for one who owns the loop around
// the core: what a driver does, but no goroutines, clocks or commits. The
// simulation drives it.
type Executor struct{ r *runner }

// NewExecutor prepares the stages of a plan.
func NewExecutor(o ExecutorOptions) (*Executor, error) {
	r := &runner{
		job: o.Job, log: o.Log, plan: o.Plan, shards: o.Shards, blocks: newBlocks(o.Spool, o.BlockBytes), store: o.Store,
		workers: o.Workers, now: o.Now, tempDir: o.TempDir, memory: o.GroupMemory, sides: newSideRoom(o.SideMemory, nil), durable: o.Durable,
	}
	if err := r.prepare(o.Job); err != nil {
		return nil, err
	}
	return &Executor{r}, nil
}

// Adopt takes over the blocks and side inputs that the records of the job have
// left. It returns all blocks that the job needs.
func (x *Executor) Adopt(saved *table.Saved) []uint64 {
	ids := (&found{saved: saved}).blocks()
	x.r.blocks.adopt(ids, saved.Aliases)
	x.r.routeSides(&commit.Record{Sides: saved.Sides})
	return ids
}

// Snapshot writes what the records of the job have left to a file.
func (x *Executor) Snapshot(path string, p *pipepb.Pipeline) error {
	view := x.r.store.Snapshot()
	m := &manifest{Job: x.r.job, Layout: layout.Of(p, x.r.plan)}
	return errors.Join(writeSnapshot(context.Background(), path, m, view, x.r.blocks.get), view.Close())
}

// Restore gives a job that has done nothing what is in a snapshot, as if its
// records had left it. It returns what has no place there.
func (x *Executor) Restore(path string, p *pipepb.Pipeline) (lost []string, err error) {
	f, err := snapshot.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := describeSnapshot(path, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r := newRestorer(x.r, s, layout.Of(p, x.r.plan), layout.Options{})
	return r.lost, errors.Join(r.read(context.Background(), f), f.Close())
}

// Attempt prepares an attempt of a bundle. tell takes core.Split events while
// it runs.
func (x *Executor) Attempt(ev core.StartBundle, tell func(core.Event)) *Attempt {
	a := x.r.newAttempt(ev)
	a.split.tell = tell
	return &Attempt{a: a}
}

// Durable must be called with every record that has been applied to the store,
// before the core hears of it.
func (x *Executor) Durable(r *commit.Record) {
	x.r.routeSides(r)
	x.r.blocks.drop(r.Freed...)
}

// FinishSides gives back the side inputs of a stage that is done. What it
// returns, if anything, is to be applied to the store.
func (x *Executor) FinishSides(stage int) (*commit.Record, error) { return x.r.finishSides(stage) }

// Block returns the bytes of a block of the job.
func (x *Executor) Block(id uint64) ([]byte, error) { return x.r.blocks.get(id) }

// Drop frees blocks of the job.
func (x *Executor) Drop(ids ...uint64) { x.r.blocks.drop(ids...) }

// Attempt is an attempt of a bundle.
type Attempt struct {
	a   *attempt
	res *result
}

// Run carries the attempt out, to its end. Unlike in a driver, a broken
// invariant panics.
func (t *Attempt) Run(ctx context.Context) (*commit.Record, error) {
	res, err := t.a.run(ctx)
	if err != nil {
		return nil, err
	}
	t.res = res
	return res.record, nil
}

// Split gives back a part of what has not been processed, if the worker does.
// See core.SplitBundle. It may be called while Run waits for the worker.
func (t *Attempt) Split(ctx context.Context, fraction float64, share bool) {
	t.a.split.split(ctx, fraction, share)
}

// Dropped is how many elements came too late, once for each of their windows.
func (t *Attempt) Dropped() int64 { return t.a.dropped }

// Finalize tells the worker that the attempt is durable, if it wants to know.
func (t *Attempt) Finalize(ctx context.Context) error {
	if t.res == nil || t.res.finalize == nil {
		return nil
	}
	return t.res.finalize(ctx)
}

// Discard frees what an attempt that succeeded has made, when nobody will hear
// of it.
func (t *Attempt) Discard() { t.a.discard() }
