package core

import (
	"sort"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// Below these sizes the ready input of a stage goes into one bundle: starting
// another costs more than it gains. Not so where an element may be a lot of
// work: restrictions, and what the user has asked to be spread. Where it meets
// state it is at least some.
const (
	smallBytes    = 256 << 10
	smallBundle   = 4096
	smallStateful = 256
)

// small says whether that is true of so much input of the stage.
func (s *stage) small(elements, bytes int64) bool {
	limit := int64(smallBundle)
	if s.plan.Keyed && s.plan.Kind == plan.SDK {
		limit = smallStateful
	}
	return elements < limit && bytes < smallBytes && !s.plan.Spread && !s.plan.Splittable
}

// maxSplitMS is the longest time between two attempts to split a bundle.
const maxSplitMS = 1000

// schedule starts all bundles that can start: retries first, then the deepest
// stages, so that what has been begun is drained before more is begun.
func (c *Core) schedule() {
	c.retry()
	for i := len(c.stages) - 1; i >= 0; i-- {
		s := c.stages[i]
		switch {
		case s.plan.Kind == plan.TestStream:
		case s.plan.Kind == plan.Impulse:
			if s.impulse {
				s.impulse = false
				c.launch(s, nil, nil, nil)
			}
		case s.plan.Keyed:
			c.scheduleKeyed(s)
		default:
			if c.draining && s.plan.Splittable {
				c.scheduleSpans(s, func(it *item) bool { return c.truncates(s, it) && c.ready(s, it) })
			}
			c.scheduleSpans(s, func(it *item) bool { return !c.truncates(s, it) && c.ready(s, it) })
		}
	}
	c.splitForIdle()
}

// retry starts the attempts whose backoff is over.
func (c *Core) retry() {
	var due []*bundle
	for _, b := range c.bundles {
		if b.state == waiting && b.retryAt <= c.wall {
			due = append(due, b)
		}
	}
	sort.Slice(due, func(i, j int) bool { return due[i].id < due[j].id })
	for _, b := range due {
		c.attempt(b)
	}
}

// free is how many more bundles of the stage may run now.
func (c *Core) free(s *stage) int {
	if s.plan.Kind != plan.SDK {
		return c.cfg.RunnerSlots - c.running[""]
	}
	n := max(c.cfg.Slots[s.plan.Environment], 1)
	n -= c.running[s.plan.Environment]
	if busy := c.cfg.ComputeSlots[s.plan.Environment]; busy > 0 && !s.asks() {
		n = min(n, busy-c.computing(s))
	}
	return n
}

// computing is how many bundles keep the stage's environment busy. Where an
// element may be a lot of work, one that takes long is taken to wait for the
// world outside: others can use the time, and it might be them that it waits for.
func (c *Core) computing(s *stage) int {
	n := c.running[s.plan.Environment]
	if !s.plan.Spread && !s.plan.Splittable {
		return n
	}
	for _, b := range c.bundles {
		if b.state == running && b.stage == s && c.now-b.started >= c.cfg.IdleSplitMS {
			n--
		}
	}
	return n
}

// asks says whether bundles of the stage wait for answers of the runner while
// they run.
func (s *stage) asks() bool { return s.plan.Keyed || len(s.plan.SideInputs) > 0 }

// mayStart holds for all kinds of bundle with elements.
func (c *Core) mayStart(s *stage) bool {
	if s.plan.Barrier && c.marks.Upstream(s.plan.Index) < timestamp.Max {
		return false
	}
	return c.boundedSidesReady(s)
}

// queueReady says whether something that is queued has the side inputs that it
// needs.
func (c *Core) queueReady(s *stage) bool {
	for i := range s.shards {
		for j := range s.shards[i].queue {
			if c.sidesReady(s, s.shards[i].queue[j].Block.End) {
				return true
			}
		}
	}
	return false
}

// scheduleSpans starts bundles of a stage without keys: the part of its queue
// that is picked is divided among the free slots.
func (c *Core) scheduleSpans(s *stage, pick func(*item) bool) {
	free := c.free(s)
	if free <= 0 || s.blocks == 0 || !c.mayStart(s) || c.crowded(s) != nil {
		return
	}
	ready, elements, bytes, since := 0, int64(0), int64(0), never
	queue := s.shards[0].queue
	for i := range queue {
		if pick(&queue[i]) {
			ready++
			elements += queue[i].Block.Count
			bytes += queue[i].Block.Bytes
			since = min(since, queue[i].SinceMS)
		}
	}
	share := free
	s.gathering = 0
	if s.small(elements, bytes) {
		share = 1
		if ready > 0 && c.gathers(s, since) {
			s.gathering = since + gatherMS
			return
		}
	}
	for ready > 0 && free > 0 {
		n := c.span(s, (ready+share-1)/share, pick)
		share = max(share-1, 1)
		items := s.take(0, n, pick)
		ready -= len(items)
		free--
		c.launch(s, []int{0}, [][]item{items}, nil)
	}
}

// bundleElements is how many elements of input a bundle of the stage may have:
// so many that it takes about as long as a bundle should.
func (c *Core) bundleElements(s *stage) int64 {
	if s.pace == 0 {
		return c.cfg.BundleElements
	}
	return min(c.cfg.BundleElements, max(1, int64(s.pace*float64(c.cfg.BundleTargetMS))))
}

// bundleBytes is how many bytes of input a bundle of the stage may have.
func (c *Core) bundleBytes(s *stage) int64 {
	limit := c.cfg.BundleBytes
	if s.plan.Keyed {
		limit = min(limit, c.cfg.HeldBytes)
	}
	if n := c.cfg.InputBytes[s.plan.Environment]; n > 0 && s.plan.Kind == plan.SDK {
		limit = min(n, limit)
	}
	return limit
}

// gatherMS is how long little input waits for more.
const gatherMS = 50

// gathers says whether little input that came first at since waits for what the
// stages before are about to add to it. In a stream it does not: latency counts.
func (c *Core) gathers(s *stage, since int64) bool {
	if c.virtual || s.unbounded || c.now >= since+gatherMS {
		return false
	}
	for _, i := range s.producers {
		if p := c.stages[i]; p.inflight > 0 || p.blocks > 0 {
			return true
		}
	}
	return false
}

// span is how many of the first want picked blocks fit in a bundle.
func (c *Core) span(s *stage, want int, pick func(*item) bool) int {
	var elements, bytes int64
	n, limit, most := 0, c.bundleBytes(s), c.bundleElements(s)
	for i := range s.shards[0].queue {
		it := &s.shards[0].queue[i]
		if n == want {
			break
		}
		if !pick(it) {
			continue
		}
		elements += it.Block.Count
		bytes += it.Block.Bytes
		if n > 0 && (elements > most || bytes > limit) {
			break
		}
		n++
	}
	return n
}

// splitForIdle splits long bundles when workers of their environment have
// nothing to do, and checkpoints those whose output is waited for.
func (c *Core) splitForIdle() {
	var ids []uint64
	for id, b := range c.bundles {
		if b.state == running && splittable(b) && b.splitAt <= c.wall {
			ids = append(ids, id)
		}
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	for _, id := range ids {
		b := c.bundles[id]
		idle := c.free(b.stage) > 0 && b.stage.blocks == 0
		switch {
		case b.stage.unbounded:
			// Checkpoint. The rest waits for the commit: it may be a reader
			// that must not go on before its past is finalized.
			if c.wall-b.started >= c.cfg.BundleMS<<min(b.tries, maxUnboundedTries) {
				c.askSplit(b, 0, false)
			}
		case idle:
			// Half of what is left goes to a worker that is idle.
			c.askSplit(b, 0.5, true)
		}
		wait := max(c.cfg.IdleSplitMS<<b.tries, min(c.wall-b.started, maxSplitMS))
		b.splitAt = c.wall + wait
	}
}

func (c *Core) askSplit(b *bundle, fraction float64, share bool) {
	b.asked = true
	c.emit(SplitBundle{Bundle: b.id, Attempt: b.attempt, Fraction: fraction, Share: share})
}

// splittable says whether splitting a bundle gives something back: it must have
// several elements, or one that can itself be split.
func splittable(b *bundle) bool {
	return b.stage.plan.Kind == plan.SDK && !b.stage.plan.Keyed && !b.truncates && (b.stage.plan.Splittable || b.elements > 1)
}

// workTime is the earliest processing time at which queued work or timers can
// become ready by themselves.
func (c *Core) workTime() int64 {
	t := never
	for _, s := range c.stages {
		t = min(t, s.nextProc(c.now))
		if s.gathering > c.now {
			t = min(t, s.gathering)
		}
	}
	return t
}

// bundleTime is when a bundle in flight next wants to be looked at, by the
// wall's clock.
func (c *Core) bundleTime() int64 {
	t := never
	for _, b := range c.bundles {
		switch {
		case b.state == waiting:
			t = min(t, b.retryAt)
		case b.state == running && splittable(b):
			t = min(t, max(b.splitAt, c.wall+1))
		}
	}
	return t
}

// wake asks for the clock when it will be needed.
func (c *Core) wake() {
	t := c.bundleTime()
	if !c.virtual {
		t = min(t, c.workTime())
	}
	if t == never {
		return
	}
	t = max(t, c.wall+1)
	if t != c.woken {
		c.woken = t
		c.emit(WakeAt{AtMS: t})
	}
}
