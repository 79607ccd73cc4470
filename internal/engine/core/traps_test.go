package core

import (
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// What other runners get wrong: docs/traps.md lists it, with the tests.

// sourceRig has n unbounded sources, each behind an Impulse, that a last stage
// reads. Impulses, and what reads, carry themselves out.
type sourceRig struct {
	c       *Core
	n       int
	running []StartBundle // of the sources, by number
	started []int         // bundles, by stage
	end     *Finish
	now     int64
	block   uint64
}

func newSourceRig(n int) *sourceRig {
	coll := &plan.Collection{ID: "c"}
	unbounded := &fnpb.ProcessBundleDescriptor{Pcollections: map[string]*pipepb.PCollection{"out": {IsBounded: pipepb.IsBounded_UNBOUNDED}}}
	p := &plan.Plan{}
	add := func(s *plan.Stage, to int) {
		s.Index = len(p.Stages)
		s.Outputs = []*plan.Output{{Collection: coll, Consumers: []plan.Consumer{{Stage: to, Side: -1}}}}
		p.Stages = append(p.Stages, s)
	}
	for i := range n {
		add(&plan.Stage{Kind: plan.Impulse}, n+i)
	}
	for range n {
		add(&plan.Stage{Kind: plan.SDK, Environment: "e", Input: coll, Splittable: true, Descriptor: unbounded}, 2*n)
	}
	p.Stages = append(p.Stages, &plan.Stage{Index: 2 * n, Kind: plan.SDK, Environment: "e", Input: coll, Descriptor: unbounded})
	r := &sourceRig{n: n, running: make([]StartBundle, n), started: make([]int, len(p.Stages)), block: 100}
	r.c = New(p, Config{Slots: map[string]int{"e": 2 * n}, RunnerSlots: n})
	r.step(Start{})
	return r
}

func (r *sourceRig) step(ev Event) {
	for _, eff := range r.c.Step(ev) {
		switch e := eff.(type) {
		case StartBundle:
			r.started[e.Stage]++
			switch {
			case e.Stage < r.n:
				r.finish(e, commit.Output{Block: commit.Block{ID: uint64(e.Stage) + 1, Count: 1, Min: timestamp.Min}})
			case e.Stage < 2*r.n:
				r.running[e.Stage-r.n] = e
			default:
				r.finish(e)
			}
		case Commit:
			r.step(CommitDurable{Bundles: []uint64{e.Record.Bundle}})
		case Finish:
			r.end = &e
		}
	}
}

func (r *sourceRig) finish(e StartBundle, outputs ...commit.Output) {
	r.step(BundleFinished{Record: &commit.Record{Stage: e.Stage, Bundle: e.Bundle, Attempt: e.Attempt, Outputs: outputs}})
}

// checkpoint ends the bundle of a source with count elements, a rest that is to
// go on after a second, and an estimate.
func (r *sourceRig) checkpoint(source int, count int64, estimate timestamp.Time) {
	e := r.running[source]
	r.block += 2
	rec := &commit.Record{Stage: e.Stage, Bundle: e.Bundle, Attempt: e.Attempt,
		Residual: []commit.Residual{{Block: commit.Block{ID: r.block, Count: 1, Min: timestamp.Min}, DelayMS: 1000, Hold: estimate, Estimate: true}}}
	if count > 0 {
		rec.Outputs = []commit.Output{{Block: commit.Block{ID: r.block + 1, Count: count, Min: estimate}}}
	}
	r.step(BundleFinished{Record: rec})
}

// wait lets the rests go on.
func (r *sourceRig) wait() {
	r.now += 1000
	r.step(ClockAdvanced{NowMS: r.now})
}

func (r *sourceRig) wantMark(t *testing.T, want timestamp.Time) {
	t.Helper()
	if got := r.c.Status(2 * r.n).Input; got != want {
		t.Errorf("the reader's watermark is at %v, want %v", got, want)
	}
}

// A source that has nothing yet says how far it is all the same, and goes on to
// be asked.
func TestEmptySourceMovesTheWatermark(t *testing.T) {
	r := newSourceRig(1)
	for i := range 3 {
		r.checkpoint(0, 0, timestamp.Time(100*(i+1)))
		r.wantMark(t, timestamp.Time(100*(i+1)))
		r.wait()
		if r.started[1] != i+2 {
			t.Fatalf("the source has been asked %d times, want %d", r.started[1], i+2)
		}
	}
	r.checkpoint(0, 7, 400)
	if r.started[2] != 1 {
		t.Errorf("what came in the end started %d bundles", r.started[2])
	}
}

// Two sources into one stage: each is read on, and the watermark is that of the
// one behind.
func TestFlattenOfUnboundedSources(t *testing.T) {
	r := newSourceRig(2)
	r.checkpoint(0, 1, 500)
	r.wantMark(t, timestamp.Min) // nothing is known of the other
	r.checkpoint(1, 0, 100)
	r.wantMark(t, 100)
	for i := range 5 {
		r.wait()
		r.checkpoint(0, 1, timestamp.Time(600+i))
		r.checkpoint(1, 1, timestamp.Time(200+i))
		r.wantMark(t, timestamp.Time(200+i))
	}
	r.wait()
	r.finish(r.running[0])
	r.wantMark(t, 204)
	r.finish(r.running[1])
	if r.end == nil || r.end.Err != "" {
		t.Errorf("the end is %+v", r.end)
	}
}

// What a bundle leaves over exists from the moment its record is durable, and
// not at all if it fails.
func TestResidualComesWithItsPrimary(t *testing.T) {
	p := splitPlan(true)
	c := New(p, Config{Slots: map[string]int{"e": 4}})
	impulse := c.Step(Start{})[0].(StartBundle)
	c.Step(BundleFinished{Record: &commit.Record{Bundle: impulse.Bundle, Attempt: 1, Outputs: []commit.Output{{Block: commit.Block{ID: 1, Count: 1}}}}})
	first := c.Step(CommitDurable{Bundles: []uint64{impulse.Bundle}})
	var b StartBundle
	for _, eff := range first {
		if e, ok := eff.(StartBundle); ok {
			b = e
		}
	}
	starts := func(effs []Effect) (n int) {
		for _, eff := range effs {
			if _, ok := eff.(StartBundle); ok {
				n++
			}
		}
		return n
	}
	rec := func(attempt int) *commit.Record {
		return &commit.Record{Stage: 1, Bundle: b.Bundle, Attempt: attempt,
			Residual: []commit.Residual{{Block: commit.Block{ID: 2, Count: 1}, Hold: commit.None}}}
	}
	c.Step(BundleFailed{Bundle: b.Bundle, Attempt: 1, Err: "no"}) // after it was asked to checkpoint
	if n := starts(c.Step(BundleFinished{Record: rec(1)})); n != 0 || c.stages[1].blocks != 0 {
		t.Errorf("a failed attempt left %d bundles, %d blocks", n, c.stages[1].blocks)
	}
	if n := starts(c.Step(ClockAdvanced{NowMS: 10_000})); n != 1 {
		t.Fatalf("%d attempts, want one more", n)
	}
	if n := starts(c.Step(BundleFinished{Record: rec(2)})); n != 0 {
		t.Error("the residual started before the primary was durable")
	}
	if n := starts(c.Step(CommitDurable{Bundles: []uint64{b.Bundle}})); n != 1 {
		t.Errorf("the residual started %d bundles, want 1", n)
	}
}

// A failed Impulse is tried again; one that is durable is never fired again.
func TestImpulseFiresOnce(t *testing.T) {
	c := New(splitPlan(false), Config{Slots: map[string]int{"e": 1}})
	impulses := 0
	var run func(effs []Effect)
	run = func(effs []Effect) {
		for _, eff := range effs {
			e, ok := eff.(StartBundle)
			switch {
			case !ok:
			case e.Stage == 1: // fails for ever
				run(c.Step(BundleFailed{Bundle: e.Bundle, Attempt: e.Attempt, Err: "no"}))
			case e.Attempt == 1:
				run(c.Step(BundleFailed{Bundle: e.Bundle, Attempt: 1, Err: "no"}))
			default:
				impulses++
				c.Step(BundleFinished{Record: &commit.Record{Bundle: e.Bundle, Attempt: e.Attempt, Outputs: []commit.Output{{Block: commit.Block{ID: 1, Count: 1}}}}})
				run(c.Step(CommitDurable{Bundles: []uint64{e.Bundle}}))
			}
		}
	}
	run(c.Step(Start{}))
	for ms := int64(1); !c.done && ms < 1<<20; ms *= 2 {
		run(c.Step(ClockAdvanced{NowMS: ms}))
	}
	if impulses != 1 {
		t.Errorf("%d impulses, want 1", impulses)
	}
}

// A finalization callback runs after the commit is durable, once.
func TestFinalizationComesAfterTheCommit(t *testing.T) {
	c := New(splitPlan(false), Config{})
	b := c.Step(Start{})[0].(StartBundle)
	finalized := func(effs []Effect) (n int) {
		for _, eff := range effs {
			if eff == (Finalize{Bundle: b.Bundle}) {
				n++
			}
		}
		return n
	}
	if n := finalized(c.Step(BundleFinished{Record: &commit.Record{Bundle: b.Bundle, Attempt: b.Attempt, Finalize: true}})); n != 0 {
		t.Error("finalized before the commit is durable")
	}
	if n := finalized(c.Step(CommitDurable{Bundles: []uint64{b.Bundle}})); n != 1 {
		t.Errorf("finalized %d times with the commit, want once", n)
	}
	if n := finalized(c.Step(CommitDurable{Bundles: []uint64{b.Bundle}})); n != 0 {
		t.Error("finalized again")
	}
}
