// Package watermark propagates event-time watermarks over the graph of stages.
//
// A stage's input watermark is the lower bound of the timestamps it can still
// see: the minimum of the output watermarks of the stages upstream and of the
// work it already has (queued, leased or parked). Its output watermark is the
// minimum of its input watermark and its holds. Both only ever rise.
package watermark

import (
	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// Source is the output of a stage that another stage reads.
type Source struct {
	Stage int
	Port  int // index of the output; matters for stages with watermarks per output
}

// node is one stage.
type node struct {
	upstream []Source
	work     timestamp.Time   // smallest hold of work not yet committed
	hold     timestamp.Time   // smallest explicit hold (state, timers)
	ports    []timestamp.Time // nil: every port has the output watermark
	in, out  timestamp.Time
}

// none is larger than every watermark.
const none = timestamp.Max + 1

// Graph holds the watermarks of all stages of one job. Stages must be numbered
// in topological order.
type Graph struct {
	nodes []node
}

// New returns a graph of n stages without edges, all watermarks at the
// beginning of time.
func New(n int) *Graph {
	g := &Graph{nodes: make([]node, n)}
	for i := range g.nodes {
		g.nodes[i] = node{work: none, hold: none, in: timestamp.Min, out: timestamp.Min}
	}
	return g
}

// Connect adds an edge from an output to the main input of a stage.
func (g *Graph) Connect(s Source, to int) {
	g.nodes[to].upstream = append(g.nodes[to].upstream, s)
}

// SetWork sets the smallest timestamp of the work a stage has and has not
// committed; timestamp.Max+1 when there is none.
func (g *Graph) SetWork(stage int, t timestamp.Time) { g.nodes[stage].work = t }

// SetHold sets the smallest hold on a stage's output; timestamp.Max+1 when
// there is none.
func (g *Graph) SetHold(stage int, t timestamp.Time) { g.nodes[stage].hold = t }

// SetPort gives an output of a source its own watermark, as TestStream needs.
// Watermarks that would fall are ignored.
func (g *Graph) SetPort(stage, ports, port int, t timestamp.Time) {
	n := &g.nodes[stage]
	for len(n.ports) < max(ports, port+1) {
		n.ports = append(n.ports, timestamp.Min)
	}
	n.ports[port] = max(n.ports[port], t)
}

// Restore brings a stage to watermarks that it had before.
func (g *Graph) Restore(stage int, in, out timestamp.Time) {
	n := &g.nodes[stage]
	n.in, n.out = max(n.in, in), max(n.out, out)
}

// Input returns the input watermark of a stage.
func (g *Graph) Input(stage int) timestamp.Time { return g.nodes[stage].in }

// Output returns the watermark of an output of a stage.
func (g *Graph) Output(s Source) timestamp.Time {
	n := &g.nodes[s.Stage]
	if n.ports != nil {
		return n.ports[s.Port]
	}
	return n.out
}

// Upstream returns the smallest output watermark upstream of a stage; without
// upstream, the end of time.
func (g *Graph) Upstream(stage int) timestamp.Time {
	t := timestamp.Max
	for _, s := range g.nodes[stage].upstream {
		t = min(t, g.Output(s))
	}
	return t
}

// Refresh recomputes all watermarks and reports whether one has moved.
func (g *Graph) Refresh() bool {
	moved := false
	for i := range g.nodes {
		n := &g.nodes[i]
		in := max(n.in, min(g.Upstream(i), n.work))
		out := max(n.out, min(in, n.hold))
		if in != n.in || out != n.out {
			n.in, n.out, moved = in, out, true
		}
	}
	return moved
}

// Blame says what keeps the output watermark of a stage where it is.
type Blame struct {
	// Hold: the stage's holds do, at that time.
	Hold bool
	// Work: its own work does.
	Work bool
	// Upstream are the outputs that do, as far as the stage itself is not behind
	// them.
	Upstream []Source
}

// Blame says what keeps the output watermark of a stage where it is; nothing,
// if it is at the end of time.
func (g *Graph) Blame(stage int) (b Blame) {
	n := &g.nodes[stage]
	if n.out >= timestamp.Max {
		return b
	}
	if n.hold < min(n.in, none) {
		return Blame{Hold: true}
	}
	b.Work = n.work <= n.in && n.work < none
	for _, s := range n.upstream {
		if w := g.Output(s); w <= n.in && w < timestamp.Max {
			b.Upstream = append(b.Upstream, s)
		}
	}
	return b
}
