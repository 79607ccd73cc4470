package reduce

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/pharos-beam/pharos/internal/model/trigger"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// ErrBadMerge is the error for a merge that no WindowFn may do.
var ErrBadMerge = errors.New("bad merge of windows")

// mergeNew merges windows that are new for the key with those that it has, and
// returns the groups by the windows that their elements belong to then.
//
// Closed windows do not merge, but an element that comes for one may be saved
// by a merge with a window that is open.
func (c *call) mergeNew(groups []group) ([]group, error) {
	windows, err := c.readWindows()
	if err != nil {
		return nil, err
	}
	had := len(windows)
	for _, g := range groups {
		if w := c.open[string(g.window)]; w == nil || w.closed {
			windows = append(windows, g.window)
		}
	}
	// The windows that the key had have been merged as far as they can be.
	if len(windows) == had || len(windows) < 2 {
		return groups, nil
	}
	slices.SortFunc(windows, bytes.Compare)
	merged, err := c.merge(windows)
	if err != nil {
		return nil, err
	}
	into, err := checkMerge(windows, merged)
	if err != nil {
		return nil, err
	}
	for _, m := range merged {
		if err := c.apply(m); err != nil {
			return nil, fmt.Errorf("merge into window %x: %w", m.Result, err)
		}
	}
	return regroup(groups, into), nil
}

// readWindows reads all windows of the key into c.open and returns those that
// are not closed.
func (c *call) readWindows() ([][]byte, error) {
	c.open = make(map[string]*record)
	lo := append(slices.Clone(c.env.Prefix), tagRecord)
	hi := append(slices.Clone(c.env.Prefix), tagRecord+1)
	var (
		windows [][]byte
		failed  error
	)
	err := c.env.KV.Scan(lo, hi, func(key, value []byte) bool {
		d := decoder{b: key[len(lo):]}
		if size := d.uvarint(); d.bad || size != uint64(len(d.b)) {
			failed = fmt.Errorf("%w: key %x", ErrCorrupt, key)
			return false
		}
		var w *record
		if w, failed = c.fresh(slices.Clone(d.b)); failed != nil {
			return false
		}
		if failed = c.r.decode(w, slices.Clone(value)); failed != nil {
			return false
		}
		c.open[string(w.window)] = w
		if !w.closed {
			windows = append(windows, w.window)
		}
		return true
	})
	if failed != nil {
		return nil, failed
	}
	return windows, err
}

// merge asks the WindowFn.
func (c *call) merge(windows [][]byte) ([]MergedWindow, error) {
	if !c.r.strategy.CustomMerge {
		return window.MergeIntervals(windows)
	}
	if c.env.Merge == nil {
		return nil, fmt.Errorf("%w: nobody to ask about WindowFn %s", ErrBadMerge, c.r.strategy.FnURN)
	}
	merged, err := c.env.Merge(windows)
	if err != nil {
		return nil, fmt.Errorf("merge windows by WindowFn %s: %w", c.r.strategy.FnURN, err)
	}
	return merged, nil
}

// checkMerge checks what an SDK has answered and returns where each window
// that is not there any more has gone. A result that is one of the windows
// takes part in its own merge, whether the SDK says so or not.
func checkMerge(windows [][]byte, merged []MergedWindow) (into map[string][]byte, err error) {
	known := make(map[string]bool, len(windows))
	for _, w := range windows {
		known[string(w)] = true
	}
	into = make(map[string][]byte)
	for _, m := range merged {
		for _, from := range m.From {
			if !known[string(from)] {
				return nil, fmt.Errorf("%w: %x is not one of the windows", ErrBadMerge, from)
			}
			if old, ok := into[string(from)]; ok && !bytes.Equal(old, m.Result) {
				return nil, fmt.Errorf("%w: %x goes to both %x and %x", ErrBadMerge, from, old, m.Result)
			}
			into[string(from)] = m.Result
		}
	}
	results := make(map[string]bool, len(merged))
	for _, m := range merged {
		if results[string(m.Result)] {
			return nil, fmt.Errorf("%w: %x is the result twice", ErrBadMerge, m.Result)
		}
		results[string(m.Result)] = true
		if to, ok := into[string(m.Result)]; ok && !bytes.Equal(to, m.Result) {
			return nil, fmt.Errorf("%w: result %x is merged into %x", ErrBadMerge, m.Result, to)
		}
	}
	return into, nil
}

// regroup brings the elements to the windows that theirs were merged into, and
// back into their order of arrival.
func regroup(groups []group, into map[string][]byte) []group {
	out := groups[:0:0]
	at := make(map[string]int, len(groups))
	for _, g := range groups {
		if to, ok := into[string(g.window)]; ok {
			g.window = to
		}
		i, ok := at[string(g.window)]
		if !ok {
			at[string(g.window)] = len(out)
			out = append(out, g)
			continue
		}
		out[i].elements = append(out[i].elements, g.elements...)
		slices.Sort(out[i].elements)
	}
	return out
}

// apply puts the state of the windows of one merge together. Windows that
// are new have none; if all are, or if there is but one that keeps its name,
// there is nothing to do.
func (c *call) apply(m MergedWindow) error {
	to := c.open[string(m.Result)]
	var from []*record // has to as well, if it has state
	if to != nil && !to.closed {
		from = append(from, to)
	}
	names := slices.Clone(m.From)
	slices.SortFunc(names, bytes.Compare)
	for _, name := range slices.CompactFunc(names, bytes.Equal) {
		if w := c.open[string(name)]; w != nil && w != to && !w.closed {
			from = append(from, w)
		}
	}
	if to == nil || to.closed {
		fresh, err := c.fresh(m.Result)
		if err != nil {
			return err
		}
		if to != nil {
			// A closed window of that name: there is data for it again, so
			// it starts anew. Its timer remains.
			fresh.stored, fresh.set = to.stored, to.set
		}
		to = fresh
		c.open[string(m.Result)] = to
	}
	if len(from) == 0 || len(from) == 1 && from[0] == to {
		return nil
	}
	c.mergeTriggers(to, from)
	for _, w := range from {
		if w == to {
			continue
		}
		if err := c.absorb(to, w); err != nil {
			return err
		}
	}
	return c.settle(to)
}

// mergeTriggers gives the window to the merged trigger state of from.
func (c *call) mergeTriggers(to *record, from []*record) {
	states := make([]*trigger.State, len(from))
	var fresh int64
	for i, w := range from {
		states[i] = w.trigger
		fresh += w.fresh
	}
	clock := c.clock(to)
	c.r.machine.Merge(to.trigger, clock, states)
	if to.trigger.Finished() {
		// None of the windows was closed, so there may be values that nobody
		// has seen. Better to begin again than to lose them.
		to.trigger = c.r.machine.Start()
		if fresh > 0 {
			c.r.machine.Add(to.trigger, clock, fresh)
		}
	}
}

// absorb moves what w has to the window that it was merged into, and forgets
// w. The panes of w do not count for the new window.
func (c *call) absorb(to, w *record) error {
	if err := c.moveValues(w, to); err != nil {
		return err
	}
	to.fresh += w.fresh
	to.late = to.late || w.late
	if w.hasElements {
		t := min(c.r.strategy.OutputTimestamp(w.elements, to.maxTS), to.maxTS)
		if to.hasElements {
			t = c.r.strategy.Combine(to.elements, t)
		}
		to.hasElements, to.elements = true, t
	}
	delete(c.open, string(w.window))
	return c.remove(w)
}
