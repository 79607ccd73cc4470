package core

import (
	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/watermark"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
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
	event   *pipepb.TestStreamPayload_Event
	// truncates: its input is to be truncated; truncated: it has been.
	truncates, truncated bool
	record               *commit.Record
	mark                 timestamp.Time // input watermark of the attempt
	procDue              int64          // processing time up to which timers of the attempt are due
	started              int64          // when the attempt was; like the next two, by the wall's clock
	splitAt              int64          // when it may be split (again)
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
func (c *Core) launch(s *stage, shards []int, items [][]item, event *pipepb.TestStreamPayload_Event) {
	b := &bundle{id: c.next, stage: s, shards: shards, items: items, event: event}
	if len(items) > 0 && len(items[0]) > 0 { // items are truncated all, or none
		b.truncated = items[0][0].Truncated
		b.truncates = c.truncates(s, &items[0][0])
	}
	c.next++
	c.fly(b)
	c.attempt(b)
}

// attempt starts the next attempt of a bundle.
func (c *Core) attempt(b *bundle) {
	b.attempt++
	b.state = running
	b.started = c.wall
	b.splitAt = c.wall + c.cfg.IdleSplitMS<<b.tries
	c.running[b.stage.plan.Environment]++
	b.mark, b.procDue = c.marks.Input(b.stage.plan.Index), c.procDue(b.stage)
	e := StartBundle{
		Bundle:    b.id,
		Attempt:   b.attempt,
		Stage:     b.stage.plan.Index,
		Watermark: b.mark,
		Output:    c.marks.Output(watermark.Source{Stage: b.stage.plan.Index}),
		NowMS:     c.now,
		ProcDueMS: b.procDue,
		SyncNowMS: c.now,
		Event:     b.event,
		Truncate:  b.truncates,
	}
	for i, sh := range b.shards {
		l := Lease{Shard: sh}
		for _, it := range b.items[i] {
			l.Blocks = append(l.Blocks, it.Block)
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
	if work, known := b.work(); known {
		b.stage.observe(work, c.wall-b.started)
	}
	switch b.stage.plan.Kind {
	case plan.Impulse:
		b.stage.fired = true
	case plan.TestStream:
		b.stage.passed = max(b.stage.passed, b.stage.event+1)
	}
	c.queue(b)
	c.commit(r)
}

// fires says whether timers of a shard were due when the attempt began.
func (b *bundle) fires(shard int) bool {
	return b.stage.shards[shard].due(b.mark, b.procDue)
}

// work is how many elements a bundle has gone through: with windows that fire,
// also those that they hold. It is not known how much other timers do.
func (b *bundle) work() (elements int64, known bool) {
	elements = b.elements
	for _, shard := range b.shards {
		if !b.stage.plan.Keyed || !b.fires(shard) {
			continue
		}
		if b.stage.plan.Kind != plan.Group {
			return 0, false
		}
		elements += b.stage.shards[shard].grouped.elements
	}
	return elements, true
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
			s.land(it.Hold)
		}
		if !b.record.Split {
			c.drop(b.items[i])
		}
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
