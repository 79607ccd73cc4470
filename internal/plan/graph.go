package plan

import (
	"fmt"
	"maps"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// node is a transform that is executed, by the runner or an SDK.
type node struct {
	id     string // in process bundle descriptors
	name   string // for people
	origin string // the pipeline's transform that it stands for
	kind   pipeline.Kind
	urn    string
	env    string        // SDK nodes
	in     pipeline.Port // main input; none for Impulse and TestStream
	sides  []pipeline.Port
	outs   []pipeline.Port

	// payload goes into the descriptor. It is decoded in one of the others.
	payload    []byte
	parDo      *pipepb.ParDoPayload
	combine    *pipepb.CombinePayload
	testStream *pipepb.TestStreamPayload
	// prefixed: the elements of testStream are length-prefixed only here.
	prefixed bool
	proto    *pipepb.PTransform // of the pipeline, nil for what was made here
}

// merge is a Flatten or a redistribution: whatever is put into one of the
// inputs goes to those that read the output.
type merge struct {
	t   *pipeline.Transform
	ins []string
	out string
}

// graph is what has to be executed.
type graph struct {
	p           *pipeline.Pipeline
	o           Options
	wire        *coder.Wire
	collections map[string]*pipepb.PCollection // the pipeline's and those made here
	ids         map[string]bool                // of transforms that are taken
	nodes       []*node
	merges      []*merge
	rename      map[string]string  // collections that are another one
	producer    map[string]*node   // by collection
	same        map[[2]string]bool // pairs of coders that were compared
	paged       map[string]bool    // collections whose iterables may be state-backed
}

func newGraph(p *pipeline.Pipeline, o Options) (*graph, error) {
	g := &graph{
		p: p, o: o,
		wire:        coder.NewWire(p.Coders),
		collections: maps.Clone(p.Proto.GetComponents().GetPcollections()),
		ids:         map[string]bool{},
		rename:      map[string]string{},
		producer:    map[string]*node{},
		same:        map[[2]string]bool{},
		paged:       map[string]bool{},
	}
	for id := range p.Proto.GetComponents().GetTransforms() {
		g.ids[id] = true
	}
	leaves, err := p.Leaves(func(t *pipeline.Transform) bool { return !g.liftable(t) })
	if err != nil {
		return nil, err
	}
	for _, t := range leaves {
		if err := g.expand(t); err != nil {
			return nil, fmt.Errorf("transform %q: %w", t.Name, err)
		}
	}
	return g, nil
}

// expand adds what a leaf of the pipeline consists of.
func (g *graph) expand(t *pipeline.Transform) error {
	switch t.Kind {
	case pipeline.Flatten, pipeline.Redistribute:
		m := &merge{t: t, out: t.Outputs[0].Collection}
		for _, in := range t.Inputs {
			m.ins = append(m.ins, in.Collection)
		}
		g.merges = append(g.merges, m)
		return nil
	case pipeline.Combine:
		return g.expandCombine(t)
	case pipeline.GroupByKey:
		return g.group(t, t.ID, t.Name, t.Inputs[0].Collection, t.Outputs[0].Collection)
	case pipeline.TestStream:
		return g.expandTestStream(t)
	}
	if t.URN == urn.ParDo && t.ParDo.GetRestrictionCoderId() != "" {
		return g.expandSDF(t)
	}
	g.add(leafNode(t))
	return nil
}

// leafNode is a transform as it is.
func leafNode(t *pipeline.Transform) *node {
	n := &node{
		id: t.ID, name: t.Name, origin: t.ID, kind: t.Kind, urn: t.URN, env: t.Environment,
		sides: t.Sides, outs: t.Outputs,
		payload: t.Proto.GetSpec().GetPayload(), parDo: t.ParDo, combine: t.Combine, testStream: t.TestStream,
		proto: t.Proto,
	}
	if len(t.Inputs) > 0 {
		n.in = t.Inputs[0]
	}
	return n
}

func (g *graph) add(n *node) {
	g.ids[n.id] = true
	g.nodes = append(g.nodes, n)
	for _, out := range n.outs {
		g.producer[out.Collection] = n
	}
}

// newID returns an id for a transform made here.
func (g *graph) newID(id string) string {
	for g.ids[id] {
		id += "'"
	}
	return id
}

// newCollection adds a collection like another one, with its own coder.
func (g *graph) newCollection(id, like, coderID string) string {
	for g.collections[id] != nil {
		id += "'"
	}
	from := g.collections[like]
	g.collections[id] = &pipepb.PCollection{
		UniqueName: id, CoderId: coderID,
		IsBounded: from.GetIsBounded(), WindowingStrategyId: from.GetWindowingStrategyId(),
	}
	return id
}

// wireCoder returns the wire coder of the elements of a collection.
func (g *graph) wireCoder(collection string) (string, error) {
	id, err := g.wire.Coder(g.collections[collection].GetCoderId())
	if err != nil {
		return "", fmt.Errorf("PCollection %q: %w", collection, err)
	}
	return g.plain(id), nil
}

// paging returns a wire coder of KVs with iterables as they are on the data
// stream where they may be state-backed: SDKs know that coder nowhere else.
func (g *graph) paging(id string) string {
	kv := g.wire.Coders()[id].GetComponentCoderIds()
	values := g.wire.Coders()[kv[1]].GetComponentCoderIds()
	return g.wire.KV(kv[0], g.wire.StateBackedIterable(values[0]))
}

// plain returns a coder of elements that an SDK cannot take for one of windowed
// elements: of a PCollection with a coder of windowed values, which is how some
// runners write down a PCollection's windows, the Java SDK measures the elements
// with the coder of the values.
func (g *graph) plain(id string) string {
	switch g.wire.Coders()[id].GetSpec().GetUrn() {
	case urn.CoderWindowedValue, urn.CoderParamWindowedValue:
		return g.wire.LengthPrefix(id)
	}
	return id
}

func (g *graph) strategy(collection string) *window.Strategy {
	return g.p.Strategies[g.collections[collection].GetWindowingStrategyId()]
}

// resolve follows renamings.
func (g *graph) resolve(collection string) string {
	for {
		to, ok := g.rename[collection]
		if !ok {
			return collection
		}
		collection = to
	}
}

// group adds a GroupByKey. Its output is made of the coders of its input; if
// the pipeline has decided on others, an SDK recodes it.
func (g *graph) group(t *pipeline.Transform, id, name, in, out string) error {
	input, err := g.wireCoder(in)
	if err != nil {
		return err
	}
	parts := g.wire.Coders()[input].GetComponentCoderIds()
	if len(parts) != 2 {
		return fmt.Errorf("the coder of PCollection %q is not of key-value pairs", in)
	}
	grouped := g.wire.KV(parts[0], g.wire.Iterable(parts[1]))
	output, err := g.wireCoder(out)
	if err != nil {
		return err
	}
	to := out
	if !g.sameCoder(grouped, output) {
		to = g.newCollection(out+"/grouped", out, grouped)
		if err := g.recode(t, "/recode", "", to, out); err != nil {
			return err
		}
	}
	g.add(&node{
		id: id, name: name, origin: t.ID, kind: pipeline.GroupByKey, urn: urn.GroupByKey,
		in: pipeline.Port{Local: "i0", Collection: in}, outs: []pipeline.Port{{Local: "i0", Collection: to}},
	})
	return nil
}

// sameCoder reports whether two coders encode in the same way.
func (g *graph) sameCoder(a, b string) bool {
	if a == b {
		return true
	}
	pair := [2]string{a, b}
	same, ok := g.same[pair] // coders that share components would take for ever
	if !ok {
		ca, cb := g.wire.Coders()[a], g.wire.Coders()[b]
		same = ca != nil && cb != nil && proto.Equal(ca.GetSpec(), cb.GetSpec()) &&
			slices.EqualFunc(ca.GetComponentCoderIds(), cb.GetComponentCoderIds(), g.sameCoder)
		g.same[pair] = same
	}
	return same
}

// sort puts the nodes in topological order.
func (g *graph) sort() error {
	at := map[string]int{} // collection -> position of what makes it
	n := len(g.nodes)
	for i, node := range g.nodes {
		for _, out := range node.outs {
			at[out.Collection] = i
		}
	}
	for i, m := range g.merges {
		at[m.out] = n + i
	}
	after := make([][]int, n+len(g.merges))
	wait := func(i int, collection string) {
		if j, ok := at[collection]; ok {
			after[i] = append(after[i], j)
		}
	}
	for i, node := range g.nodes {
		wait(i, node.in.Collection)
		for _, side := range node.sides {
			wait(i, side.Collection)
		}
	}
	for i, m := range g.merges {
		for _, in := range m.ins {
			wait(n+i, in)
		}
	}
	var sorted []*node
	order := pipeline.Order(after)
	for _, i := range order {
		if i < n {
			sorted = append(sorted, g.nodes[i])
		}
	}
	if len(order) < len(after) {
		return fmt.Errorf("broken invariant: the expanded pipeline has a cycle")
	}
	g.nodes = sorted
	return nil
}
