package core

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/plan"
)

// splitPlan is an Impulse and an SDK stage.
func splitPlan(splittable bool) *plan.Plan {
	c := &plan.Collection{ID: "c", Bounded: true}
	return &plan.Plan{Stages: []*plan.Stage{
		{Index: 0, Kind: plan.Impulse, Outputs: []*plan.Output{{Collection: c, Consumers: []plan.Consumer{{Stage: 1, Side: -1}}}}},
		{Index: 1, Kind: plan.SDK, Environment: "e", Input: c, Splittable: splittable},
	}}
}

// firstSplits runs n bundles that give everything back when they are split, and
// returns how long each was left alone, and the splits.
func firstSplits(t *testing.T, p *plan.Plan, elements int64, n int) (waits []int64, splits []SplitBundle) {
	c := New(p, Config{Slots: map[string]int{"e": 2}, IdleSplitMS: 100})
	now := int64(0)
	var started StartBundle
	var split *SplitBundle
	var carry func(effs []Effect)
	carry = func(effs []Effect) {
		for _, eff := range effs {
			switch e := eff.(type) {
			case StartBundle:
				if e.Stage == 1 {
					started = e
					continue
				}
				carry(c.Step(BundleFinished{Record: &commit.Record{Bundle: e.Bundle, Attempt: e.Attempt,
					Outputs: []commit.Output{{Block: commit.Block{ID: 1, Count: elements}}}}}))
			case Commit:
				carry(c.Step(CommitDurable{Bundles: []uint64{e.Record.Bundle}}))
			case SplitBundle:
				split = &e
			}
		}
	}
	carry(c.Step(Start{}))
	for range n {
		begun := now
		for split = nil; split == nil; {
			if now += 50; now-begun > 100_000 {
				return waits, splits
			}
			carry(c.Step(ClockAdvanced{NowMS: now}))
		}
		waits, splits = append(waits, now-begun), append(splits, *split)
		carry(c.Step(BundleFinished{Record: &commit.Record{Stage: 1, Bundle: started.Bundle, Attempt: started.Attempt,
			Residual: []commit.Residual{{Block: started.Leases[0].Blocks[0], Hold: commit.None}}}}))
	}
	return waits, splits
}

// An element that takes longer to get going than a bundle is left alone gets
// its time in the end.
func TestSplitsWithoutProgressBackOff(t *testing.T) {
	waits, splits := firstSplits(t, splitPlan(true), 1, 4)
	for i, want := range []int64{100, 200, 400, 800} {
		if waits[i] != want {
			t.Errorf("bundle %d was split after %d ms, want %d", i, waits[i], want)
		}
	}
	if s := splits[0]; s.Fraction != 0.5 || !s.Share {
		t.Errorf("a restriction was split like %+v", s)
	}
}

func TestSplitOfElements(t *testing.T) {
	if waits, _ := firstSplits(t, splitPlan(false), 1, 1); len(waits) > 0 {
		t.Error("a bundle of one element was split")
	}
	if _, splits := firstSplits(t, splitPlan(false), 2, 1); len(splits) != 1 || splits[0].Fraction != 0.5 || !splits[0].Share {
		t.Errorf("elements were split like %+v", splits)
	}
}

// Bundles that take long leave their place to others where an element may be
// waiting for something.
func TestLongBundlesAreNotCounted(t *testing.T) {
	for _, spread := range []bool{true, false} {
		p := splitPlan(false)
		p.Stages[1].Spread = spread
		c := New(p, Config{Slots: map[string]int{"e": 4}, ComputeSlots: map[string]int{"e": 2}, IdleSplitMS: 100})
		s := c.stages[1]
		c.Tick(1)
		for id := range uint64(2) {
			s.push(item{Block: commit.Block{ID: id, Count: 1}})
			c.launch(s, []int{0}, [][]item{s.take(0, 1, func(*item) bool { return true })}, nil)
		}
		if n := c.free(s); n > 0 {
			t.Errorf("spread %v: %d more bundles may start at once", spread, n)
		}
		c.Tick(101)
		if n := c.free(s); spread && n != 2 || !spread && n > 0 {
			t.Errorf("spread %v: %d more bundles may start later", spread, n)
		}
	}
}
