package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// The oracle computes what a node puts out from what its inputs put out, all at
// once: no bundles, no watermarks, no order.

// altered is what an alter node makes of an element.
func (n *node) altered(e elem) []elem {
	var out []elem
	for i := range int(hash(e.value, n.id) % 4) {
		x := e
		x.value = fmt.Sprintf("%s.%d", e.value, i)
		if n.n%2 == 1 {
			x.key = fmt.Sprintf("k%d", hash(x.value)%5)
		}
		out = append(out, x)
	}
	return out
}

// parts is how many elements an expand node makes of one.
func (n *node) parts(value string) int64 { return int64(hash(value, n.id) % 5) }

func part(value string, i int64) string { return fmt.Sprintf("%s/%d", value, i) }

// weight is what a value counts in a combine.
func weight(value string) int64 { return int64(hash(value) % 1000) }

func sum(count, total int64) string { return fmt.Sprintf("c%d:%d", count, total) }

// digestOf stands for some values, in any order.
func digestOf(values []string) string {
	values = slices.Clone(values)
	slices.Sort(values)
	return fmt.Sprintf("g%d:%08x", len(values), hash(values...))
}

// ticks is how often a loop's timer fires.
func (n *node) ticks(key string) int { return 1 + int(hash(key, n.id)%3) }

// sided is what a side node makes of a value.
func sided(value string, others []string) string { return value + "~" + digestOf(others) }

// group is what a key and window have.
type group struct {
	key    string
	win    span
	values []string
	stamps []timestamp.Time
}

// groups puts elements together by key and window; the windows of unmerged
// sessions are merged.
func groups(w *windowing, in []elem) []*group {
	if w.kind == sessions && !w.merged {
		in = mergeSessions(in)
	}
	index := map[string]*group{}
	var all []*group
	for _, e := range in {
		id := e.key + e.win.String()
		g := index[id]
		if g == nil {
			g = &group{key: e.key, win: e.win}
			index[id] = g
			all = append(all, g)
		}
		g.values, g.stamps = append(g.values, e.value), append(g.stamps, e.ts)
	}
	return all
}

// mergeSessions gives the elements of each key the sessions that they are in.
func mergeSessions(in []elem) []elem {
	in = slices.Clone(in)
	slices.SortStableFunc(in, func(a, b elem) int {
		return cmp.Or(strings.Compare(a.key, b.key), cmp.Compare(a.win.start, b.win.start))
	})
	for from := 0; from < len(in); {
		win, to := in[from].win, from+1
		for to < len(in) && in[to].key == in[from].key && in[to].win.start < win.end {
			win.end = max(win.end, in[to].win.end)
			to++
		}
		for ; from < to; from++ {
			in[from].win = win
		}
	}
	return in
}

// compute fills in what the node puts out.
func (n *node) compute() {
	var in []elem
	if len(n.in) > 0 {
		in = n.in[0].out
	}
	switch n.op {
	case create, read, stream, events:
		n.out = n.src
	case alter:
		n.each(in, n.altered)
	case expand:
		n.each(in, func(e elem) []elem {
			var out []elem
			for i := range n.parts(e.value) {
				x := e
				x.value = part(e.value, i)
				out = append(out, x)
			}
			return out
		})
	case assign:
		n.each(in, func(e elem) []elem {
			var out []elem
			for _, win := range n.w.assign(e.ts) {
				x := e
				x.win = win
				out = append(out, x)
			}
			return out
		})
	case flatten:
		for _, i := range n.in {
			n.out = append(n.out, i.out...)
		}
	case side:
		n.each(in, func(e elem) []elem {
			e.value = sided(e.value, n.others(e))
			return []elem{e}
		})
	case digest, explode, combine, count, loop:
		for _, g := range groups(n.in[0].w, in) {
			n.out = append(n.out, n.fromGroup(g)...)
		}
	case expire:
		n.each(in, func(e elem) []elem {
			e.ts = e.win.max()
			return []elem{e}
		})
	default:
		n.out = in
	}
}

// recompute computes all nodes again, when streams and TestStreams have not put
// out all that they have because the job was drained.
func (p *pipe) recompute(put map[*node][]elem) {
	for _, n := range p.nodes {
		n.out = nil
		if n.compute(); n.op == stream || n.op == events {
			n.out = put[n]
		}
	}
}

// each adds what fn makes of each element.
func (n *node) each(in []elem, fn func(elem) []elem) {
	for _, e := range in {
		n.out = append(n.out, fn(e)...)
	}
}

// others are the values of the side input that an element sees.
func (n *node) others(e elem) []string {
	win := n.in[1].w.side(e.win)
	var all []string
	for _, o := range n.in[1].out {
		if o.win == win && (!n.multimap || o.key == e.key) {
			all = append(all, o.value)
		}
	}
	return all
}

func (n *node) fromGroup(g *group) []elem {
	one := func(value string, t timestamp.Time) elem { return elem{g.key, value, t, g.win} }
	stamp := n.in[0].w.stamp(g.win, g.stamps)
	var out []elem
	switch n.op {
	case digest:
		out = append(out, one(digestOf(g.values), stamp))
	case explode:
		for _, v := range g.values {
			out = append(out, one(v, stamp))
		}
	case combine:
		var total int64
		for _, v := range g.values {
			total += weight(v)
		}
		out = append(out, one(sum(int64(len(g.values)), total), stamp))
	case count:
		for i := range g.values {
			out = append(out, one(fmt.Sprintf("n%d", i+1), g.win.max()))
		}
	case loop:
		for i := range n.ticks(g.key) {
			out = append(out, one(fmt.Sprintf("t%d", i+1), g.win.max()))
		}
	}
	return out
}
