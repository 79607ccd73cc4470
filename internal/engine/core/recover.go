package core

import (
	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/plan"
)

// Saved is what the records of a job have left in the store.
type Saved struct {
	// Items of all queues, those of a shard in order of Seq.
	Items []commit.Item
	// Shards of keyed stages that have timers or holds, by stage.
	Shards map[int][]commit.Shard
	// Marks, the last ones of each stage.
	Marks []commit.Mark
	// Sides are the blocks of all side inputs.
	Sides []commit.Side
	// Bundle and Seq are the largest that a record has used.
	Bundle, Seq uint64
}

// Recover returns the core of a job that goes on where its last durable record
// has left it. It must be told to Start. What was in flight is in the queues
// again; its attempts are counted anew.
func Recover(p *plan.Plan, cfg Config, saved Saved) *Core {
	c := New(p, cfg)
	c.next, c.seq = saved.Bundle+1, saved.Seq
	for _, m := range saved.Marks {
		c.restore(m)
	}
	for _, it := range saved.Items {
		c.stages[it.Stage].push(it)
	}
	for i, shards := range saved.Shards {
		for _, sh := range shards {
			t := &c.stages[i].shards[sh.Shard]
			t.nextEvent, t.nextProc, t.hold = sh.NextEvent, sh.NextProc, sh.Hold
		}
	}
	for _, side := range saved.Sides {
		c.stages[side.Stage].sides[side.Input].seen = true
	}
	return c
}

// restore brings a stage to its mark.
func (c *Core) restore(m commit.Mark) {
	s := c.stages[m.Stage]
	s.marked, s.fired, s.passed = m, m.Fired, m.Event
	s.impulse = s.impulse && !m.Fired
	c.marks.Restore(m.Stage, m.Input, m.Output)
	if s.plan.Kind != plan.TestStream {
		return
	}
	if s.replay = m.Event; s.isServed() {
		return // its service tells again what has been
	}
	for s.event < m.Event {
		c.testEvent(s, s.nextEvent())
		c.passEvent(s)
	}
}
