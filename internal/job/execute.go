package job

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// result is what an attempt of a bundle gives back.
type result struct {
	record   *commit.Record
	infos    []*pipepb.MonitoringInfo
	finalize func(context.Context) error // nil unless the SDK wants to hear of the commit
	input    int64                       // elements read
	output   []int64                     // elements written, by output
	pages    []page                      // of large iterables
	trace    *AttemptTrace               // if somebody collects them
}

// attempt is one attempt of one bundle.
type attempt struct {
	r      *runner
	s      *stage
	ev     core.StartBundle
	record *commit.Record
	outs   []*output
	reader store.Reader // keyed stages
	txn    *store.Txn
	state  *table.State
	timers *table.Timers
	split  *splitter // SDK stages
	sides  sidePins
	// expired are the blocks of side inputs that the record forgets.
	expired []expiredSide
	// dropped counts elements that came too late, once for each window.
	dropped int64
	// worker runs the bundle, once it has one.
	worker atomic.Pointer[Worker]
	// activity counts what the worker sends: output and state requests.
	activity atomic.Int64
	// pages are the blocks of large iterables.
	pages []page
}

// newAttempt prepares an attempt.
func (r *runner) newAttempt(ev core.StartBundle) *attempt {
	a := &attempt{r: r, s: r.stages[ev.Stage], ev: ev}
	a.record = &commit.Record{Job: r.job, Stage: ev.Stage, Bundle: ev.Bundle, Attempt: ev.Attempt}
	a.split = newSplitter(a)
	return a
}

// run carries the attempt out. On error nothing of it remains.
func (a *attempt) run(ctx context.Context) (res *result, err error) {
	defer func() {
		if a.reader != nil {
			a.reader.Close()
		}
		a.sides.release()
		if err != nil {
			a.s.failures.Add(1)
			a.discard()
		}
	}()
	if a.s.plan.Kind == plan.Group {
		leave, err := a.r.turns.enter(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	a.open()
	if err := a.expireSides(); err != nil {
		return nil, err
	}
	res = &result{record: a.record}
	switch a.s.plan.Kind {
	case plan.Impulse:
		err = a.impulse()
	case plan.TestStream:
		err = a.testEvent()
	case plan.Group:
		if a.s.plan.Group.Strategy == plan.Shuffle {
			err = a.shuffle(ctx)
		} else {
			err = a.reduce(ctx)
		}
	case plan.SDK:
		if a.ev.Truncate {
			err = a.truncate(ctx, res)
		} else {
			err = a.harness(ctx, res)
		}
	default:
		err = fmt.Errorf("stage of unknown kind %d", a.s.plan.Kind)
	}
	if err != nil {
		return nil, err
	}
	if err := a.close(); err != nil {
		return nil, err
	}
	if !a.ev.Truncate { // else it is counted when it is processed
		res.input = a.split.primary()
	}
	res.pages = a.pages
	for _, o := range a.outs {
		res.output = append(res.output, o.count)
	}
	if a.dropped > 0 {
		res.infos = append(res.infos, a.droppedDueToLateness())
	}
	return res, a.complete(res)
}

// complete adds to the record what only durable jobs write down.
func (a *attempt) complete(res *result) (err error) {
	if !a.r.durable {
		return nil
	}
	for _, p := range a.pages {
		a.record.Kept = append(a.record.Kept, p.id)
	}
	a.record.Metrics, err = encodeInfos(res.infos)
	return err
}

// runSafely is run, with a broken invariant turned into a failure of this job
// alone.
func (a *attempt) runSafely(ctx context.Context) (res *result, err error) {
	defer a.r.guard(&err)
	return a.run(ctx)
}

// guard turns a panic of its caller into an error. Whatever runs on a goroutine
// that is not the attempt's own is guarded by itself.
func (r *runner) guard(err *error) {
	if p := recover(); p != nil {
		r.log.Error("internal error", "panic", p, "stack", string(debug.Stack()))
		*err = fmt.Errorf("internal error of the runner: %v", p)
	}
}

// open sets up outputs and state.
func (a *attempt) open() {
	for port := range a.s.plan.Outputs {
		a.outs = append(a.outs, a.r.newOutput(a.s, port, a.record))
	}
	if !a.s.stateful() {
		return
	}
	a.reader = a.r.store.Snapshot()
	a.txn = store.NewTxn(a.reader)
	a.state = table.NewState(a.txn, a.r.job, a.ev.Stage, a.ev.Bundle)
	for i, m := range a.s.plan.Multimaps {
		a.state.SetMultimap(m.Transform, m.State, a.s.multimaps[i])
	}
	a.timers = table.NewTimers(a.txn, a.r.job, a.ev.Stage)
}

// stateful says whether bundles of the stage read and write the store.
func (s *stage) stateful() bool {
	return s.plan.Keyed && !(s.plan.Group != nil && s.plan.Group.Strategy == plan.Shuffle)
}

// close completes the record.
func (a *attempt) close() error {
	for _, o := range a.outs {
		if err := o.close(); err != nil {
			return err
		}
	}
	if a.txn == nil {
		return nil
	}
	for _, l := range a.ev.Leases {
		event, proc, hold, err := a.timers.Summary(l.Shard)
		if err != nil {
			return err
		}
		a.record.Shards = append(a.record.Shards, commit.Shard{Shard: l.Shard, NextEvent: event, NextProc: proc, Hold: hold})
	}
	a.record.Ops = a.txn.Ops()
	return nil
}

// discard drops the blocks of a failed attempt.
func (a *attempt) discard() {
	a.keepSides()
	var ids []uint64
	for _, p := range a.pages {
		ids = append(ids, p.id)
	}
	for _, o := range a.record.Outputs {
		ids = append(ids, o.Block.ID)
	}
	for _, res := range a.record.Residual {
		ids = append(ids, res.Block.ID)
	}
	a.r.blocks.drop(ids...)
}

// impulse emits the one element of an Impulse.
func (a *attempt) impulse() error {
	empty := func(dst []byte) ([]byte, error) { return coder.AppendVarint(dst, 0), nil }
	for _, o := range a.outs {
		if err := o.emit(timestamp.Min, nil, 1, coder.NoFiring, empty); err != nil {
			return err
		}
	}
	return nil
}

// eachBlock calls fn with the blocks of a lease.
func (a *attempt) eachBlock(l core.Lease, fn func(data []byte) error) error {
	for _, b := range l.Blocks {
		data, err := a.r.blocks.get(b.ID)
		if err != nil {
			return fmt.Errorf("read block %d: %w", b.ID, err)
		}
		if err := fn(data); err != nil {
			return err
		}
	}
	return nil
}

// eachElement calls fn with the elements of a block.
func (c *collection) eachElement(data []byte, fn func(e *coder.Element) error) error {
	var e coder.Element
	for len(data) > 0 {
		n, err := c.scanner.Scan(data, &e)
		if err != nil {
			return err
		}
		if err := fn(&e); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
