package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/watermark"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// Status is what the core knows of a stage, for people.
type Status struct {
	Pending      int64 // elements queued
	PendingBytes int64
	InFlight     int // bundles
	Input        timestamp.Time
	Output       timestamp.Time
	Complete     bool
	// Explained says why the stage is not further: see Explain.
	Explained string
	// Holder is the shard that Explained ends with, nil if it ends otherwise: the
	// tables know more of what is in it.
	Holder *Holder
}

// Holder is a shard whose state or timers hold a watermark.
type Holder struct{ Stage, Shard int }

// Status describes stage i.
func (c *Core) Status(i int) Status {
	s := c.stages[i]
	out := c.marks.Output(watermark.Source{Stage: i})
	st := Status{
		Pending:      s.queued,
		PendingBytes: s.bytes,
		InFlight:     s.inflight,
		Input:        c.marks.Input(i),
		Output:       out,
		Complete:     out >= timestamp.Max && !s.pending() && !s.timersLeft(),
	}
	st.Explained, st.Holder = c.explain(i)
	return st
}

// Explain says in words why a stage is not further: what its next bundle waits
// for, and if there is none, who keeps its watermark where it is, be it the
// stage or one before it.
func (c *Core) Explain(i int) string {
	text, _ := c.explain(i)
	return text
}

func (c *Core) explain(i int) (string, *Holder) {
	s := c.stages[i]
	switch {
	case s.eventsLeft() && s.inflight == 0:
		return "waits for " + s.nextEventText(), nil
	case s.inflight > 0:
		return fmt.Sprintf("running %d bundles", s.inflight), nil
	case s.blocks > 0 && !c.queueReady(s):
		return "waits for its side inputs: " + c.explainSides(s), nil
	case s.pending() && s.plan.Barrier && c.marks.Upstream(i) < timestamp.Max:
		why, h := c.blame(i)
		return "waits for its input to be complete: " + why, h
	case s.pending() && c.free(s) <= 0:
		return "waits for a free worker", nil
	}
	if t := c.crowded(s); s.pending() && t != nil {
		return fmt.Sprintf("waits for %s, which has %d MB queued", t.plan.Name, t.bytes>>20), nil
	}
	return c.blame(i)
}

// stuck explains every stage that is not complete.
func (c *Core) stuck() string {
	var lines []string
	for i, s := range c.stages {
		if c.marks.Output(watermark.Source{Stage: i}) < timestamp.Max || s.pending() {
			lines = append(lines, fmt.Sprintf("%s: %s", s.plan.Name, c.Explain(i)))
		}
	}
	return strings.Join(lines, "; ")
}

func (c *Core) explainSides(s *stage) string {
	var w []string
	for _, side := range s.sides {
		for _, p := range side.producers {
			if t := c.marks.Output(p); t < timestamp.Max {
				w = append(w, fmt.Sprintf("%s, at %v", c.plan.Stages[p.Stage].Name, t))
			}
		}
	}
	slices.Sort(w)
	return strings.Join(w, "; ")
}

// blame says who keeps the output watermark of a stage where it is.
func (c *Core) blame(i int) (string, *Holder) {
	out := c.marks.Output(watermark.Source{Stage: i})
	if out >= timestamp.Max {
		return "complete", nil
	}
	root, at := c.root(i)
	why, h := c.local(c.stages[root])
	if root == i {
		return fmt.Sprintf("its watermark is at %v: %s", out, why), h
	}
	return fmt.Sprintf("waits for %s, whose watermark is at %v: %s", c.plan.Stages[root].Name, at, why), h
}

// root follows the blame for a stage's watermark upstream to a stage that has
// itself to blame, and returns the watermark that it put out.
func (c *Core) root(i int) (int, timestamp.Time) {
	at := c.marks.Output(watermark.Source{Stage: i})
	for {
		b := c.marks.Blame(i)
		if b.Hold || b.Work || len(b.Upstream) == 0 || c.stages[i].plan.Kind == plan.TestStream {
			return i, at
		}
		next := slices.MinFunc(b.Upstream, func(x, y watermark.Source) int {
			return int(min(1, max(-1, c.marks.Output(x)-c.marks.Output(y))))
		})
		i, at = next.Stage, c.marks.Output(next)
	}
}

// local says what of its own keeps a stage's watermark where it is.
func (c *Core) local(s *stage) (string, *Holder) {
	b := c.marks.Blame(s.plan.Index)
	switch {
	case s.eventsLeft():
		return "it waits for " + s.nextEventText(), nil
	case b.Hold:
		return c.holdText(s)
	case b.Work:
		return c.workText(s), nil
	}
	return "nothing that is known holds it", nil
}

// nextEventText says what a TestStream waits for.
func (s *stage) nextEventText() string {
	if s.nextEvent() == nil {
		return "the next event of the TestStream service at " + s.plan.TestStream.GetEndpoint().GetUrl()
	}
	return "everything else to be quiet before the TestStream's next event"
}

// workText says which work it is that a stage has not committed.
func (c *Core) workText(s *stage) string {
	t := s.work()
	if s.impulse {
		return "it has yet to begin"
	}
	if n := s.flight[t]; n > 0 {
		return fmt.Sprintf("bundles in flight have elements or restrictions from %v on", t)
	}
	var waiting int64
	for i := range s.shards {
		for _, it := range s.shards[i].queue {
			switch {
			case it.Hold != t:
			case it.ReadyMS > c.now && it.Hold > it.Block.Min:
				return fmt.Sprintf("a source that rests for %v estimates that nothing before %v is to come", millis(it.ReadyMS-c.now), t)
			case it.ReadyMS > c.now:
				return fmt.Sprintf("what is left of an element of %v rests for %v", t, millis(it.ReadyMS-c.now))
			case it.Hold > it.Block.Min:
				return fmt.Sprintf("a source that waits for its turn estimates that nothing before %v is to come", t)
			default:
				waiting += it.Block.Count
			}
		}
	}
	return fmt.Sprintf("%d elements from %v on have not been processed", waiting, t)
}

// holdText says which shard holds the watermark, with what it is known for.
func (c *Core) holdText(s *stage) (string, *Holder) {
	least := func(of func(*shard) int64) (*Holder, int64) {
		first := 0
		for i := range s.shards {
			if of(&s.shards[i]) < of(&s.shards[first]) {
				first = i
			}
		}
		return &Holder{Stage: s.plan.Index, Shard: first}, of(&s.shards[first])
	}
	if h, t := least(func(sh *shard) int64 { return int64(sh.hold) }); timestamp.Time(t) < lastHold {
		return fmt.Sprintf("held at %v by state or timers in shard %d", timestamp.Time(t), h.Shard), h
	}
	if h, t := least(func(sh *shard) int64 { return int64(sh.nextEvent) }); timestamp.Time(t) < commit.None {
		return fmt.Sprintf("a timer in shard %d, set for %v, has yet to fire", h.Shard, timestamp.Time(t)), h
	}
	h, ms := least(func(sh *shard) int64 { return sh.nextProc })
	return fmt.Sprintf("a timer in shard %d is due in %v of processing time", h.Shard, millis(max(0, ms-c.now))), h
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
