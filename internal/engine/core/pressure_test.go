package core

import (
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/plan"
)

// A stage waits for a consumer that is at work and has much queued, also if that
// one waits itself, and for none that rests.
func TestStagesWaitForCrowdedConsumers(t *testing.T) {
	coll := &plan.Collection{ID: "c"}
	next := func(i int) []*plan.Output {
		return []*plan.Output{{Collection: coll, Consumers: []plan.Consumer{{Stage: i, Side: -1}}}}
	}
	c := New(&plan.Plan{Stages: []*plan.Stage{
		{Index: 0, Name: "read", Kind: plan.SDK, Environment: "e", Input: coll, Outputs: next(1)},
		{Index: 1, Name: "fast", Kind: plan.SDK, Environment: "f", Input: coll, Outputs: next(2)},
		{Index: 2, Name: "slow", Kind: plan.SDK, Environment: "g", Input: coll},
	}}, Config{QueueBytes: 10, BundleElements: 1})
	c.now = 10 * gatherMS
	block := commit.Block{Count: 1, Bytes: 8}
	started := func() (stages []int) {
		for _, eff := range c.effects {
			if e, ok := eff.(StartBundle); ok {
				stages = append(stages, e.Stage)
			}
		}
		c.effects = nil
		return stages
	}
	for i := range c.stages {
		for range 3 {
			c.stages[i].push(item{Stage: i, Block: block})
		}
	}
	c.schedule()
	if got := started(); len(got) != 1 || got[0] != 2 {
		t.Fatalf("bundles of stages %v start, want one of the last", got)
	}
	for i, want := range []string{"waits for fast", "waits for slow"} {
		if got := c.Explain(i); !strings.HasPrefix(got, want) {
			t.Errorf("stage %d: %q, want %q", i, got, want)
		}
	}
	c.stages[2].inflight = 0 // it rests now, whatever for
	c.cfg.Slots = map[string]int{"g": -1}
	c.running["g"] = 1
	c.schedule()
	if got := started(); len(got) != 1 || got[0] != 1 {
		t.Errorf("bundles of stages %v start, want one of the second", got)
	}
}

// What a consumer cannot process yet is not waited for.
func TestRestingInputDoesNotCrowd(t *testing.T) {
	coll := &plan.Collection{ID: "c"}
	c := New(&plan.Plan{Stages: []*plan.Stage{
		{Index: 0, Name: "read", Kind: plan.SDK, Environment: "e", Input: coll,
			Outputs: []*plan.Output{{Collection: coll, Consumers: []plan.Consumer{{Stage: 1, Side: -1}}}}},
		{Index: 1, Name: "poll", Kind: plan.SDK, Environment: "f", Input: coll},
	}}, Config{QueueBytes: 10})
	poll := c.stages[1]
	poll.inflight = 1
	for range 3 {
		poll.push(item{Stage: 1, Block: commit.Block{Count: 1, Bytes: 8}, ReadyMS: 100})
	}
	if c.crowded(c.stages[0]) != nil {
		t.Error("waits for input that rests")
	}
	if c.now = 100; c.crowded(c.stages[0]) != poll {
		t.Error("does not wait for input that may be processed")
	}
}
