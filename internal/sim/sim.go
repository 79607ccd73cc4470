package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Report is the outcome of a run.
type Report struct {
	Seed    uint64
	Failure string // empty if all is as it must be
	Trace   []string
	Had     Had
}

// Had counts what happened in runs, for those who want to know that seeds do
// something.
type Had struct{ Bundles, Faults, Splits, Restarts, Moves, Drains, Dropped int }

// Add adds those of another run.
func (h *Had) Add(o Had) {
	h.Bundles += o.Bundles
	h.Faults += o.Faults
	h.Splits += o.Splits
	h.Restarts += o.Restarts
	h.Moves += o.Moves
	h.Drains += o.Drains
	h.Dropped += o.Dropped
}

// String is for people.
func (h Had) String() string {
	return fmt.Sprintf("%d bundles, %d faults, %d splits, %d restarts, %d moves, %d drains, %d elements dropped as late", h.Bundles, h.Faults, h.Splits, h.Restarts, h.Moves, h.Drains, h.Dropped)
}

// Run runs the job of a seed; dir is for its files. If something is wrong, the
// job is run again with a trace.
func Run(seed uint64, dir string) *Report {
	w, err := prepare(seed, dir)
	if err != nil {
		return &Report{Seed: seed, Failure: fmt.Sprintf("prepare the job: %v", err)}
	}
	w.run()
	r := &Report{Seed: seed, Failure: w.failure, Had: w.had()}
	if r.Failure == "" {
		return r
	}
	if w, err = prepare(seed, dir); err == nil {
		r.Trace = w.traced()
	}
	return r
}

// traced runs the job with a trace.
func (w *world) traced() []string {
	w.tracing = true
	w.tracef("%+v", w.cfg)
	for _, n := range w.pipe.nodes {
		w.tracef("%v", n)
		for _, ev := range n.script {
			w.tracef("  %+v", ev)
		}
	}
	w.tracef("%s", w.plan)
	w.run()
	return w.trace
}

// had counts what has happened.
func (w *world) had() Had {
	h := Had{
		Bundles: w.started, Faults: w.cfg.faults - w.faults, Splits: w.cfg.splits - w.chances,
		Restarts: w.cfg.restarts - w.restarts, Moves: max(0, w.cfg.moves-w.moves), Drains: w.cfg.drains - w.drains,
	}
	for _, n := range w.checks.dropped {
		h.Dropped += int(n)
	}
	return h
}

// prepare makes the world of a seed.
func prepare(seed uint64, dir string) (*world, error) {
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	p := generate(rng, false)
	return newWorld(p, anyConfig(rng), rng, dir)
}

// String is the trace, as text.
func (r *Report) String() string { return strings.Join(r.Trace, "\n") }
