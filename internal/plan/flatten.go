package plan

import (
	"fmt"
	"maps"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// sinkFlattens takes flattens out of the graph. Inputs that are encoded unlike
// the output are recoded by an SDK first; a flatten of one collection is a
// renaming; any other one remains a merge, that outputs are sent through.
func (g *graph) sinkFlattens() error {
	for _, m := range g.merges {
		if err := g.recodeInputs(m); err != nil {
			return fmt.Errorf("transform %q: %w", m.t.Name, err)
		}
	}
	var left []*merge
	for _, m := range g.merges {
		if m.t.Kind == pipeline.Flatten && len(m.ins) == 1 && g.sameWindowing(m.ins[0], m.out) {
			g.rename[m.out] = m.ins[0]
		} else {
			left = append(left, m)
		}
	}
	g.merges = left
	g.applyRenames()
	return nil
}

func (g *graph) sameWindowing(a, b string) bool {
	return g.collections[a].GetWindowingStrategyId() == g.collections[b].GetWindowingStrategyId()
}

func (g *graph) applyRenames() {
	for _, n := range g.nodes {
		n.in.Collection = g.resolve(n.in.Collection)
		n.sides = slices.Clone(n.sides)
		for i := range n.sides {
			n.sides[i].Collection = g.resolve(n.sides[i].Collection)
		}
	}
	for _, m := range g.merges {
		for i := range m.ins {
			m.ins[i] = g.resolve(m.ins[i])
		}
	}
}

func (g *graph) recodeInputs(m *merge) error {
	for i, in := range m.ins {
		same, err := g.sameEncoding(in, m.out)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		coded := g.newCollection(fmt.Sprintf("%s/recoded%d", m.out, i), m.out, g.collections[m.out].GetCoderId())
		g.collections[coded].IsBounded = g.collections[in].GetIsBounded()
		if err := g.recode(m.t, fmt.Sprintf("/recode%d", i), in, in, coded); err != nil {
			return err
		}
		m.ins[i] = coded
	}
	return nil
}

// sameEncoding reports whether two collections have the same wire coders.
func (g *graph) sameEncoding(a, b string) (bool, error) {
	ca, err := g.wireCoder(a)
	if err != nil {
		return false, err
	}
	cb, err := g.wireCoder(b)
	if err != nil {
		return false, err
	}
	return g.sameCoder(ca, cb) && g.sameCoder(g.strategy(a).CoderID, g.strategy(b).CoderID), nil
}

// recode adds an SDK transform that copies a collection, which recodes it: all
// SDKs run flattens. near is the input of t, if it has one.
func (g *graph) recode(t *pipeline.Transform, suffix, near, in, out string) error {
	env := g.recoder(t, near)
	if env == "" {
		return fmt.Errorf("PCollection %q has to be recoded, and there is no SDK to do it", in)
	}
	g.add(&node{
		id: g.newID(t.ID + suffix), name: t.Name + "/Recode", origin: t.ID, kind: pipeline.SDK, urn: urn.Flatten, env: env,
		in: pipeline.Port{Local: "i0", Collection: in}, outs: []pipeline.Port{{Local: "i0", Collection: out}},
	})
	return nil
}

// recoder chooses an environment that knows the encodings of what a transform
// reads and produces: its own, that of the producer of its input, of a consumer
// of its outputs; or any.
func (g *graph) recoder(t *pipeline.Transform, in string) string {
	if env := t.Proto.GetEnvironmentId(); g.p.Environment(env) != nil {
		return env
	}
	if n := g.producer[in]; n != nil && n.env != "" {
		return n.env
	}
	if env := g.consumer(t); env != "" {
		return env
	}
	for _, env := range slices.Sorted(maps.Keys(g.p.Proto.GetComponents().GetEnvironments())) {
		return env
	}
	return ""
}

// consumer returns the environment of a leaf of the pipeline that reads what t
// produces, through what the runner does.
func (g *graph) consumer(t *pipeline.Transform) string {
	leaves, _ := g.p.Leaves(func(*pipeline.Transform) bool { return true })
	reached := map[string]bool{}
	for _, out := range t.Outputs {
		reached[out.Collection] = true
	}
	for _, t := range leaves { // in topological order
		reads := slices.ContainsFunc(slices.Concat(t.Inputs, t.Sides), func(in pipeline.Port) bool { return reached[in.Collection] })
		switch {
		case !reads:
		case t.Environment != "":
			return t.Environment
		default:
			for _, out := range t.Outputs {
				reached[out.Collection] = true
			}
		}
	}
	return ""
}

// delimited are coders that encode in the same way whether something follows
// or not, so that elements can be taken as a TestStream has them.
var delimited = map[string]bool{
	urn.CoderVarint: true, urn.CoderDouble: true, urn.CoderBool: true, urn.CoderLengthPrefix: true,
	urn.CoderGlobalWindow: true, urn.CoderIntervalWindow: true,
}

// expandTestStream adds a TestStream. SDKs disagree on whether its elements are
// encoded in the outer or the nested context, but each decodes what is in a
// length prefix as it encodes elements here. So the stream is made of
// length-prefixed elements, which an SDK then recodes.
func (g *graph) expandTestStream(t *pipeline.Transform) error {
	n := leafNode(t)
	coderID := t.TestStream.GetCoderId()
	switch spec := g.wire.Coders()[coderID].GetSpec(); {
	case spec.GetUrn() == goCustomCoder:
		coderID = g.wire.LengthPrefix(coderID)
	case !delimited[spec.GetUrn()]:
		coderID = g.wire.LengthPrefix(coderID)
		n.testStream, n.prefixed = prefixElements(t.TestStream, coderID), true
	}
	n.outs = slices.Clone(n.outs)
	for i, out := range n.outs {
		wire, err := g.wireCoder(out.Collection)
		if err != nil {
			return err
		}
		if g.sameCoder(wire, coderID) {
			continue
		}
		raw := g.newCollection(out.Collection+"/events", out.Collection, coderID)
		n.outs[i].Collection = raw
		if err := g.recode(t, "/recode", "", raw, out.Collection); err != nil {
			return err
		}
	}
	g.add(n)
	return nil
}

// goCustomCoder is the URN of coders for types of the Go SDK's own. It never
// uses one without a length prefix, also where a TestStream names the bare one.
const goCustomCoder = "beam:go:coder:custom:v1"

func prefixElements(p *pipepb.TestStreamPayload, coderID string) *pipepb.TestStreamPayload {
	p = proto.Clone(p).(*pipepb.TestStreamPayload)
	p.CoderId = coderID
	for _, event := range p.GetEvents() {
		PrefixElements(event)
	}
	return p
}

// PrefixElements puts the elements of a TestStream event in length prefixes.
func PrefixElements(event *pipepb.TestStreamPayload_Event) {
	for _, e := range event.GetElementEvent().GetElements() {
		e.EncodedElement = protowire.AppendBytes(nil, e.GetEncodedElement())
	}
}
