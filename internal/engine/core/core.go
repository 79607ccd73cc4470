// Package core decides: it is the scheduler of one job, as a deterministic
// state machine. Step takes an event and returns the effects that the caller
// must carry out. The core reads no clock, starts no goroutine, takes no lock
// and never sees the bytes of an element: it knows stages, blocks, shards,
// timestamps and attempts.
//
// Invariants, true after every Step:
//   - a shard of a keyed stage is leased by at most one bundle;
//   - a block is in exactly one place: a queue, or a bundle in flight;
//   - what a bundle produced is unknown here until its record is durable;
//   - watermarks never fall, and output <= input <= upstream;
//   - every bundle in flight is running, waiting for its commit, or waiting
//     for its next attempt.
//
// Read schedule.go and keyed.go for what starts when, pressure.go for what
// waits, bundle.go for a bundle's life, and stage.go for what a stage has.
package core

import (
	"sort"

	"github.com/pharos-beam/pharos/internal/engine/watermark"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// Config of a core. Zero values take the defaults.
type Config struct {
	// Shards of every keyed stage: a power of two.
	Shards int
	// MaxAttempts of a bundle before the job fails.
	MaxAttempts int
	// Slots is how many bundles may run at once, by environment id.
	Slots map[string]int
	// ComputeSlots is how many of those, if not zero, go to stages that never
	// wait for the runner: more would not be faster.
	ComputeSlots map[string]int
	// RunnerSlots is how many bundles of runner stages may run at once.
	RunnerSlots int
	// BundleElements and BundleBytes limit the input of a bundle. At least one
	// block is always taken.
	BundleElements, BundleBytes int64
	// HeldBytes limits it further where a bundle holds all of its input and of
	// what it writes at once: in keyed stages that keep state.
	HeldBytes int64
	// QueueBytes is what a stage may have queued and be at work on before those
	// that feed it wait; see crowded.
	QueueBytes int64
	// BundleTargetMS is how long a bundle should take: from what bundles of a
	// stage have taken, the number of elements of the next ones is chosen.
	BundleTargetMS int64
	// InputBytes limits the input of a bundle further, by environment id, for
	// SDKs that take no more; zero is no limit.
	InputBytes map[string]int64
	// BundleMS is how long a bundle of a splittable stage may run before it is
	// asked to checkpoint, where its output may be waited for.
	BundleMS int64
	// IdleSplitMS is how long a bundle must run before it is split for idle
	// workers. It is split again after twice the time, and so on.
	IdleSplitMS int64
}

// Defaults.
const (
	DefaultShards         = 16
	DefaultMaxAttempts    = 4
	DefaultBundleElements = 1 << 20
	DefaultBundleBytes    = 64 << 20
	DefaultHeldBytes      = 64 << 20
	DefaultQueueBytes     = 256 << 20
	DefaultBundleTargetMS = 10_000
	DefaultBundleMS       = 1000
	DefaultIdleSplitMS    = 500
)

func (c Config) withDefaults() Config {
	def := func(p *int64, v int64) {
		if *p <= 0 {
			*p = v
		}
	}
	if c.Shards <= 0 {
		c.Shards = DefaultShards
	}
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = DefaultMaxAttempts
	}
	c.RunnerSlots = max(c.RunnerSlots, 1)
	def(&c.BundleElements, DefaultBundleElements)
	def(&c.BundleBytes, DefaultBundleBytes)
	def(&c.HeldBytes, DefaultHeldBytes)
	def(&c.QueueBytes, DefaultQueueBytes)
	def(&c.BundleTargetMS, DefaultBundleTargetMS)
	def(&c.BundleMS, DefaultBundleMS)
	def(&c.IdleSplitMS, DefaultIdleSplitMS)
	return c
}

// Core is the scheduler of one job. It is not safe for concurrent use.
type Core struct {
	cfg    Config
	plan   *plan.Plan
	stages []*stage
	marks  *watermark.Graph
	// running counts bundles in flight by environment ("" for runner stages).
	running map[string]int
	bundles map[uint64]*bundle
	next    uint64 // bundle
	seq     uint64 // the last item
	now     int64  // processing time, Unix ms
	wall    int64  // the same, also if processing time is virtual
	// virtual: the job has a TestStream, so processing time stands still but
	// for what the TestStream advances it by.
	virtual bool
	woken   int64 // the last WakeAt
	started bool
	done    bool
	// draining: sources are to end; see drain.go.
	draining bool
	effects  []Effect
}

// New returns the core of a job that has not started.
func New(p *plan.Plan, cfg Config) *Core {
	c := &Core{
		cfg:     cfg.withDefaults(),
		plan:    p,
		marks:   watermark.New(len(p.Stages)),
		running: map[string]int{},
		bundles: map[uint64]*bundle{},
		next:    1,
	}
	windowings := parseWindowings(p)
	for _, ps := range p.Stages {
		c.stages = append(c.stages, newStage(ps, c.cfg.Shards, windowings))
	}
	for _, s := range c.stages {
		c.connect(s)
		if s.plan.Kind == plan.TestStream {
			c.virtual = true
			c.setPorts(s, timestamp.Min)
			if !s.eventsLeft() {
				c.setPorts(s, timestamp.Max)
			}
		}
	}
	return c
}

