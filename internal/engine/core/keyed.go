package core

import (
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// amount is how much there is of something.
type amount struct{ elements, bytes int64 }

func (a *amount) add(b amount) {
	a.elements += b.elements
	a.bytes += b.bytes
}

// dueShard is a shard with something to do.
type dueShard struct {
	shard  int
	timers bool   // some are due
	input  amount // that may be processed
}

// scheduleKeyed starts bundles of a keyed stage: the shards with something to
// do are divided among the free slots. A shard for which a bundle has no room
// goes to the next.
func (c *Core) scheduleKeyed(s *stage) {
	free := c.free(s)
	if free <= 0 || c.crowded(s) != nil {
		return
	}
	due, total := c.dueShards(s)
	small := s.small(total.elements, total.bytes)
	for len(due) > 0 && free > 0 {
		n := (len(due) + free - 1) / free
		if small {
			n = len(due)
		}
		due = due[c.launchShards(s, due[:n]):]
		free--
	}
}

// dueShards returns the shards that a bundle can do something for, the one after
// the last that a full bundle took first, and how much that is in all.
func (c *Core) dueShards(s *stage) (due []dueShard, total amount) {
	elements := c.mayStart(s)
	sides := c.boundedSidesReady(s)
	mark, proc := c.marks.Input(s.plan.Index), c.procDue(s)
	for k := range s.shards {
		i := (s.turn + k) % len(s.shards)
		sh := &s.shards[i]
		if sh.leased {
			continue
		}
		d := dueShard{shard: i, timers: sh.due(mark, proc)}
		if s.plan.Barrier && len(sh.queue) > 0 {
			d.timers = d.timers && elements // a shard's input goes before its timers
		}
		d.timers = d.timers && sides
		if elements {
			d.input = c.readyInput(s, sh)
		}
		if d.input.elements == 0 && !d.timers {
			continue
		}
		due = append(due, d)
		total.add(d.input)
		if d.timers {
			total.add(sh.grouped)
		}
	}
	return due, total
}

// procDue is the processing time up to which timers of a stage are due. When
// no input can come any more there is nothing to wait for, and they fire one
// after another.
func (c *Core) procDue(s *stage) int64 {
	if c.marks.Input(s.plan.Index) >= timestamp.Max {
		return never - 1
	}
	return c.now
}

// readyInput is what of a shard's queue may be processed.
func (c *Core) readyInput(s *stage, sh *shard) (a amount) {
	for i := range sh.queue {
		it := &sh.queue[i]
		if c.ready(s, it) {
			a.add(amount{max(it.Block.Count, 1), it.Block.Bytes})
		} else if s.plan.Barrier {
			return amount{} // it is processed as a whole
		}
	}
	return a
}

// room is what a bundle takes at most. It always takes something.
type room struct {
	most, taken amount
	boundless   bool
}

// take says whether so much more fits, and counts it.
func (r *room) take(a amount) bool {
	sum := amount{r.taken.elements + a.elements, r.taken.bytes + a.bytes}
	if r.taken.elements > 0 && !r.boundless && (sum.elements > r.most.elements || sum.bytes > r.most.bytes) {
		return false
	}
	r.taken = sum
	return true
}

// launchShards starts one bundle over shards, as many as it has room for unless
// the stage needs its whole input at once, and returns how many.
func (c *Core) launchShards(s *stage, due []dueShard) int {
	r := &room{most: amount{c.bundleElements(s), c.bundleBytes(s)}, boundless: s.plan.Barrier}
	var leased []int
	var items [][]item
	full := false
	for i := 0; i < len(due) && !full; i++ {
		d := due[i]
		if d.timers && !r.take(s.shards[d.shard].grouped) {
			full = true
			break
		}
		n := 0
		if d.input.elements > 0 {
			n, full = c.fill(s, d.shard, r)
		}
		if n == 0 && !d.timers {
			break
		}
		leased = append(leased, d.shard)
		items = append(items, s.take(d.shard, n, func(it *item) bool { return c.ready(s, it) }))
	}
	if full {
		s.turn = (leased[len(leased)-1] + 1) % len(s.shards)
	}
	c.launch(s, leased, items, nil)
	return len(leased)
}

// fill is how many ready blocks of a shard there is room for, and whether that
// leaves some.
func (c *Core) fill(s *stage, shard int, r *room) (n int, full bool) {
	for i := range s.shards[shard].queue {
		it := &s.shards[shard].queue[i]
		if !c.ready(s, it) {
			continue
		}
		if !r.take(amount{it.Block.Count, it.Block.Bytes}) {
			return n, true
		}
		n++
	}
	return n, false
}

// group counts what a bundle has brought to a shard of a GroupByKey and what it
// has fired: as if a timer always fired all there was. A restart forgets it. It
// is for dividing up work, not for what is right.
func (s *stage) group(shard int, items []item, fired bool) {
	if s.plan.Kind != plan.Group {
		return
	}
	sh := &s.shards[shard]
	if fired {
		sh.grouped = amount{}
	}
	for _, it := range items {
		sh.grouped.add(amount{it.Block.Count, it.Block.Bytes})
	}
}
