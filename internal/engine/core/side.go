package core

import (
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/watermark"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/plan"
)

// side is one side input of a stage. When it may be read depends:
//   - a bounded one when it is complete;
//   - one that grows when the window that goes with the main input's is over,
//     so that every reader sees the same;
//   - one whose trigger fires before that, once there is something to see: the
//     pipeline asks for what is known so far.
type side struct {
	producers []watermark.Source
	bounded   bool
	early     bool
	seen      bool // some data has arrived
	windowing *window.Strategy
}

func newSide(si *plan.SideInput, windowings map[string]*window.Strategy) side {
	if si.Collection == nil || si.Collection.Bounded {
		return side{bounded: true}
	}
	w := windowings[si.Collection.Windowing]
	return side{windowing: w, early: w != nil && !w.FiresOnce()}
}

// parseWindowings reads the windowing strategies of the plan. One that cannot
// be read is left out: whoever executes the plan reports it.
func parseWindowings(p *plan.Plan) map[string]*window.Strategy {
	all := map[string]*window.Strategy{}
	parse := func(id string, ws *pipepb.WindowingStrategy) {
		if s, err := window.Parse(ws, p.Coders); err == nil {
			all[id] = s
		}
	}
	for _, st := range p.Stages {
		for _, si := range st.SideInputs {
			if si.Collection == nil {
				continue
			}
			id := si.Collection.Windowing
			if _, ok := all[id]; !ok {
				parse(id, p.Windowings[id])
			}
		}
	}
	return all
}

// sideMark is up to when a side input is complete.
func (c *Core) sideMark(side *side) timestamp.Time {
	t := timestamp.Max
	for _, p := range side.producers {
		t = min(t, c.marks.Output(p))
	}
	return t
}

// boundedSidesReady says whether the side inputs that must be complete are.
func (c *Core) boundedSidesReady(s *stage) bool {
	for i := range s.sides {
		if side := &s.sides[i]; side.bounded && c.sideMark(side) < timestamp.Max {
			return false
		}
	}
	return true
}

// sidesReady says whether the side inputs can be read for elements in windows
// that end at end at the latest.
func (c *Core) sidesReady(s *stage, end timestamp.Time) bool {
	for i := range s.sides {
		side := &s.sides[i]
		mark := c.sideMark(side)
		if mark >= timestamp.Max || side.early && side.seen {
			continue
		}
		if side.bounded || side.windowing == nil {
			return false
		}
		// What is for the end of time may come until all is complete.
		if last := side.windowing.SideEnd(end); mark <= last || last >= timestamp.EndOfGlobalWindow {
			return false
		}
	}
	return true
}

// finishSides tells of the stages that are done, and whose side inputs have all
// come.
func (c *Core) finishSides() {
	for _, s := range c.stages {
		if len(s.sides) > 0 && !s.sidesDone && c.over(s) && c.sidesComplete(s) {
			s.sidesDone = true
			c.emit(SidesDone{Stage: s.plan.Index})
		}
	}
}

// sidesComplete says whether nothing can come for any side input of the stage.
func (c *Core) sidesComplete(s *stage) bool {
	for i := range s.sides {
		if c.sideMark(&s.sides[i]) < timestamp.Max {
			return false
		}
	}
	return true
}

// ready says whether an item may be processed now.
func (c *Core) ready(s *stage, it *item) bool {
	rests := it.ReadyMS > c.now && !c.truncates(s, it)
	return !rests && (len(s.sides) == 0 || c.sidesReady(s, it.Block.End))
}
