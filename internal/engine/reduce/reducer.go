package reduce

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/trigger"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// Reducer groups by a windowing strategy. It has no state of its own and may
// be used for all keys, by several goroutines.
type Reducer struct {
	strategy   *window.Strategy
	machine    *trigger.Machine
	discarding bool
	oneByOne   bool
	replays    bool
	keepsRest  bool
}

// New returns a Reducer for a strategy. It fails if the trigger makes no sense.
func New(s *window.Strategy) (*Reducer, error) {
	m, err := trigger.New(s.Trigger, s.Merging)
	if err != nil {
		return nil, fmt.Errorf("windowing strategy with WindowFn %s: %w", s.FnURN, err)
	}
	return &Reducer{
		strategy: s,
		machine:  m,
		// Retractions are not in Beam's model yet; until then a retracting
		// pane is an accumulating one.
		discarding: s.Accumulation == pipepb.AccumulationMode_DISCARDING,
		// Another window would start the trigger again, but there is none:
		// without this, all that is still to come in the job would be lost.
		keepsRest: s.Kind == window.Global,
	}, nil
}

// OneByOne makes a trigger that counts look at every element. Otherwise it
// looks once at all elements of a call: Beam allows both, as triggers fire "at
// least after" so many elements. What comes in bundles by accident, as in a
// stream, should not make panes that depend on the bundles.
func (r *Reducer) OneByOne() { r.oneByOne = r.machine.Counts() }

// Replay makes a stream of a bounded input that comes in one call for each key:
// a trigger that counts looks at one element after another, in the order of
// their timestamps and not of bundles. None of them can be late, so values that
// come after their trigger has finished are not dropped but wait for the expiry
// of their window, for its last pane.
func (r *Reducer) Replay() {
	r.OneByOne()
	r.replays, r.keepsRest = true, true
}

// closes reports whether the window takes no more values, because its trigger
// has finished.
func (r *Reducer) closes(w *record) bool { return w.trigger.Finished() && !r.keepsRest }

// call is one call of a Reducer, for one key.
type call struct {
	r    *Reducer
	env  *Env
	open map[string]*record // windows read while merging; nil if they do not merge
}

// group is the elements that came for one window, by their position. An
// element can be there more than once, if several of its windows were merged.
type group struct {
	window   []byte
	elements []int
}

// Elements adds elements of one key, whose Value is the value without the key,
// and emits the panes that they make due, at most one for each window (but see
// OneByOne). The order of elems is their order of arrival; Replay changes it.
func (r *Reducer) Elements(env *Env, key []byte, elems []coder.Element) error {
	step := len(elems)
	if r.oneByOne {
		step = 1
	}
	if r.oneByOne && r.replays {
		slices.SortStableFunc(elems, func(a, b coder.Element) int { return cmp.Compare(a.Timestamp, b.Timestamp) })
	}
	for len(elems) > 0 {
		if err := r.add(&call{r: r, env: env}, elems[:step]); err != nil {
			return fmt.Errorf("group elements of key %x: %w", key, err)
		}
		elems = elems[step:]
	}
	return nil
}

func (r *Reducer) add(c *call, elems []coder.Element) error {
	groups, err := c.byWindow(elems)
	if err != nil {
		return err
	}
	if groups, err = c.dropLate(groups); err != nil || len(groups) == 0 {
		return err
	}
	if r.strategy.Merging {
		if groups, err = c.mergeNew(groups); err != nil {
			return err
		}
	}
	for _, g := range groups {
		if err := c.addToWindow(g, elems); err != nil {
			return err
		}
	}
	return nil
}

