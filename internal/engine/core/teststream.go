package core

import (
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// A TestStream has its events from a script, in the plan, or from a service.
// The core asks a service for one event at a time and ahead of need, so at most
// one waits here. A core that has been recovered is told the events of a service
// from the first on; elements that have been are left out.

// nextTestEvent lets the TestStreams of a job go on when everything else is
// quiet: that is what makes them deterministic. It returns whether something
// may have become ready.
func (c *Core) nextTestEvent() bool {
	s := c.nextTestStream()
	if s == nil {
		return false
	}
	ev := s.nextEvent()
	if _, elements := ev.GetEvent().(*pipepb.TestStreamPayload_Event_ElementEvent); elements && s.event >= s.replay {
		c.launch(s, nil, nil, ev)
		return false // a bundle runs now
	}
	c.testEvent(s, ev)
	c.passEvent(s)
	return true
}

// testEvent moves a watermark, or the clock.
func (c *Core) testEvent(s *stage, ev *pipepb.TestStreamPayload_Event) {
	switch ev := ev.GetEvent().(type) {
	case *pipepb.TestStreamPayload_Event_WatermarkEvent:
		if port := TestStreamPort(s.plan, ev.WatermarkEvent.GetTag()); port >= 0 {
			c.marks.SetPort(s.plan.Index, len(s.plan.Outputs), port, timestamp.Clamp(ev.WatermarkEvent.GetNewWatermark()))
		}
	case *pipepb.TestStreamPayload_Event_ProcessingTimeEvent:
		c.advanceVirtual(ev.ProcessingTimeEvent.GetAdvanceDuration())
	}
}

// nextTestStream is the TestStream whose turn it is: of those that have an
// event, the one that has had the fewest. So several go on side by side, and
// whose turn it is follows from how far each is.
func (c *Core) nextTestStream() *stage {
	var next *stage
	for _, s := range c.stages {
		if s.nextEvent() != nil && (next == nil || s.event < next.event) {
			next = s
		}
	}
	return next
}

// advanceVirtual moves the virtual clock, neither back nor beyond the end of
// time.
func (c *Core) advanceVirtual(ms int64) {
	c.now += max(0, min(ms, int64(timestamp.Max)-c.now))
}

// leap moves the virtual clock to the next instant that something waits for,
// once the TestStreams are over: nothing else would ever move it.
func (c *Core) leap() bool {
	if !c.virtual || len(c.bundles) > 0 || c.awaitsEvents() {
		return false
	}
	t := c.workTime()
	if t == never || t <= c.now {
		return false
	}
	c.now = t
	return true
}

// awaitsEvents says whether the service of a TestStream has yet to answer.
func (c *Core) awaitsEvents() bool {
	for _, s := range c.stages {
		if s.eventsLeft() && s.nextEvent() == nil {
			return true
		}
	}
	return false
}

// isServed says whether the events of a TestStream come from a service.
func (s *stage) isServed() bool {
	return s.plan.Kind == plan.TestStream && s.plan.TestStream.GetEndpoint().GetUrl() != ""
}

// eventsLeft says whether a TestStream is not over.
func (s *stage) eventsLeft() bool {
	return s.plan.Kind == plan.TestStream && !s.over && (s.isServed() || s.event < len(s.plan.TestStream.GetEvents()))
}

// nextEvent is the event of a TestStream that comes next; nil if there is none,
// or it is not known yet.
func (s *stage) nextEvent() *pipepb.TestStreamPayload_Event {
	switch {
	case !s.eventsLeft():
		return nil
	case s.isServed():
		return s.came
	}
	return s.plan.TestStream.GetEvents()[s.event]
}

// askServices asks for the first event of each TestStream service.
func (c *Core) askServices() {
	for _, s := range c.stages {
		if s.isServed() {
			c.emit(NextTestEvent{Stage: s.plan.Index})
		}
	}
}

// served: the service of a TestStream has answered.
func (c *Core) served(e TestEvent) {
	s := c.stages[e.Stage]
	switch {
	case s.over: // drained meanwhile
	case e.Err != "":
		c.finish(Finish{Err: e.Err, Stage: s.plan})
	case e.Event != nil:
		s.came = e.Event
	default:
		c.endTestStream(s)
	}
}

// endTestStream drops what events a TestStream has left, but for the one that
// is on.
func (c *Core) endTestStream(s *stage) {
	s.over, s.came = true, nil
	s.passed = max(s.passed, len(s.plan.TestStream.GetEvents()))
	if s.inflight == 0 {
		c.setPorts(s, timestamp.Max)
	}
}

// passEvent goes on to the next event; after the last nothing can come any
// more.
func (c *Core) passEvent(s *stage) {
	s.event++
	s.passed = max(s.passed, s.event)
	s.came = nil
	switch {
	case !s.eventsLeft():
		c.setPorts(s, timestamp.Max)
	case s.isServed():
		c.emit(NextTestEvent{Stage: s.plan.Index})
	}
}

// setPorts sets the watermark of all outputs.
func (c *Core) setPorts(s *stage, t timestamp.Time) {
	for port := range s.plan.Outputs {
		c.marks.SetPort(s.plan.Index, len(s.plan.Outputs), port, t)
	}
}

// TestStreamPort is the index of the output with a tag; -1 if there is none.
// Where there is one output only, an event need not have a tag.
func TestStreamPort(s *plan.Stage, tag string) int {
	for i, o := range s.Outputs {
		if o.Port == tag || tag == "" && len(s.Outputs) == 1 {
			return i
		}
	}
	return -1
}
