package reduce

import (
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/trigger"
)

// pending is values that are emitted straight from the elements that came and
// never reach the bag.
type pending struct {
	elems     []coder.Element
	positions []int
}

// firing says why a pane is made: the trigger is due, or the window expires.
type firing struct {
	due  bool // the trigger fires
	last bool // the window closes
}

// fire makes a pane of what the window has, and of what is arriving, if there
// is reason to emit one.
func (c *call) fire(w *record, why firing, arriving pending) error {
	pane := c.nextPane(w, why.last)
	if c.wanted(w, pane, why.due) {
		f := Firing{
			Window:    w.window,
			Timestamp: w.maxTS,
			Pane:      pane,
			Count:     w.total + int64(len(arriving.positions)),
			Values: func(yield func([]byte) error) error {
				if err := c.values(w, yield); err != nil {
					return err
				}
				for _, i := range arriving.positions {
					if err := yield(arriving.elems[i].Value); err != nil {
						return err
					}
				}
				return nil
			},
		}
		if w.hasElements {
			f.Timestamp = w.elements
		}
		if err := c.env.Emit(f); err != nil {
			return err
		}
		w.hasPane, w.pane = true, pane
	}
	w.fresh, w.hasElements, w.late = 0, false, false
	if why.last {
		w.closed = true
	}
	if why.last || c.r.discarding {
		return c.clearValues(w)
	}
	return nil
}

// wanted reports whether the pane is emitted: because it has elements, or
// because the strategy wants it even if it has none. "Always fire the on-time
// pane" is about a pane that the trigger makes: a window whose trigger does not
// look at the watermark has none.
func (c *call) wanted(w *record, pane coder.Pane, due bool) bool {
	return w.fresh > 0 ||
		due && pane.Timing == coder.OnTime && c.r.strategy.OnTimeAlways ||
		pane.Last && c.r.strategy.ClosingAlways
}

// nextPane describes the pane that follows the previous one.
func (c *call) nextPane(w *record, finished bool) coder.Pane {
	p := coder.Pane{First: !w.hasPane, Last: finished}
	if w.hasPane {
		p.Index = w.pane.Index + 1
		p.NonSpeculative = w.pane.NonSpeculative + 1 // -1 + 1 after an early one
	}
	onlyEarly := !w.hasPane || w.pane.Timing == coder.Early
	switch {
	case !onlyEarly || c.lateDownstream(w):
		p.Timing = coder.Late
	case c.env.Watermark <= w.maxTS:
		p.Timing = coder.Early
		p.NonSpeculative = -1
	default:
		p.Timing = coder.OnTime
	}
	return p
}

// lateDownstream reports whether the output watermark has passed the end of the
// window. If it is not known, it may have if the window did not hold it back.
func (c *call) lateDownstream(w *record) bool {
	if c.env.OutputWatermark != nil {
		return *c.env.OutputWatermark > w.maxTS
	}
	return c.env.Watermark > w.maxTS && w.set.hold != holdElements && w.set.hold != holdEnd
}

// Tags of timers, different in case a table keeps both clocks together.
const (
	tagEvent      = "event"
	tagProcessing = "processing"
)

// settle makes timers, hold and stored record of a window agree with w.
func (c *call) settle(w *record) error {
	if err := c.settleEvent(w); err != nil {
		return err
	}
	if err := c.settleWake(w); err != nil {
		return err
	}
	if err := c.settleHold(w); err != nil {
		return err
	}
	b := c.r.encode(nil, w)
	if w.stored != nil && string(b) == string(w.stored) {
		return nil
	}
	w.stored = b
	return c.env.KV.Set(c.windowKey(tagRecord, w.window), b)
}

// settleEvent waits for the end of the window, if the trigger cares for it,
// and then for the expiry, when the window has to be forgotten.
func (c *call) settleEvent(w *record) error {
	want, at := watchExpiry, w.expiry
	if c.watches(w) && c.env.Watermark <= w.maxTS && w.maxTS < w.expiry {
		want, at = watchEnd, w.maxTS
	}
	if want == w.set.event {
		return nil
	}
	w.set.event = want
	// The watermark has to be after that instant.
	return c.env.Timers.Set(w.window, tagEvent, EventTime, int64(at)+1)
}

// watches reports whether the trigger will fire, or fire again, because of the
// end of the window.
func (c *call) watches(w *record) bool {
	return c.r.machine.Watches() && !w.closed && !w.trigger.Finished()
}

// settleWake waits for the delays of the trigger.
func (c *call) settleWake(w *record) error {
	want := c.r.machine.Wakeup(w.trigger, c.clock(w))
	if want == w.set.wake {
		return nil
	}
	w.set.wake = want
	if want == trigger.NoWakeup {
		return c.env.Timers.Clear(w.window, tagProcessing, ProcessingTime)
	}
	return c.env.Timers.Set(w.window, tagProcessing, ProcessingTime, want)
}

func (c *call) settleHold(w *record) error {
	kind, at := c.wantedHold(w)
	if kind == w.set.hold && (kind == holdNothing || at == w.set.at) {
		return nil
	}
	same := kind != holdNothing && w.set.hold != holdNothing && at == w.set.at
	w.set.hold, w.set.at = kind, at
	switch {
	case kind == holdNothing:
		return c.env.Holds.Clear(w.window)
	case same:
		return nil
	}
	return c.env.Holds.Set(w.window, at)
}

// wantedHold returns the smallest of the holds that the window has reason for.
func (c *call) wantedHold(w *record) (holdKind, timestamp.Time) {
	s := c.r.strategy
	switch {
	case w.closed:
		return holdNothing, 0
	case w.hasElements:
		return holdElements, w.elements
	case c.env.Watermark <= w.maxTS && c.watches(w) && (s.OnTimeAlways || w.fresh > 0):
		return holdEnd, w.maxTS
	case w.late || s.ClosingAlways:
		return holdExpiry, w.expiry
	}
	return holdNothing, 0
}

// remove forgets a window: record, values, timers and hold.
func (c *call) remove(w *record) error {
	if err := c.clearValues(w); err != nil {
		return err
	}
	if w.set.event != watchNothing {
		if err := c.env.Timers.Clear(w.window, tagEvent, EventTime); err != nil {
			return err
		}
	}
	if w.set.wake != trigger.NoWakeup {
		if err := c.env.Timers.Clear(w.window, tagProcessing, ProcessingTime); err != nil {
			return err
		}
	}
	if w.set.hold != holdNothing {
		if err := c.env.Holds.Clear(w.window); err != nil {
			return err
		}
	}
	if w.stored == nil {
		return nil
	}
	w.stored = nil
	return c.env.KV.Delete(c.windowKey(tagRecord, w.window))
}