// byWindow groups the elements by window, in order of first arrival.
func (c *call) byWindow(elems []coder.Element) ([]group, error) {
	var (
		groups []group
		index  map[string]int // only if there is more than one window
		last   = -1           // neighbours are often in the same window
		i      int
	)
	add := func(w []byte) error {
		if last >= 0 && string(groups[last].window) != string(w) {
			// Elements in several windows often have the same ones, in the
			// same order.
			last = (last + 1) % len(groups)
		}
		if last < 0 || string(groups[last].window) != string(w) {
			at, ok := index[string(w)]
			if !ok {
				at = len(groups)
				groups = append(groups, group{window: w})
				if at == 1 {
					index = map[string]int{string(groups[0].window): 0}
				}
				if at > 0 {
					index[string(w)] = at
				}
			}
			last = at
		}
		groups[last].elements = append(groups[last].elements, i)
		return nil
	}
	for i = range elems {
		if err := c.eachWindow(&elems[i], add); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// errManyWindows: Env lacks what is needed to find the ends of windows.
var errManyWindows = errors.New("element in several custom windows, and no Env.Windows to split them")

// eachWindow calls fn for the windows of an element.
func (c *call) eachWindow(e *coder.Element, fn func(w []byte) error) error {
	if e.NumWindows == 1 {
		return fn(e.Windows)
	}
	rest := e.Windows
	for range e.NumWindows {
		n := 0
		switch c.r.strategy.Kind {
		case window.Interval:
			if n = window.IntervalLen(rest); n == 0 {
				return fmt.Errorf("%w: windows %x of an element", window.ErrBadWindow, e.Windows)
			}
		case window.Custom:
			if c.env.Windows == nil {
				return errManyWindows
			}
			return c.env.Windows(e, fn)
		}
		if err := fn(rest[:n:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// dropLate drops the groups of windows that have expired. That is decided by
// the window that the element came with, not by one that it could be merged
// into: Beam's runners agree on that.
func (c *call) dropLate(groups []group) ([]group, error) {
	kept := groups[:0]
	for _, g := range groups {
		maxTS, err := c.r.strategy.Kind.MaxTimestamp(g.window)
		if err != nil {
			return nil, err
		}
		if c.r.strategy.Late(maxTS, c.env.Watermark) {
			c.dropped(g)
			continue
		}
		kept = append(kept, g)
	}
	return kept, nil
}

func (c *call) dropped(g group) {
	if c.env.Dropped != nil {
		c.env.Dropped(len(g.elements))
	}
}

// addToWindow adds elements to their window and fires it if it is due.
func (c *call) addToWindow(g group, elems []coder.Element) error {
	w, err := c.get(g.window)
	if err != nil {
		return err
	}
	if w.closed {
		c.dropped(g)
		return c.settle(w) // a merge may have made changes
	}
	c.addTimestamps(w, g, elems)
	w.fresh += int64(len(g.elements))
	clock := c.clock(w)
	if !w.trigger.Finished() {
		c.r.machine.Add(w.trigger, clock, int64(len(g.elements)))
	}

	if !c.r.machine.ShouldFire(w.trigger, clock) {
		if err := c.addValues(w, elems, g.elements); err != nil {
			return err
		}
		return c.settle(w)
	}
	c.r.machine.Fire(w.trigger, clock)
	closes := c.r.closes(w)
	arriving := pending{elems: elems, positions: g.elements}
	if !closes && !c.r.discarding {
		if err := c.addValues(w, elems, g.elements); err != nil {
			return err
		}
		arriving = pending{}
	}
	if err := c.fire(w, firing{due: true, last: closes}, arriving); err != nil {
		return err
	}
	return c.settle(w)
}

// addTimestamps combines the timestamps of the elements that are in time to
// the timestamp and the hold of the pane to come. The others ask for a hold at
// the expiry, so that their pane is not dropped downstream. So do those that
// come after the trigger has finished: their pane is that of the expiry, and
// there is no use in holding back what is downstream until then.
func (c *call) addTimestamps(w *record, g group, elems []coder.Element) {
	s, behind := c.r.strategy, c.env.Watermark
	if c.env.OutputWatermark != nil {
		behind = min(behind, *c.env.OutputWatermark)
	}
	waits := c.env.Watermark > w.maxTS || w.trigger.Finished()
	for _, i := range g.elements {
		// A WindowFn may assign a window that ends before the element.
		t := min(s.OutputTimestamp(elems[i].Timestamp, w.maxTS), w.maxTS)
		switch {
		case waits || t < behind:
			w.late = true
		case w.hasElements:
			w.elements = s.Combine(w.elements, t)
		default:
			w.hasElements, w.elements = true, t
		}
	}
}

// Timer handles a timer that has come due.
func (r *Reducer) Timer(env *Env, key []byte, t Due) error {
	if err := r.look(&call{r: r, env: env}, t); err != nil {
		return fmt.Errorf("timer of key %x: %w", key, err)
	}
	return nil
}

// look does what the state of the timer's window and the clocks ask for.
func (r *Reducer) look(c *call, t Due) error {
	w, err := c.get(t.Window)
	if err != nil || w.stored == nil {
		return err // no such window: it has expired or was merged into another
	}
	if t.Domain == EventTime {
		w.set.event = watchNothing
	} else {
		w.set.wake = trigger.NoWakeup
	}
	if env := c.env; r.strategy.Late(w.maxTS, env.Watermark) {
		return c.expire(w)
	}
	clock := c.clock(w)
	if !w.closed && r.machine.ShouldFire(w.trigger, clock) {
		r.machine.Fire(w.trigger, clock)
		if err := c.fire(w, firing{due: true, last: r.closes(w)}, pending{}); err != nil {
			return err
		}
	}
	return c.settle(w)
}

// expire emits what is left of a window and forgets it.
func (c *call) expire(w *record) error {
	if !w.closed {
		due := c.r.machine.ShouldFire(w.trigger, c.clock(w))
		if err := c.fire(w, firing{due: due, last: true}, pending{}); err != nil {
			return err
		}
	}
	return c.remove(w)
}

// get returns the record of a window, a fresh one if there is none yet.
func (c *call) get(win []byte) (*record, error) {
	if w, ok := c.open[string(win)]; ok {
		return w, nil
	}
	w, err := c.fresh(win)
	if err != nil {
		return nil, err
	}
	stored, ok, err := c.env.KV.Get(c.windowKey(tagRecord, win))
	if err != nil || !ok {
		return w, err
	}
	return w, c.r.decode(w, slices.Clone(stored))
}

// fresh returns a record of a window without elements.
func (c *call) fresh(win []byte) (*record, error) {
	maxTS, err := c.r.strategy.Kind.MaxTimestamp(win)
	if err != nil {
		return nil, err
	}
	return &record{
		window:  win,
		maxTS:   maxTS,
		expiry:  c.r.strategy.Expiry(maxTS),
		trigger: c.r.machine.Start(),
		set:     outside{wake: trigger.NoWakeup},
	}, nil
}

// clock returns what time it is for a window.
func (c *call) clock(w *record) trigger.Clock {
	return trigger.Clock{
		Watermark:    c.env.Watermark,
		MaxTimestamp: w.maxTS,
		NowMS:        c.env.NowMS,
		SyncNowMS:    c.env.SyncNowMS,
	}
}
