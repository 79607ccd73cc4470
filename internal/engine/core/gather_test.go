package core

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/plan"
)

// flattened is two Impulses into one stage.
func flattened() *plan.Plan {
	c := &plan.Collection{ID: "c", Bounded: true}
	to := []*plan.Output{{Collection: c, Consumers: []plan.Consumer{{Stage: 2, Side: -1}}}}
	return &plan.Plan{Stages: []*plan.Stage{
		{Index: 0, Kind: plan.Impulse, Outputs: to},
		{Index: 1, Kind: plan.Impulse, Outputs: to},
		{Index: 2, Kind: plan.SDK, Environment: "e", Input: c},
	}}
}

// gatherWorld starts both Impulses and commits n of them; it returns the blocks
// of the bundle of the last stage, if it has started, and the wish to be woken.
func gatherWorld(c *Core, n int) (blocks int, wake int64) {
	var starts []StartBundle
	see := func(effs []Effect) {
		for _, eff := range effs {
			switch e := eff.(type) {
			case StartBundle:
				if e.Stage == 2 {
					blocks = len(e.Leases[0].Blocks)
				} else {
					starts = append(starts, e)
				}
			case WakeAt:
				wake = e.AtMS
			}
		}
	}
	see(c.Step(Start{}))
	for _, s := range starts[:n] {
		c.Step(BundleFinished{Record: &commit.Record{Stage: s.Stage, Bundle: s.Bundle, Attempt: s.Attempt,
			Outputs: []commit.Output{{Block: commit.Block{ID: s.Bundle, Count: 1}}}}})
		see(c.Step(CommitDurable{Bundles: []uint64{s.Bundle}}))
	}
	if n == 1 && blocks == 0 {
		see(c.Step(ClockAdvanced{NowMS: wake}))
	}
	return blocks, wake
}

func TestLittleInputGathers(t *testing.T) {
	cfg := Config{RunnerSlots: 2, Slots: map[string]int{"e": 4}}
	if blocks, _ := gatherWorld(New(flattened(), cfg), 2); blocks != 2 {
		t.Errorf("a bundle of %d blocks, want both", blocks)
	}
	if blocks, wake := gatherWorld(New(flattened(), cfg), 1); blocks != 1 || wake != gatherMS {
		t.Errorf("a bundle of %d blocks at %d ms, want the only one when it has waited long enough", blocks, wake)
	}
}
