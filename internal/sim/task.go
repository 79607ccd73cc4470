package sim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/job"
)

// task is an attempt of a bundle, as a coroutine.
type task struct {
	w       *world
	ev      core.StartBundle
	a       *job.Attempt
	next    func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	cancel  context.CancelFunc
	steps   int // to go on without a pause
	fault   error
	worker  *worker
	bundle  *simBundle
	inbox   []core.Event // what the core is to be told of it, in order
	record  *commit.Record
	err     error
	stopped bool
	notes   []note
}

// pause gives others a turn. The attempt ends with the error that it returns.
func (t *task) pause() error {
	if t.fault == nil && t.steps > 0 {
		t.steps--
		return nil
	}
	if t.fault == nil && !t.stopped {
		t.stopped = !t.yield(struct{}{})
	}
	if t.stopped {
		return errStopped
	}
	return t.fault
}

// start begins an attempt.
func (w *world) start(e core.StartBundle) {
	w.started++
	t := &task{w: w, ev: e}
	w.tracef("core: start bundle %d attempt %d of stage %d %s, watermark %d/%d: %s", e.Bundle, e.Attempt, e.Stage, w.plan.Stages[e.Stage].Name,
		int64(e.Watermark), int64(e.Output), leases(e))
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	t.a = w.exec.Attempt(e, func(ev core.Event) { t.tell(ev) })
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		t.record, t.err = t.a.Run(ctx)
	})
	w.last[e.Bundle] = t
	w.tasks = append(w.tasks, t)
}

func leases(e core.StartBundle) string {
	text := ""
	for _, l := range e.Leases {
		text += fmt.Sprintf(" %d:", l.Shard)
		for _, b := range l.Blocks {
			text += fmt.Sprintf(" #%d(%d)", b.ID, b.Count)
		}
	}
	return text
}

// tell queues what the core is to be told of an attempt.
func (t *task) tell(ev core.Event) {
	t.inbox = append(t.inbox, ev)
	if !slices.Contains(t.w.answers, t) {
		t.w.answers = append(t.w.answers, t)
	}
}

// resume lets an attempt go on: some elements, or to its end.
func (w *world) resume() {
	i := w.rng.IntN(len(w.tasks))
	t := w.tasks[i]
	t.steps = w.rng.IntN(4)
	if w.rng.IntN(2) == 0 {
		t.steps = 1 << 20
	}
	w.current = t
	_, more := t.next()
	w.current = nil
	if more {
		return
	}
	w.tasks = append(w.tasks[:i], w.tasks[i+1:]...)
	w.ended(t)
}

// ended: an attempt has an outcome.
func (w *world) ended(t *task) {
	t.cancel()
	if t.err == nil {
		w.tracef("bundle %d attempt %d done: %s", t.ev.Bundle, t.ev.Attempt, effects(t.record))
		t.tell(core.BundleFinished{Record: t.record})
		return
	}
	w.tracef("bundle %d attempt %d failed: %v", t.ev.Bundle, t.ev.Attempt, t.err)
	if !errors.Is(t.err, errUser) && !errors.Is(t.err, errDead) && !errors.Is(t.err, context.Canceled) {
		w.fail("bundle %d of stage %s failed by itself: %v", t.ev.Bundle, w.plan.Stages[t.ev.Stage].Name, t.err)
	}
	t.tell(core.BundleFailed{Bundle: t.ev.Bundle, Attempt: t.ev.Attempt, Err: t.err.Error()})
}

func effects(r *commit.Record) string {
	text := ""
	for _, o := range r.Outputs {
		text += fmt.Sprintf(" %d.%d/%d#%d(%d)", o.Port, o.Consumer, o.Shard, o.Block.ID, o.Block.Count)
	}
	for _, res := range r.Residual {
		text += fmt.Sprintf(" rest#%d(%d)@%d", res.Block.ID, res.Block.Count, int64(res.Hold))
	}
	for _, s := range r.Shards {
		text += fmt.Sprintf(" shard%d next=%d/%d hold=%d", s.Shard, int64(s.NextEvent), s.NextProc, int64(s.Hold))
	}
	return text
}
