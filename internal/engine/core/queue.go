package core

import (
	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/watermark"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// A record says what it does to the queues, so that they can be found again in
// the store: the items that are used up and the new ones, as they will be
// pushed once the record is durable.

// commit sends a record to the store, with the marks that have changed.
func (c *Core) commit(r *commit.Record) {
	for i, s := range c.stages {
		m := commit.Mark{
			Stage: i, Input: c.marks.Input(i), Output: c.marks.Output(watermark.Source{Stage: i}), Fired: s.fired, Event: s.passed,
		}
		if m != s.marked {
			s.marked = m
			r.Marks = append(r.Marks, m)
		}
	}
	c.emit(Commit{Record: r})
}

// queue completes the record of a bundle that has finished.
func (c *Core) queue(b *bundle) {
	r, tries := b.record, b.nextTries()
	for _, items := range b.items {
		r.Taken = append(r.Taken, items...)
	}
	for _, res := range r.Residual {
		r.Put = append(r.Put, c.leftover(b, res, tries))
	}
	for _, o := range r.Outputs {
		to := b.stage.plan.Outputs[o.Port].Consumers[o.Consumer]
		if to.Side < 0 {
			r.Put = append(r.Put, c.newItem(to.Stage, o.Shard, o.Block, o.Block.Min))
			continue
		}
		c.seq++
		r.Sides = append(r.Sides, commit.Side{Stage: to.Stage, Input: to.Side, Seq: c.seq, Block: o.Block.ID})
	}
}

// newItem names a block that is to be queued.
func (c *Core) newItem(stage, shard int, block commit.Block, hold timestamp.Time) item {
	c.seq++
	return item{Stage: stage, Shard: shard, Seq: c.seq, Block: block, Hold: min(hold, lastHold), SinceMS: c.now}
}

// leftover is what a bundle has not processed.
func (c *Core) leftover(b *bundle, res commit.Residual, tries int) item {
	hold := res.Block.Min
	switch {
	case res.Estimate:
		hold = res.Hold
	case b.truncates: // as before: its estimate is not in the element's timestamp
		hold = b.hold()
	}
	it := c.newItem(b.stage.plan.Index, res.Shard, res.Block, hold)
	it.Tries, it.Truncated = tries, b.truncated || b.truncates
	if res.DelayMS > 0 {
		it.ReadyMS = c.now + res.DelayMS
	}
	return it
}

// hold is the smallest hold of the bundle's input.
func (b *bundle) hold() timestamp.Time {
	t := lastHold
	for _, items := range b.items {
		for _, it := range items {
			t = min(t, it.Hold)
		}
	}
	return t
}

// Input returns the blocks that a stage may still read: those that are queued,
// and those of bundles in flight.
func (c *Core) Input(stage int) (blocks []commit.Block) {
	s := c.stages[stage]
	add := func(items []item) {
		for i := range items {
			blocks = append(blocks, items[i].Block)
		}
	}
	for i := range s.shards {
		add(s.shards[i].queue)
	}
	for _, b := range c.bundles {
		if b.stage != s {
			continue
		}
		for _, items := range b.items {
			add(items)
		}
		add(b.spent)
	}
	return blocks
}

// apply takes over what a durable record brought.
func (c *Core) apply(b *bundle) {
	r, s := b.record, b.stage
	for i, sh := range b.shards {
		s.group(sh, b.items[i], b.fires(sh))
	}
	for _, sh := range r.Shards {
		t := &s.shards[sh.Shard]
		t.nextEvent, t.nextProc, t.hold = sh.NextEvent, sh.NextProc, sh.Hold
	}
	for _, side := range r.Sides { // their blocks are kept outside the core
		c.stages[side.Stage].sides[side.Input].seen = true
	}
	if r.Split {
		for _, it := range b.items[0] { // what the bundle that was split keeps is in flight
			s.push(it)
		}
		return
	}
	for _, it := range r.Put {
		c.stages[it.Stage].push(it)
	}
}

// handBack: a part of a running bundle's input goes back to the queue while the
// bundle goes on with the rest. The queue must not forget what was split, so
// the split has a record of its own, and others get their part when that is
// durable. Until then it is in flight, as the input of a bundle that commits.
func (c *Core) handBack(e Split) {
	b := c.current(e.Bundle, e.Attempt)
	if b == nil || b.stage.plan.Keyed || len(b.items) != 1 {
		if len(e.Made) > 0 {
			c.emit(DropBlocks{IDs: e.Made}) // of an attempt that no longer counts
		}
		return
	}
	r := &commit.Record{Stage: b.stage.plan.Index, Bundle: c.next, Split: true, Taken: b.items[0]}
	c.next++
	primary := c.primary(b, e)
	var rest []item
	for _, res := range e.Residual {
		rest = append(rest, c.leftover(b, res, min(b.tries+1, maxTries)))
	}
	c.replace(b, primary)
	r.Put = append(append(r.Put, primary...), rest...)
	c.fly(&bundle{id: r.Bundle, stage: b.stage, state: committing, shards: []int{0}, items: [][]item{rest}, record: r})
	c.commit(r)
}

// primary is what a split leaves to the bundle. Blocks that are not used any
// more are dropped after the bundle, which may still read them.
func (c *Core) primary(b *bundle, e Split) []item {
	kept := map[uint64]bool{}
	for _, p := range e.Primary {
		kept[p.ID] = true
	}
	for _, r := range e.Residual {
		kept[r.Block.ID] = true
	}
	for _, it := range b.items[0] {
		if !kept[it.Block.ID] {
			b.spent = append(b.spent, it)
		}
	}
	var primary []item
	for _, p := range e.Primary {
		it := c.newItem(b.stage.plan.Index, 0, p, b.hold())
		it.Truncated = b.truncated
		primary = append(primary, it)
	}
	return primary
}

// replace gives a bundle in flight another input.
func (c *Core) replace(b *bundle, items []item) {
	for _, it := range b.items[0] {
		b.stage.land(it.Hold)
	}
	b.items[0], b.elements = items, 0
	for _, it := range items {
		b.stage.flight[it.Hold]++
		b.elements += it.Block.Count
	}
}

// fly counts a bundle among those in flight.
func (c *Core) fly(b *bundle) {
	c.bundles[b.id] = b
	s := b.stage
	s.inflight++
	for i, sh := range b.shards {
		if s.plan.Keyed {
			s.shards[sh].leased = true
		}
		for _, it := range b.items[i] {
			s.flight[it.Hold]++
			b.elements += it.Block.Count
			b.tries = max(b.tries, it.Tries)
		}
	}
	if s.plan.Kind == plan.Impulse {
		// Until it has committed, an impulse holds the watermark as any work.
		s.flight[timestamp.Min]++
	}
}
