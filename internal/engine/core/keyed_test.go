package core

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/plan"
)

// Blocks that have to wait do not make room for others that do not.
func TestLimitCountsWhatIsTaken(t *testing.T) {
	coll := &plan.Collection{ID: "c", Bounded: true}
	c := New(&plan.Plan{Stages: []*plan.Stage{{Kind: plan.SDK, Keyed: true, Environment: "e", Input: coll}}},
		Config{Shards: 1, InputBytes: map[string]int64{"e": 100}})
	s := c.stages[0]
	for i := range 5 {
		it := item{Block: commit.Block{ID: uint64(i), Count: 1, Bytes: 1}}
		if i > 0 {
			it.Block.Bytes = 60
		} else {
			it.ReadyMS = 1 << 40
		}
		s.push(it)
	}
	c.launchShards(s, []dueShard{{input: amount{elements: 4, bytes: 240}}})
	if l := c.effects[0].(StartBundle).Leases[0]; len(l.Blocks) != 1 || l.Blocks[0].ID != 1 {
		t.Errorf("leased %v, want one block of 60 bytes", l.Blocks)
	}
}

// What a bundle has no room for is not leased, and has the next turn.
func TestFullBundleLeavesShards(t *testing.T) {
	coll := &plan.Collection{ID: "c"}
	c := New(&plan.Plan{Stages: []*plan.Stage{{Kind: plan.Group, Keyed: true, Input: coll}}},
		Config{Shards: 4, RunnerSlots: 1, HeldBytes: 1 << 20})
	s := c.stages[0]
	for shard := range 4 {
		s.push(item{Shard: shard, Block: commit.Block{ID: uint64(shard), Count: 9000, Bytes: 600 << 10}})
	}
	for _, want := range []int{0, 1, 2, 3} {
		c.effects = nil
		c.scheduleKeyed(s)
		c.cfg.RunnerSlots++
		if len(c.effects) != 1 {
			t.Fatalf("%d bundles start, want one for each slot", len(c.effects))
		}
		if l := c.effects[0].(StartBundle).Leases; len(l) != 1 || l[0].Shard != want {
			t.Fatalf("leased %v, want shard %d", l, want)
		}
	}
}

// Windows that fire all at once are a lot of work, divided among the slots.
func TestFiringIsDivided(t *testing.T) {
	coll := &plan.Collection{ID: "c"}
	c := New(&plan.Plan{Stages: []*plan.Stage{{Kind: plan.Group, Keyed: true, Input: coll}}}, Config{Shards: 4, RunnerSlots: 2})
	s := c.stages[0]
	for shard := range s.shards {
		s.group(shard, []item{{Block: commit.Block{Count: 5000, Bytes: 1 << 20}}}, false)
		s.shards[shard].nextEvent = c.marks.Input(0)
	}
	c.scheduleKeyed(s)
	if len(c.effects) != 2 || len(c.effects[0].(StartBundle).Leases) != 2 {
		t.Errorf("got %v, want two bundles of two shards", c.effects)
	}
}

// Windows that have fired, at an event time or at a processing time, hold
// nothing any more, and what they held counts for the pace.
func TestFiringTakesWhatWasGrouped(t *testing.T) {
	coll := &plan.Collection{ID: "c"}
	c := New(&plan.Plan{Stages: []*plan.Stage{{Kind: plan.Group, Keyed: true, Input: coll}}}, Config{Shards: 1, RunnerSlots: 1})
	s := c.stages[0]
	for name, due := range map[string]func(sh *shard){
		"event time":      func(sh *shard) { sh.nextEvent = c.marks.Input(0) },
		"processing time": func(sh *shard) { sh.nextProc = c.now },
	} {
		s.pace = 0
		s.group(0, []item{{Block: commit.Block{Count: 5000, Bytes: 1 << 20}}}, false)
		due(&s.shards[0])
		c.effects = nil
		c.scheduleKeyed(s)
		b := c.effects[0].(StartBundle)
		c.wall += 1000
		c.finished(&commit.Record{Bundle: b.Bundle, Attempt: b.Attempt, Shards: []commit.Shard{{NextEvent: commit.None, NextProc: never, Hold: commit.None}}})
		if s.pace != 5 {
			t.Errorf("%s: a pace of %v, want 5 elements in a millisecond", name, s.pace)
		}
		c.durable(b.Bundle)
		if got := s.shards[0].grouped; got != (amount{}) {
			t.Errorf("%s: %v are left", name, got)
		}
	}
}

// It is not known how much a stateful function does when timers fire.
func TestTimersSayNothingOfThePace(t *testing.T) {
	coll := &plan.Collection{ID: "c"}
	c := New(&plan.Plan{Stages: []*plan.Stage{{Kind: plan.SDK, Keyed: true, Environment: "e", Input: coll}}}, Config{Shards: 1})
	s := c.stages[0]
	for _, timers := range []bool{true, false} {
		s.push(item{Block: commit.Block{Count: 10}})
		if timers {
			s.shards[0].nextProc = c.now
		}
		c.effects = nil
		c.scheduleKeyed(s)
		b := c.effects[0].(StartBundle)
		c.wall += 1000
		c.finished(&commit.Record{Bundle: b.Bundle, Attempt: b.Attempt, Shards: []commit.Shard{{NextEvent: commit.None, NextProc: never, Hold: commit.None}}})
		c.durable(b.Bundle)
		if known := s.pace > 0; known == timers {
			t.Errorf("timers %v: a pace of %v", timers, s.pace)
		}
	}
}
