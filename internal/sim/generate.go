package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/trigger/triggertest"
)

// Sizes of random pipelines.
const (
	maxSources  = 3
	maxOps      = 8
	maxElements = 30  // of a source
	maxOut      = 300 // of any node
	firstTime   = timestamp.Time(1000)
	timeRange   = 400 // ms of event time that sources are spread over
)

// generator makes up a pipeline.
type generator struct {
	*pipe
	rng *rand.Rand
	// settled: which panes come out depends on the pipeline and its input only,
	// not on the order in which bundles run.
	settled bool
}

// generate makes up a pipeline from random numbers.
func generate(rng *rand.Rand, settled bool) *pipe {
	g := &generator{pipe: &pipe{byID: map[string]*node{}}, rng: rng, settled: settled}
	whole := g.windowing(windowing{kind: global, trigger: "default", output: pipepb.OutputTime_END_OF_WINDOW})
	for range 1 + rng.IntN(maxSources) {
		g.source(whole)
	}
	for _, n := range slices.Clone(g.nodes) {
		if !n.bounded && rng.IntN(3) > 0 {
			g.window(n)
		}
	}
	for range 2 + rng.IntN(maxOps-1) {
		if in := g.pick(func(*node) bool { return true }); in != nil {
			g.step(in, steps)
		}
	}
	for _, n := range slices.Clone(g.nodes) {
		if !g.isRead(n) || n.op == combine || rng.IntN(3) == 0 {
			g.add(&node{op: check, in: []*node{n}, env: g.env(), w: n.w, bounded: n.bounded})
		}
	}
	return g.pipe
}

// isRead reports whether some node reads the output of n.
func (g *generator) isRead(n *node) bool {
	return slices.ContainsFunc(g.nodes, func(m *node) bool { return slices.Contains(m.in, n) })
}

func (g *generator) env() string { return []string{"a", "a", "b"}[g.rng.IntN(3)] }

func (g *generator) time() timestamp.Time {
	return firstTime + timestamp.Time(g.rng.IntN(timeRange))
}

// unfired is the pane of what has come through no trigger.
const unfired = "no firing"

// source adds a source.
func (g *generator) source(w *windowing) {
	ops := []op{create, read, read, stream, stream, events}
	if g.settled {
		ops = []op{create, read, events}
	}
	n := &node{op: ops[g.rng.IntN(len(ops))], env: g.env(), w: w, n: 1 + g.rng.IntN(maxElements), times: true, spans: true, pane: unfired}
	n.bounded = n.op == create || n.op == read
	n.late = !n.bounded && g.rng.IntN(2) == 0
	g.late = g.late || n.late
	keys := 1 + g.rng.IntN(5)
	for i := range n.n {
		n.src = append(n.src, elem{key: fmt.Sprintf("k%d", g.rng.IntN(keys)), value: fmt.Sprintf("s%d-%d", len(g.nodes), i), ts: g.time()})
	}
	switch n.op {
	case stream:
		n.rests = g.rng.IntN(4)
		n.finalize = g.rng.IntN(2) == 0
		// A little out of order.
		slices.SortStableFunc(n.src, func(a, b elem) int { return int(a.ts/50 - b.ts/50) })
	case events:
		g.virtual = true
		g.script(n)
	}
	g.add(n).compute()
}

// script makes the events of a TestStream. If it is not late, the watermark
// stays behind all that is still to come.
func (g *generator) script(n *node) {
	slices.SortStableFunc(n.src, func(a, b elem) int { return int(a.ts/50 - b.ts/50) })
	for rest := n.src; len(rest) > 0; {
		k := g.run(rest)
		n.script = append(n.script, event{elems: rest[:k]})
		rest = rest[k:]
		switch g.rng.IntN(4) {
		case 0:
			n.script = append(n.script, event{clock: 1 + g.rng.Int64N(500)})
		case 1, 2:
			w := firstTime + timeRange
			for _, e := range rest {
				w = min(w, e.ts)
			}
			if n.late {
				w = w.Add(g.rng.Int64N(200))
			}
			n.script = append(n.script, event{watermark: w})
		}
	}
	if g.settled {
		// After the last event the watermark is at the end. If that had elements,
		// it would get there in as many steps as there are bundles.
		n.script = append(n.script, event{watermark: firstTime + timeRange})
	}
}

// run is how many elements go into one event. Where panes must be settled, no
// two have the same key: their order would matter.
func (g *generator) run(rest []elem) int {
	n := 1 + g.rng.IntN(min(len(rest), 5))
	seen := map[string]bool{}
	for i, e := range rest[:n] {
		if g.settled && seen[e.key] {
			return i
		}
		seen[e.key] = true
	}
	return n
}

// steps are what may follow anything, some more often; closing what is done
// with windows.
var (
	steps   = append([]op{alter, expand, assign, assign, assign, flatten, flatten, reshuffle, side, side}, closing...)
	closing = []op{digest, explode, explode, combine, combine, count, buffer, buffer, loop, inOrder, expire}
)

// window puts the elements of a source into windows, and does something with
// those: where the watermark moves that is what there is to be got wrong.
func (g *generator) window(n *node) {
	if w := g.step(n, []op{assign}); w != nil {
		g.step(w, closing)
	}
}

// step adds one node, if what it picks can be.
func (g *generator) step(in *node, ops []op) *node {
	n := &node{
		op: ops[g.rng.IntN(len(ops))], in: []*node{in}, env: g.env(), w: in.w, n: g.rng.IntN(10),
		bounded: in.bounded, late: in.late, times: in.times, spans: true, pane: in.pane,
	}
	if !g.shape(n, in) || g.settled && !in.bounded && !settles(n) {
		return nil
	}
	n.id = fmt.Sprintf("%s%d", n.op, len(g.nodes)) // the oracle goes by it
	if n.compute(); len(n.out) > maxOut {
		return nil
	}
	return g.add(n)
}

