package sim

import (
	"context"
	"slices"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// restart is the death of the process: what was not in the store is lost.
func (w *world) restart() {
	w.restarts--
	w.tracef("RESTART")
	w.die()
	if err := w.open(); err != nil {
		w.fail("recover: %v", err)
		return
	}
	w.begin()
}

// die ends all that is under way.
func (w *world) die() {
	for _, t := range w.tasks {
		t.cancel()
		t.stop()
	}
	w.tasks, w.answers, w.splits, w.commits, w.applied, w.stale = nil, nil, nil, nil, nil, nil
	w.last, w.wakeAt = map[uint64]*task{}, 0
}

// begin starts the core of a job that goes on.
func (w *world) begin() {
	for i := range w.marks {
		w.marks[i] = timestamp.Min
	}
	if w.drained {
		w.step(core.Drain{})
	}
	now := w.now
	if w.cfg.frozen && w.pipe.virtual {
		now = startMS
	}
	w.step(core.Start{NowMS: now})
}

// drain asks for the early end of the job.
func (w *world) drain() {
	w.drains--
	w.drained = true
	w.tracef("drain")
	w.step(core.Drain{})
}

// repeat tells the core an old answer once more, maybe as of the attempt before.
func (w *world) repeat() {
	i := w.rng.IntN(len(w.stale))
	ev := w.stale[i]
	w.stale = append(w.stale[:i], w.stale[i+1:]...)
	if f, ok := ev.(core.BundleFinished); ok && w.rng.IntN(2) == 0 {
		r := *f.Record
		r.Attempt--
		ev = core.BundleFinished{Record: &r}
	}
	w.tracef("core hears once more: %T", ev)
	w.step(ev)
}

// fault makes an attempt fail, or a worker die with all that it does.
func (w *world) fault() {
	w.faults--
	t := w.tasks[w.rng.IntN(len(w.tasks))]
	if t.worker == nil {
		return
	}
	if w.rng.IntN(3) > 0 {
		w.tracef("bundle %d is to fail", t.ev.Bundle)
		t.fault = errUser
		return
	}
	w.tracef("the worker of bundle %d dies", t.ev.Bundle)
	for _, o := range w.tasks {
		if o.worker == t.worker {
			o.fault = errDead
		}
	}
	t.worker.cache = map[string][]byte{}
}

// split carries out a split that the core has asked for.
func (w *world) split() {
	e := w.splits[0]
	w.splits = w.splits[1:]
	if t := w.last[e.Bundle]; t != nil && t.ev.Attempt == e.Attempt && slices.Contains(w.tasks, t) {
		t.a.Split(context.Background(), e.Fraction, e.Share)
	}
}

// splitByChance splits a bundle as the core might have.
func (w *world) splitByChance() {
	t := w.tasks[w.rng.IntN(len(w.tasks))]
	s := w.plan.Stages[t.ev.Stage]
	if t.bundle == nil || s.Keyed {
		return
	}
	w.chances--
	fraction := []float64{0, 0.5, w.rng.Float64()}[w.rng.IntN(3)]
	share := w.rng.IntN(2) == 0
	w.tracef("bundle %d is split at %v, share %v", t.ev.Bundle, fraction, share)
	t.a.Split(context.Background(), fraction, share)
}
