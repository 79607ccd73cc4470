package sim

import (
	"fmt"
	"slices"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// checks is what has been seen of committed attempts.
type checks struct {
	notes   map[*node][]elem
	panes   map[string]*pane // the last of each stage, key and window
	dropped map[*node]int64  // elements that came too late, by node
	// seen are all panes, and all that check nodes have seen, as texts that do
	// not depend on how bundles were made: what metamorphic runs compare.
	seen map[string]int
}

// pane is the last pane of a window, and what came before.
type pane struct {
	info   coder.Pane
	values []string // of the last
	all    map[string]int
}

// checkMarks: watermarks never fall, and output is not beyond input.
func (w *world) checkMarks() {
	for i, s := range w.plan.Stages {
		st := w.core.Status(i)
		if st.Output < w.marks[i] {
			w.fail("the output watermark of %s fell from %d to %d", s.Name, int64(w.marks[i]), int64(st.Output))
		}
		if st.Output > st.Input && s.Kind != plan.TestStream {
			w.fail("%s: output watermark %d beyond input %d", s.Name, int64(st.Output), int64(st.Input))
		}
		w.marks[i] = st.Output
	}
}

// durable looks at an attempt whose record has been applied.
func (w *world) durable(t *task) {
	c := &w.checks
	if c.notes == nil {
		c.notes, c.panes, c.dropped = map[*node][]elem{}, map[string]*pane{}, map[*node]int64{}
		c.seen = map[string]int{}
	}
	for _, n := range t.notes {
		c.notes[n.node] = append(c.notes[n.node], n.e)
		if n.node.op == check {
			c.seen[fmt.Sprintf("%s: %s=%s %v @%d %s", n.node.id, n.e.key, n.e.value, n.e.win, int64(n.e.ts), n.pane)]++
		}
	}
	s := w.plan.Stages[t.ev.Stage]
	for _, o := range t.record.Outputs {
		if mark := w.marks[s.Index]; o.Block.Min < mark && !w.pipe.late && s.Kind != plan.Group {
			w.fail("bundle %d of %s put out timestamp %d behind its output watermark %d", t.ev.Bundle, s.Name, int64(o.Block.Min), int64(mark))
		}
	}
	if n := w.stageNode(s); n != nil {
		c.dropped[n] += t.a.Dropped()
	}
	if s.Kind == plan.Group {
		w.checkPanes(t, s)
	}
}

// stageNode is the node whose elements a keyed stage may drop.
func (w *world) stageNode(s *plan.Stage) *node {
	switch {
	case s.Kind == plan.Group:
		return w.pipe.nodeOf(w.plan, s.Group.Transform)
	case s.Keyed:
		return w.pipe.nodeOf(w.plan, s.Steps[0])
	}
	return nil
}

// checkPanes looks at what a Group stage put out.
func (w *world) checkPanes(t *task, s *plan.Stage) {
	if len(s.Outputs) == 0 {
		return
	}
	for _, o := range t.record.Outputs {
		if o.Port != 0 || o.Consumer != 0 {
			continue
		}
		data, err := w.exec.Block(o.Block.ID)
		if err != nil {
			w.fail("read the output of %s: %v", s.Name, err)
			return
		}
		if err := w.eachPane(t, s, data); err != nil {
			w.fail("the output of %s is malformed: %v", s.Name, err)
		}
	}
}

func (w *world) eachPane(t *task, s *plan.Stage, data []byte) error {
	out := s.Outputs[0].Collection
	elemCoder, err := coder.Parse(w.plan.Coders, out.Coder)
	if err != nil {
		return err
	}
	winCoder, err := coder.Parse(w.plan.Coders, out.WindowCoder)
	if err != nil {
		return err
	}
	scanner := coder.NewScanner(elemCoder, winCoder)
	for len(data) > 0 {
		var e coder.Element
		n, err := scanner.Scan(data, &e)
		if err != nil {
			return err
		}
		data = data[n:]
		win, err := decodeSpan(e.Windows)
		if err != nil {
			return err
		}
		info, _, err := coder.DecodePane(e.Pane)
		if err != nil {
			return err
		}
		key, values, err := grouped(e.Value)
		if err != nil {
			return err
		}
		w.onePane(t, s, elem{key: key, ts: e.Timestamp, win: win}, info, values)
	}
	return nil
}

// onePane compares a pane with those before it.
func (w *world) onePane(t *task, s *plan.Stage, e elem, info coder.Pane, values []string) {
	n := w.stageNode(s)
	if n.op != combine { // accumulators or values
		slices.Sort(values)
		w.checks.seen[fmt.Sprintf("%s: %s=%v %v @%d %+v", n.id, e.key, values, e.win, int64(e.ts), info)]++
	}
	strategy := n.in[0].w
	unmerged := strategy.kind == sessions && !strategy.merged
	id := fmt.Sprintf("%s|%s|%v", n.id, e.key, e.win)
	last := w.checks.panes[id]
	fail := func(format string, args ...any) {
		w.fail("%s, key %s, window %v, pane %+v %v: %s", n.id, e.key, e.win, info, values, fmt.Sprintf(format, args...))
	}
	if last != nil && unmerged && info.First {
		last = nil // a session can end and begin anew under the same name
	}
	switch {
	case e.ts > e.win.max():
		fail("timestamp %d after its window", int64(e.ts))
	case info.Timing == coder.Early && t.ev.Watermark > e.win.max():
		fail("early at watermark %d", int64(t.ev.Watermark))
	case info.Timing != coder.Early && t.ev.Watermark <= e.win.max() && s.Group.Strategy == plan.Reduce: // else it has all its input
		fail("before its time, at watermark %d", int64(t.ev.Watermark))
	case e.ts < w.marks[s.Index] && info.Timing != coder.Late && len(values) > 0 && !w.pipe.late:
		// An empty pane has no hold: it may be overtaken by the commit of another
		// shard, after its bundle has begun.
		fail("timestamp %d behind the output watermark %d", int64(e.ts), int64(w.marks[s.Index]))
	case last == nil && (!info.First || info.Index != 0) && !unmerged:
		fail("the first one")
	case last != nil && (info.First || info.Index != last.info.Index+1 || last.info.Last):
		fail("after %+v", last.info)
	case last != nil && (info.Timing < last.info.Timing || info.Timing == coder.OnTime && last.info.Timing == coder.OnTime):
		fail("after %+v", last.info)
	}
	p := &pane{info: info, values: values, all: map[string]int{}}
	if last != nil {
		p.all = last.all
		if strategy.accumulating && !unmerged && !subset(last.values, values) {
			fail("does not repeat %v", last.values)
		}
	}
	if strategy.accumulating {
		p.all = map[string]int{}
	}
	for _, v := range values {
		p.all[v]++
	}
	w.checks.panes[id] = p
}

// subset says whether b has all that a has, as often.
func subset(a, b []string) bool {
	counts := map[string]int{}
	for _, v := range b {
		counts[v]++
	}
	for _, v := range a {
		if counts[v]--; counts[v] < 0 {
			return false
		}
	}
	return true
}

// checkEnd compares the whole job with the oracle.
func (w *world) checkEnd() {
	if w.end.Err != "" || w.end.Cancelled {
		w.fail("the job failed: %s", w.end.Err)
		return
	}
	if w.wanted != w.finalized {
		w.fail("%d bundles asked for finalization, %d got it", w.wanted, w.finalized)
	}
	if w.drained {
		w.pipe.recompute(w.checks.notes)
	}
	for _, n := range w.pipe.nodes {
		switch n.op {
		case check:
			w.compare(n.in[0], w.checks.notes[n])
		case create, read, stream, events:
			w.compare(n, w.checks.notes[n])
		}
	}
	if n := w.spool.Stats().Blocks; n != 0 {
		w.fail("%d blocks are left", n)
	}
	w.checkStore()
}

// render makes an element comparable: as far as it is determined.
func (n *node) render(e elem) string {
	text := e.key + "=" + e.value
	if n.spans {
		text += " " + e.win.String()
	}
	if n.times {
		text += fmt.Sprintf(" @%d", int64(e.ts))
	}
	return text
}

// compare checks what reached a check node.
func (w *world) compare(n *node, got []elem) {
	if n.op == combine && n.end {
		w.compareSums(n, got)
		return
	}
	diff := map[string]int{}
	for _, e := range n.out {
		diff[n.render(e)]++
	}
	for _, e := range got {
		diff[n.render(e)]--
	}
	var missing, extra []string
	lost := 0
	for text, d := range diff {
		for ; d > 0; d-- {
			missing = append(missing, text)
			lost++
		}
		for ; d < 0; d++ {
			extra = append(extra, text)
		}
	}
	slices.Sort(missing)
	slices.Sort(extra)
	if n.lossy && len(extra) == 0 && int64(lost) == w.checks.dropped[n] {
		return
	}
	if len(missing)+len(extra) > 0 {
		w.fail("%s: missing %q, too many %q; %d dropped as late", n.id, missing, extra, w.checks.dropped[n])
	}
}

// compareSums checks a combine of several panes: they add up.
func (w *world) compareSums(n *node, got []elem) {
	counts := map[string][2]int64{}
	add := func(e elem, sign int64) {
		var c, t int64
		if _, err := fmt.Sscanf(e.value, "c%d:%d", &c, &t); err != nil {
			w.fail("%s: %q is no sum", n.id, e.value)
		}
		id := e.key + " " + e.win.String()
		x := counts[id]
		counts[id] = [2]int64{x[0] + sign*c, x[1] + sign*t}
	}
	for _, e := range n.out {
		add(e, 1)
	}
	for _, e := range got {
		add(e, -1)
	}
	for id, x := range counts {
		if x[0] < 0 || x[1] < 0 || !n.lossy && x != [2]int64{} {
			w.fail("%s: %s: the panes are %d elements and %d in weight short", n.id, id, x[0], x[1])
		}
	}
}

// checkStore: what has expired or fired is gone.
func (w *world) checkStore() {
	r := w.store.Snapshot()
	defer r.Close()
	for _, s := range w.plan.Stages {
		for _, t := range []keyspace.Table{keyspace.TimerTable, keyspace.EventIndex, keyspace.ProcessingIndex, keyspace.TimerHoldIndex,
			keyspace.ReduceTable, keyspace.HoldTable, keyspace.HoldIndex, keyspace.StateTable, keyspace.SideInputTable} {
			if t == keyspace.StateTable && !(s.Streaming && w.stageNode(s).in[0].w.kind != global) {
				continue // it goes with the job
			}
			lo := keyspace.Stage(w.job, t, s.Index)
			err := r.Scan(lo, keyspace.PrefixEnd(lo), func(key, _ []byte) bool {
				w.fail("%s leaves a row in table %d: %q", s.Name, t, key[len(lo):])
				return false
			})
			if err != nil {
				w.fail("scan: %v", err)
			}
		}
	}
}
