package core

import (
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// nextTestEvent lets the TestStreams of a job go on when everything else is
// quiet: that is what makes them deterministic. It returns whether something
// may have become ready.
func (c *Core) nextTestEvent() bool {
	for _, s := range c.stages {
		if !s.eventsLeft() {
			continue
		}
		switch ev := s.plan.TestStream.Events[s.event].GetEvent().(type) {
		case *pipepb.TestStreamPayload_Event_ElementEvent:
			c.launch(s, nil, nil, s.event)
			return false // a bundle runs now
		case *pipepb.TestStreamPayload_Event_WatermarkEvent:
			port := TestStreamPort(s.plan, ev.WatermarkEvent.GetTag())
			c.marks.SetPort(s.plan.Index, len(s.plan.Outputs), port, timestamp.Clamp(ev.WatermarkEvent.GetNewWatermark()))
		case *pipepb.TestStreamPayload_Event_ProcessingTimeEvent:
			c.advanceVirtual(ev.ProcessingTimeEvent.GetAdvanceDuration())
		}
		c.passEvent(s)
		return true
	}
	return false
}

// advanceVirtual moves the virtual clock, neither back nor beyond the end of
// time.
func (c *Core) advanceVirtual(ms int64) {
	c.now += max(0, min(ms, int64(timestamp.Max)-c.now))
}

// leap moves the virtual clock to the next instant that something waits for,
// once the TestStreams are over: nothing else would ever move it.
func (c *Core) leap() bool {
	if !c.virtual || len(c.bundles) > 0 {
		return false
	}
	t := c.workTime()
	if t == never || t <= c.now {
		return false
	}
	c.now = t
	return true
}

// passEvent goes on to the next event; after the last nothing can come any
// more.
func (c *Core) passEvent(s *stage) {
	s.event++
	s.passed = max(s.passed, s.event)
	if !s.eventsLeft() {
		c.setPorts(s, timestamp.Max)
	}
}

// setPorts sets the watermark of all outputs.
func (c *Core) setPorts(s *stage, t timestamp.Time) {
	for port := range s.plan.Outputs {
		c.marks.SetPort(s.plan.Index, len(s.plan.Outputs), port, t)
	}
}

// TestStreamPort is the index of the output with a tag.
func TestStreamPort(s *plan.Stage, tag string) int {
	for i, o := range s.Outputs {
		if o.Port == tag {
			return i
		}
	}
	return 0
}
