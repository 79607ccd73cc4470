package core

import (
	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/watermark"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// state of a bundle in flight.
type state uint8

const (
	running    state = iota + 1
	committing       // finished, its record is on the way to the store
	waiting          // failed, to be tried again at retryAt
)

// bundle is one bundle in flight, over all its attempts.
type bundle struct {
	id      uint64
	stage   *stage
	attempt int
	state   state
	shards  []int
	items   [][]item // by position in shards
	spent   []item   // input before splits; an attempt may still read it
	event   int      // TestStream event
	// truncates: its input is to be truncated; truncated: it has been.
	truncates, truncated bool
	record               *commit.Record
	started              int64 // when the attempt was; like the next two, by the wall's clock
	splitAt              int64 // when it may be split (again)
	retryAt              int64
	// elements of the input; asked: a split was asked for.
	elements int64
	asked    bool
	// tries is how many bundles in a row were split before they had put out
	// anything of this input. Each is left alone for twice as long as the one
	// before: else an element that takes long to get going never would.
	tries int
}

// Limits of the waiting that tries cause.
const (
	maxTries          = 8
	maxUnboundedTries = 3
)

// Backoff between attempts: doubling from the first to the longest.
const (
	firstBackoffMS = 10
	maxBackoffMS   = 10_000
)

// launch starts the first attempt of a bundle.
func (c *Core) launch(s *stage, shards []int, items [][]item, event int) {
	b := &bundle{id: c.next, stage: s, shards: shards, items: items, event: event}
	if len(items) > 0 && len(items[0]) > 0 { // items are truncated all, or none
		b.truncated = items[0][0].truncated
		b.truncates = c.truncates(s, &items[0][0])
	}
	c.next++
	c.bundles[b.id] = b
	s.inflight++
	for i, sh := range shards {
		if s.plan.Keyed {
			s.shards[sh].leased = true
		}
		for _, it := range items[i] {
			s.flight[it.hold]++
			b.elements += it.block.Count
			b.tries = max(b.tries, it.tries)
		}
	}
	if s.plan.Kind == plan.Impulse {
		// Until it has committed, an impulse holds the watermark as any work.
		s.flight[timestamp.Min]++
	}
	c.attempt(b)
}

// attempt starts the next attempt of a bundle.
func (c *Core) attempt(b *bundle) {
	b.attempt++
	b.state = running
	b.started = c.wall
	b.splitAt = c.wall + c.cfg.IdleSplitMS<<b.tries
	c.running[b.stage.plan.Environment]++
	e := StartBundle{
		Bundle:    b.id,
		Attempt:   b.attempt,
		Stage:     b.stage.plan.Index,
		Watermark: c.marks.Input(b.stage.plan.Index),
		Output:    c.marks.Output(watermark.Source{Stage: b.stage.plan.Index}),
		NowMS:     c.now,
		ProcDueMS: c.procDue(b.stage),
		SyncNowMS: c.now,
		Event:     b.event,
		Truncate:  b.truncates,
	}
	for i, sh := range b.shards {
		l := Lease{Shard: sh}
		for _, it := range b.items[i] {
			l.Blocks = append(l.Blocks, it.block)
		}
		e.Leases = append(e.Leases, l)
	}
	c.emit(e)
}

// current returns the bundle if this is the attempt that runs.
func (c *Core) current(id uint64, attempt int) *bundle {
	b := c.bundles[id]
	if b == nil || b.attempt != attempt || b.state != running {
		return nil // a late answer of an attempt that no longer counts
	}
	return b
}

// finished: an attempt succeeded, so its record goes to the store.
func (c *Core) finished(r *commit.Record) {
	b := c.current(r.Bundle, r.Attempt)
	if b == nil {
		return
	}
	c.running[b.stage.plan.Environment]--
	b.state = committing
	b.record = r
	b.stage.observe(b.elements, c.wall-b.started)
	c.emit(Commit{Record: r})
}

// failed: an attempt failed. The bundle keeps its leases and is tried again,
// or the job fails.
func (c *Core) failed(e BundleFailed) {
	b := c.current(e.Bundle, e.Attempt)
	if b == nil {
		return
	}
	c.running[b.stage.plan.Environment]--
	if e.Permanent || b.attempt >= c.cfg.MaxAttempts {
		b.state = waiting
		c.finish(Finish{Err: e.Err, Stage: b.stage.plan, Attempts: b.attempt})
		return
	}
	b.state = waiting
	b.retryAt = c.wall
	if !c.virtual {
		b.retryAt += min(int64(firstBackoffMS)<<min(b.attempt-1, 16), maxBackoffMS)
	}
}

// durable: the bundle's record has been applied, so what it did exists now.
func (c *Core) durable(id uint64) {
	b := c.bundles[id]
	if b == nil || b.state != committing {
		return
	}
	s := b.stage
	delete(c.bundles, id)
	s.inflight--
	for i, sh := range b.shards {
		if s.plan.Keyed {
			s.shards[sh].leased = false
		}
		for _, it := range b.items[i] {
			s.land(it.hold)
		}
		c.drop(b.items[i])
	}
	c.drop(b.spent)
	switch s.plan.Kind {
	case plan.Impulse:
		s.land(timestamp.Min)
	case plan.TestStream:
		c.passEvent(s)
	}
	c.apply(b)
	if b.record.Finalize {
		c.emit(Finalize{Bundle: id})
	}
}

// land takes one leased item's hold off the count.
func (s *stage) land(hold timestamp.Time) {
	if s.flight[hold]--; s.flight[hold] == 0 {
		delete(s.flight, hold)
	}
}

// nextTries is the tries of what a bundle has left over.
func (b *bundle) nextTries() int {
	if !b.asked || len(b.record.Outputs) > 0 {
		return 0
	}
	return min(b.tries+1, maxTries)
}

// putBack queues what a bundle did not process.
func (c *Core) putBack(b *bundle, res commit.Residual, tries int) {
	it := item{
		block: res.Block, hold: res.Block.Min, ready: c.now + res.DelayMS, since: c.now, tries: tries,
		truncated: b.truncated || b.truncates,
	}
	if res.DelayMS <= 0 {
		it.ready = 0
	}
	switch {
	case res.Estimate:
		it.hold = res.Hold
	case b.truncates: // as before: its estimate is not in the element's timestamp
		it.hold = b.hold()
	}
	b.stage.push(res.Shard, it)
}

// hold is the smallest hold of the bundle's input.
func (b *bundle) hold() timestamp.Time {
	t := lastHold
	for _, items := range b.items {
		for _, it := range items {
			t = min(t, it.hold)
		}
	}
	return t
}

// handBack: a part of a running bundle's input goes back to the queue while the
// bundle goes on with the rest.
func (c *Core) handBack(e Split) {
	b := c.current(e.Bundle, e.Attempt)
	if b == nil || b.stage.plan.Keyed || len(b.items) != 1 {
		if len(e.Made) > 0 {
			c.emit(DropBlocks{IDs: e.Made}) // of an attempt that no longer counts
		}
		return
	}
	kept := map[uint64]bool{}
	for _, p := range e.Primary {
		kept[p.ID] = true
	}
	for _, r := range e.Residual {
		kept[r.Block.ID] = true
	}
	s, hold := b.stage, b.hold()
	for _, it := range b.items[0] {
		s.land(it.hold)
		if !kept[it.block.ID] {
			b.spent = append(b.spent, it)
		}
	}
	b.items[0], b.elements = nil, 0
	for _, p := range e.Primary {
		b.elements += p.Count
		b.items[0] = append(b.items[0], item{block: p, hold: hold, truncated: b.truncated})
		s.flight[hold]++
	}
	for _, r := range e.Residual {
		c.putBack(b, r, min(b.tries+1, maxTries))
	}
}

// apply routes what a durable record brought.
func (c *Core) apply(b *bundle) {
	r, s, tries := b.record, b.stage, b.nextTries()
	for _, sh := range r.Shards {
		t := &s.shards[sh.Shard]
		t.nextEvent, t.nextProc, t.hold = sh.NextEvent, sh.NextProc, sh.Hold
	}
	for _, res := range r.Residual {
		c.putBack(b, res, tries)
	}
	for _, o := range r.Outputs {
		to := s.plan.Outputs[o.Port].Consumers[o.Consumer]
		if to.Side >= 0 {
			c.stages[to.Stage].sides[to.Side].seen = true
			continue // side inputs keep their blocks outside the core
		}
		c.stages[to.Stage].push(o.Shard, item{block: o.Block, hold: o.Block.Min, since: c.now})
	}
}