// connect wires the outputs of a stage to their consumers.
func (c *Core) connect(s *stage) {
	for port, out := range s.plan.Outputs {
		src := watermark.Source{Stage: s.plan.Index, Port: port}
		for _, to := range out.Consumers {
			t := c.stages[to.Stage]
			if to.Side < 0 {
				c.marks.Connect(src, to.Stage)
				t.producers = append(t.producers, s.plan.Index)
			} else {
				t.sides[to.Side].producers = append(t.sides[to.Side].producers, src)
			}
		}
	}
}

// MaxAttempts is how often a bundle is tried at most.
func (c *Core) MaxAttempts() int { return c.cfg.MaxAttempts }

// Tick tells the time ahead of the next event. Nothing starts because of it.
func (c *Core) Tick(nowMS int64) {
	c.wall = max(c.wall, nowMS)
	if !c.virtual {
		c.now = max(c.now, nowMS)
	}
}

// Step tells the core what happened and returns what must be done, in order.
// After Finish it returns nothing any more.
func (c *Core) Step(ev Event) []Effect {
	if c.done {
		return nil
	}
	c.effects = nil
	switch e := ev.(type) {
	case Start:
		c.started = true
		c.begin(e.NowMS)
		c.askServices()
	case BundleFinished:
		c.finished(e.Record)
	case BundleFailed:
		c.failed(e)
	case Split:
		c.handBack(e)
	case CommitDurable:
		for _, id := range e.Bundles {
			c.durable(id)
		}
	case TestEvent:
		c.served(e)
	case ClockAdvanced:
		c.woken = 0 // it has rung, be it too early
		c.Tick(e.NowMS)
	case Drain:
		c.drain()
	case Cancel:
		c.finish(Finish{Cancelled: true})
	}
	if !c.done && c.started {
		c.advance()
	}
	return c.effects
}

// begin sets the clocks. A TestStream that goes on has moved its own already.
func (c *Core) begin(nowMS int64) {
	c.wall = nowMS
	if !c.virtual {
		c.now = nowMS
		c.setBack()
		return
	}
	moved := c.now
	c.now = nowMS
	c.advanceVirtual(moved)
}

// setBack lets items rest no longer than they were to, though the clock has been
// set back while no core was there: they were queued in what is the future now.
func (c *Core) setBack() {
	for _, s := range c.stages {
		for i := range s.shards {
			for k := range s.shards[i].queue {
				it := &s.shards[i].queue[k]
				if back := it.SinceMS - c.now; back > 0 {
					it.SinceMS -= back
					it.ReadyMS = max(0, it.ReadyMS-back)
				}
			}
		}
	}
}

func (c *Core) emit(e Effect) { c.effects = append(c.effects, e) }

// advance brings watermarks up to date, starts what can start, and detects the
// end of the job.
func (c *Core) advance() {
	for {
		c.refresh()
		c.schedule()
		if len(c.bundles) > 0 || !c.nextTestEvent() && !c.leap() {
			break
		}
	}
	if c.done {
		return
	}
	c.finishSides()
	if len(c.bundles) == 0 {
		if c.complete() {
			c.finish(Finish{Drained: c.draining})
			return
		}
		if c.workTime() == never && !c.awaitsEvents() {
			c.finish(Finish{Err: "the job is stuck: nothing runs and nothing is to come, but it is not complete: " + c.stuck()})
			return
		}
	}
	c.wake()
}

// refresh recomputes the watermarks.
func (c *Core) refresh() {
	for i, s := range c.stages {
		c.marks.SetWork(i, s.work())
		c.marks.SetHold(i, s.hold())
	}
	c.marks.Refresh()
}

// complete says whether the job has nothing left to do.
func (c *Core) complete() bool {
	for _, s := range c.stages {
		if !c.over(s) {
			return false
		}
	}
	return true
}

// over says whether a stage has nothing left to do.
func (c *Core) over(s *stage) bool {
	return !s.pending() && c.marks.Input(s.plan.Index) >= timestamp.Max && !s.timersLeft()
}

// finish ends the job: what runs is aborted.
func (c *Core) finish(f Finish) {
	ids := make([]uint64, 0, len(c.bundles))
	for id := range c.bundles {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	for _, id := range ids {
		if b := c.bundles[id]; b.state == running {
			c.emit(AbortBundle{Bundle: id, Attempt: b.attempt})
		}
	}
	c.done = true
	c.emit(f)
}

// drop asks for the release of blocks.
func (c *Core) drop(items []item) {
	if len(items) == 0 {
		return
	}
	ids := make([]uint64, len(items))
	for i, it := range items {
		ids[i] = it.Block.ID
	}
	c.emit(DropBlocks{IDs: ids})
}