// settles says whether a node after an unbounded input keeps panes settled: one
// that puts out several elements of a key and window at a time has only a check
// after it. Windows assigned to an element in several windows are such: it is
// as many elements.
func settles(n *node) bool {
	switch n.op {
	case alter, expand, flatten:
		return false
	case reshuffle:
		return true
	case assign:
		n.end = n.in[0].w.kind == sliding
		return true
	}
	n.end = true
	return true
}

// pick chooses a collection that something may follow, later ones more often.
func (g *generator) pick(ok func(*node) bool) *node {
	var all []*node
	for i, n := range g.nodes {
		if n.op != check && !n.end && !n.lossy && ok(n) {
			all = append(all, n)
			if i >= len(g.nodes)-2 {
				all = append(all, n, n)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[g.rng.IntN(len(all))]
}

// shape fills in a node, and says whether it makes sense after in.
func (g *generator) shape(n, in *node) bool {
	w := in.w
	unmerged := w.kind == sessions && !w.merged
	drops := in.late && w.lateness < forever
	switch n.op {
	case assign:
		n.w = g.anyWindowing(in.bounded, in.late)
		n.times = in.times
		return in.times || n.w.kind == global
	case flatten:
		for range 1 + g.rng.IntN(2) {
			other := g.pick(func(o *node) bool { return o.w == w })
			n.in = append(n.in, other)
			n.bounded, n.late, n.times = n.bounded && other.bounded, n.late || other.late, n.times && other.times
			if other.pane != n.pane {
				n.pane = ""
			}
		}
	case digest:
		g.grouped(n, w)
		n.times = in.times || w.output == pipepb.OutputTime_END_OF_WINDOW
		return !in.late && w.once() && !w.accumulating
	case explode:
		g.grouped(n, w)
		n.lossy = drops || w.closes()
		n.spans = !unmerged || w.once() && !in.late
		n.end = !n.spans
		n.times = n.spans && w.output == pipepb.OutputTime_END_OF_WINDOW || w.once() && !in.late && in.times
		return !w.accumulating
	case combine:
		g.grouped(n, w)
		n.times = in.times || w.output == pipepb.OutputTime_END_OF_WINDOW
		if in.late || !w.once() {
			n.end, n.times, n.lossy = true, false, drops || w.closes()
			return !unmerged && !w.accumulating
		}
		return !w.accumulating
	case count:
		n.times = true
		// An element keeps its pane and gets a number, which of several is chance.
		return !unmerged && !drops && !(g.settled && in.pane == "")
	case loop:
		n.times, n.pane = true, ""
		return !unmerged && !drops
	case buffer:
		n.lossy, n.pane = drops, ""
		return !unmerged
	case inOrder: // what is late could not be fed in order
		n.lossy = in.late
		return !unmerged
	case expire:
		n.lossy, n.times, n.pane = drops, true, ""
		return !unmerged
	case side:
		other := g.pick(func(o *node) bool { return !o.late && o.w.once() && o.w.kind != sessions })
		if other == nil {
			return false
		}
		n.in, n.multimap = append(n.in, other), g.rng.IntN(2) == 0
	}
	return true
}

// grouped gives a node that groups the windowing and the pane after it.
func (g *generator) grouped(n *node, w *windowing) {
	n.pane = ""
	if w.once() && !n.late {
		n.pane = w.String()
	}
	if w.kind == sessions && !w.merged {
		merged := *w
		merged.merged = true
		n.w = g.windowing(merged)
	}
}

// anyWindowing makes up a windowing strategy, or takes one that is there.
func (g *generator) anyWindowing(bounded, late bool) *windowing {
	// A bounded input does not wait for the clock, so it is chance who is first.
	timeless := g.settled && bounded
	// An element behind the output watermark does not hold it, and does not count
	// in its pane's timestamp. How far the watermark is, other keys decide.
	unstamped := g.settled && late
	if g.rng.IntN(3) == 0 {
		if w := g.strats[g.rng.IntN(len(g.strats))]; !w.merged && !(timeless && w.timed()) && !(unstamped && w.output != pipepb.OutputTime_END_OF_WINDOW) {
			return w
		}
	}
	pick := func(n int) int { return g.rng.IntN(n) }
	w := windowing{
		kind:     []windowKind{global, fixed, fixed, sliding, sessions}[pick(5)],
		trigger:  onTimeTriggers[pick(len(onTimeTriggers))],
		lateness: []int64{0, 0, 20, 100, forever, forever}[pick(6)],
		closing:  pick(2) == 0, onTime: pick(2) == 0,
		output: []pipepb.OutputTime_Enum{
			pipepb.OutputTime_END_OF_WINDOW, pipepb.OutputTime_END_OF_WINDOW, pipepb.OutputTime_EARLIEST_IN_PANE, pipepb.OutputTime_LATEST_IN_PANE,
		}[pick(4)],
	}
	switch pick(6) {
	case 0, 1:
		w.trigger = endlessTriggers[pick(len(endlessTriggers))]
		w.accumulating = pick(3) == 0
	case 2:
		w.trigger = triggertest.Random(pick, 2)
		w.accumulating = pick(3) == 0
	}
	if timeless && w.timed() {
		w.trigger = "eow(count(2),count(1))"
	}
	if unstamped {
		w.output = pipepb.OutputTime_END_OF_WINDOW
	}
	switch w.kind {
	case fixed, sessions:
		w.size = int64(10 + pick(150))
	case sliding:
		w.period = int64(20 + pick(60))
		w.size = w.period * int64(1+pick(3))
	}
	return g.windowing(w)
}
