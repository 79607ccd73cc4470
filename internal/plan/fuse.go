package plan

import (
	"fmt"
	"slices"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// cut is a stage in the making.
type cut struct {
	nodes []*node
	input string // collection; empty for Impulse and TestStream
	env   string // empty for what the runner runs
	// alone: it was started by a node that has its input for itself.
	alone bool
	why   []string
	next  []*cut // stages that read what this one produces
}

// fuser groups nodes into stages, greedily and in topological order. A node
// joins the stage that produces its main input, otherwise one that reads the
// same collection, otherwise it starts a new one.
//
// Invariant: the stages form an acyclic graph by main and side inputs. A node
// adds edges to a stage that it joins only by its side inputs, so that these
// are all there is to check.
type fuser struct {
	g       *graph
	cuts    []*cut
	of      map[*node]*cut
	readers map[string][]*cut // by input
	feeds   map[string][]string
}

func fuse(g *graph) *fuser {
	f := &fuser{g: g, of: map[*node]*cut{}, readers: map[string][]*cut{}, feeds: map[string][]string{}}
	for _, n := range g.nodes {
		f.place(n)
	}
	return f
}

func (f *fuser) place(n *node) {
	c, why := f.choose(n)
	if c == nil {
		alone := startsStage(n) != "" || n.kind != pipeline.SDK || f.waits(n) != ""
		c = &cut{input: n.in.Collection, env: n.env, alone: alone, why: why}
		f.cuts = append(f.cuts, c)
		if c.input != "" {
			f.readers[c.input] = append(f.readers[c.input], c)
			f.link(c.input, c)
		}
	}
	c.nodes = append(c.nodes, n)
	f.of[n] = c
	for _, side := range n.sides {
		f.link(side.Collection, c)
	}
}

// choose returns the stage that n joins, or nil and why it starts a new one.
func (f *fuser) choose(n *node) (*cut, []string) {
	if n.kind != pipeline.SDK {
		return nil, nil
	}
	var why []string
	switch own := startsStage(n); {
	case own != "":
		return nil, []string{fmt.Sprintf("%q %s", n.name, own)}
	case f.g.producer[n.in.Collection] == nil:
		why = append(why, f.g.describe(n.in.Collection))
	default:
		c, reason := f.withProducer(n, f.g.producer[n.in.Collection])
		if c != nil {
			return c, nil
		}
		why = append(why, reason)
	}
	if f.g.o.NoFusion {
		return nil, why
	}
	if p := f.g.producer[n.in.Collection]; p != nil && p.kind == pipeline.Impulse {
		return nil, why // branches of a pipeline that only begin together run side by side
	}
	if f.waits(n) != "" {
		return nil, why
	}
	for _, c := range f.readers[n.in.Collection] {
		if c.alone || c.env != n.env {
			continue
		}
		if side := f.blocked(c, n); side != "" {
			why = append(why, fmt.Sprintf("its side input %q depends on %q, which reads the same collection", side, c.nodes[0].name))
			continue
		}
		return c, nil
	}
	return nil, why
}

// withProducer returns the stage of the producer of n's input if n can join it,
// otherwise why it cannot.
func (f *fuser) withProducer(n, producer *node) (*cut, string) {
	c := f.of[producer]
	if producer.kind != pipeline.SDK {
		return nil, fmt.Sprintf("reads the output of %s %q", kindNames[producer.kind], producer.name)
	}
	if producer.env != n.env {
		return nil, fmt.Sprintf("%q, which produces its input, runs in another environment, %q", producer.name, producer.env)
	}
	if side := f.blocked(c, n); side != "" {
		return nil, fmt.Sprintf("its side input %q depends on %q, which produces its main input", side, producer.name)
	}
	switch side := f.waits(n); {
	case f.inseparable(producer):
	case f.g.o.NoFusion:
		return nil, "fusion is off"
	case side != "":
		return nil, fmt.Sprintf("%q waits for its side input %q, which goes on for ever: what else reads this need not", n.name, side)
	}
	return c, ""
}

// waits returns a side input of n that has panes for as long as the pipeline
// runs, if there is one and n's main input goes on as well. A stage waits as a
// whole, so a stage is begun with n: what is beside it in a stream must not be
// late because of a side input that it does not read.
func (f *fuser) waits(n *node) string {
	if len(n.sides) == 0 || !f.unbounded(n.in.Collection) {
		return ""
	}
	for _, side := range n.sides {
		if f.unbounded(side.Collection) {
			return side.Local
		}
	}
	return ""
}

func (f *fuser) unbounded(collection string) bool {
	return f.g.collections[collection].GetIsBounded() == pipepb.IsBounded_UNBOUNDED
}

// inseparable reports whether what a node produces must not leave the SDK. The
// Go SDK expands the result of a CoGroupByKey in a transform of its own, the
// output of which has iterables that it can encode in memory only.
func (f *fuser) inseparable(n *node) bool {
	p := f.g.producer[n.in.Collection]
	if p == nil || p.kind != pipeline.GroupByKey || len(n.outs) != 1 {
		return false
	}
	return f.grouped(n.in.Collection) && f.grouped(n.outs[0].Collection)
}

// grouped reports whether a collection has elements kv<K, iterable<V>>.
func (f *fuser) grouped(collection string) bool {
	coders := f.g.wire.Coders()
	kv := coders[f.g.collections[collection].GetCoderId()]
	if kv.GetSpec().GetUrn() != urn.CoderKV || len(kv.GetComponentCoderIds()) != 2 {
		return false
	}
	return coders[kv.GetComponentCoderIds()[1]].GetSpec().GetUrn() == urn.CoderIterable
}

// startsStage returns why n must be the first of a stage, if so.
func startsStage(n *node) string {
	switch {
	case n.urn == urn.SDFProcessSizedElements:
		return "processes restrictions, which are split and come back as input"
	case n.parDo == nil || n.urn != urn.ParDo:
		return ""
	case pipeline.Stateful(n.parDo):
		return "has state or timers, so its input is sharded by key"
	case n.parDo.GetRequiresTimeSortedInput():
		return "wants its input sorted by time"
	case n.parDo.GetRequiresStableInput():
		return "wants the same input again when it is retried"
	}
	return ""
}

// blocked returns a side input of n that depends on c, if there is one: fused
// into c, n would wait for itself.
func (f *fuser) blocked(c *cut, n *node) string {
	if len(n.sides) == 0 {
		return ""
	}
	after := reachable(c)
	for _, side := range n.sides {
		for _, from := range f.sources(side.Collection) {
			if after[from] {
				return side.Local
			}
		}
	}
	return ""
}

// reachable returns c and the stages that depend on it.
func reachable(c *cut) map[*cut]bool {
	seen := map[*cut]bool{c: true}
	for todo := []*cut{c}; len(todo) > 0; {
		c, todo = todo[len(todo)-1], todo[:len(todo)-1]
		for _, next := range c.next {
			if !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
	}
	return seen
}

// link records that c reads a collection.
func (f *fuser) link(collection string, c *cut) {
	for _, from := range f.sources(collection) {
		if from != c && !slices.Contains(from.next, c) {
			from.next = append(from.next, c)
		}
	}
}

// sources returns the stages whose output a collection is made of.
func (f *fuser) sources(collection string) []*cut {
	var cuts []*cut
	for _, id := range f.parts(collection) {
		if c := f.of[f.g.producer[id]]; c != nil {
			cuts = append(cuts, c)
		}
	}
	return cuts
}

// parts returns the collections that nodes produce and that a collection is
// made of, through merges; one that goes in twice is there twice.
func (f *fuser) parts(collection string) []string {
	if ids, ok := f.feeds[collection]; ok {
		return ids
	}
	ids := []string{}
	if f.g.producer[collection] != nil {
		ids = append(ids, collection)
	} else if m := f.g.merged(collection); m != nil {
		for _, in := range m.ins {
			ids = append(ids, f.parts(in)...)
		}
	}
	f.feeds[collection] = ids
	return ids
}

// merged returns the merge with the given output.
func (g *graph) merged(collection string) *merge {
	for _, m := range g.merges {
		if m.out == collection {
			return m
		}
	}
	return nil
}

// describe says what kind of collection one without a producer is.
func (g *graph) describe(collection string) string {
	switch m := g.merged(collection); {
	case m == nil:
		return fmt.Sprintf("reads PCollection %q, which nothing produces", collection)
	case m.t.Kind == pipeline.Redistribute:
		return fmt.Sprintf("%q asks for its input to be redistributed", m.t.Name)
	default:
		return fmt.Sprintf("reads the flattened output %q of %d collections", m.t.Name, len(m.ins))
	}
}

var kindNames = map[pipeline.Kind]string{
	pipeline.Impulse: "Impulse", pipeline.GroupByKey: "GroupByKey", pipeline.TestStream: "TestStream",
}
