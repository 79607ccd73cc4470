package plan

import (
	"fmt"
	"maps"
	"slices"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// describeBundle makes the ProcessBundleDescriptor of an SDK stage.
//
// Inputs and side inputs have wire coders, so that keys and windows look the
// same in state requests as on the data plane. Collections that stay inside,
// and outputs, keep the coders that the SDK chose: only the sinks encode.
func (a *assembler) describeBundle(s *Stage, c *cut) error {
	if s.Kind != SDK {
		return nil
	}
	b := newDescriptor(a, fmt.Sprintf("stage-%d", s.Index))
	for _, n := range c.nodes {
		t, err := b.transform(s, n)
		if err != nil {
			return fmt.Errorf("transform %q: %w", n.name, err)
		}
		b.d.Transforms[n.id] = t
		s.Steps = append(s.Steps, n.id)
	}
	b.collections(s, c)
	if err := b.ports(s); err != nil {
		return err
	}
	s.Descriptor = b.finish(s)
	return nil
}

type descriptor struct {
	a *assembler
	d *fnpb.ProcessBundleDescriptor
}

func newDescriptor(a *assembler, id string) *descriptor {
	return &descriptor{a: a, d: &fnpb.ProcessBundleDescriptor{
		Id:                  id,
		Transforms:          map[string]*pipepb.PTransform{},
		Pcollections:        map[string]*pipepb.PCollection{},
		WindowingStrategies: map[string]*pipepb.WindowingStrategy{},
		Coders:              map[string]*pipepb.Coder{},
		Environments:        map[string]*pipepb.Environment{},
	}}
}

// finish adds what the collections and transforms refer to.
func (b *descriptor) finish(s *Stage) *fnpb.ProcessBundleDescriptor {
	for id := range b.d.Pcollections {
		b.windowing(b.d.Pcollections[id].GetWindowingStrategyId())
	}
	b.environment(s.Environment)
	return b.d
}

// transform writes down a node, and takes the coders that it refers to.
func (b *descriptor) transform(s *Stage, n *node) (*pipepb.PTransform, error) {
	payload, err := b.payload(s, n)
	if err != nil {
		return nil, err
	}
	t := &pipepb.PTransform{
		UniqueName: n.name, EnvironmentId: n.env,
		Spec:        &pipepb.FunctionSpec{Urn: n.urn, Payload: payload},
		Inputs:      map[string]string{n.in.Local: n.in.Collection},
		Outputs:     map[string]string{},
		DisplayData: n.proto.GetDisplayData(), Annotations: n.proto.GetAnnotations(),
	}
	for _, side := range n.sides {
		t.Inputs[side.Local] = side.Collection
	}
	for _, out := range n.outs {
		t.Outputs[out.Local] = out.Collection
	}
	switch {
	case n.combine != nil:
		b.coder(n.combine.GetAccumulatorCoderId())
	case n.parDo != nil:
		b.coder(n.parDo.GetRestrictionCoderId())
	case !pipeline.Known(n.urn):
		// What such a payload refers to is the SDK's secret.
		for id := range b.a.g.p.Proto.GetComponents().GetCoders() {
			b.coder(id)
		}
	}
	return t, nil
}

// payload returns the payload of a node for the SDK. Timers travel with wire
// coders. Elements of ordered lists are told apart by the runner, which the
// protocol has length-prefixed, but not all SDKs; values of multimaps are
// counted. Other state is the SDK's own affair.
func (b *descriptor) payload(s *Stage, n *node) ([]byte, error) {
	if n.parDo == nil || !pipeline.Stateful(n.parDo) {
		return n.payload, nil
	}
	m := proto.Clone(n.parDo).(*pipepb.ParDoPayload)
	for _, id := range slices.Sorted(maps.Keys(m.GetStateSpecs())) {
		spec := m.GetStateSpecs()[id]
		for _, c := range pipeline.StateCoders(spec) {
			if spec.GetOrderedListSpec() != nil && b.a.g.wire.Coders()[*c].GetSpec().GetUrn() != urn.CoderLengthPrefix {
				*c = b.a.g.wire.LengthPrefix(*c)
			}
			b.coder(*c)
		}
		if err := b.multimap(s, n.id, id, spec.GetMultimapSpec()); err != nil {
			return nil, err
		}
	}
	for _, t := range s.Timers {
		if t.Transform == n.id {
			m.TimerFamilySpecs[t.Family].TimerFamilyCoderId = t.Coder
			b.coder(t.Coder)
		}
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	return payload, nil
}

// multimap gives a multimap values that the runner can tell apart.
func (b *descriptor) multimap(s *Stage, transform, id string, spec *pipepb.MultimapStateSpec) error {
	if spec == nil {
		return nil
	}
	value, err := b.a.g.wire.Coder(spec.GetValueCoderId())
	if err != nil {
		return fmt.Errorf("values of state %q: %w", id, err)
	}
	spec.ValueCoderId = value
	b.coder(value)
	s.Multimaps = append(s.Multimaps, &Multimap{Transform: transform, State: id, ValueCoder: value})
	return nil
}

// collections adds the collections that the nodes of a stage have.
func (b *descriptor) collections(s *Stage, c *cut) {
	for _, n := range c.nodes {
		for _, out := range n.outs {
			b.collection(out.Collection, b.a.g.plain(b.a.g.collections[out.Collection].GetCoderId()))
		}
	}
	b.collection(s.Input.ID, s.Input.inner)
	for _, side := range s.SideInputs {
		b.collection(side.Collection.ID, side.Collection.Coder)
	}
}

// collection adds a collection with a coder of its own.
func (b *descriptor) collection(id, coderID string) {
	from := b.a.g.collections[id]
	b.d.Pcollections[id] = &pipepb.PCollection{
		UniqueName: from.GetUniqueName(), CoderId: coderID,
		IsBounded: from.GetIsBounded(), WindowingStrategyId: from.GetWindowingStrategyId(),
	}
	b.coder(coderID)
}

// ports adds where data comes in and goes out.
func (b *descriptor) ports(s *Stage) error {
	s.InputPort = b.a.g.newID(fmt.Sprintf("source-%d", s.Index))
	if err := b.source(s.InputPort, s.Input); err != nil {
		return err
	}
	for _, out := range s.Outputs {
		if err := b.sink(out.Port, out.Collection); err != nil {
			return err
		}
	}
	return nil
}

func (b *descriptor) source(id string, c *Collection) error {
	return b.port(id, urn.DataSource, c, func(t *pipepb.PTransform, ends map[string]string) { t.Outputs = ends })
}

func (b *descriptor) sink(id string, c *Collection) error {
	return b.port(id, urn.DataSink, c, func(t *pipepb.PTransform, ends map[string]string) { t.Inputs = ends })
}

func (b *descriptor) port(id, spec string, c *Collection, connect func(*pipepb.PTransform, map[string]string)) error {
	payload, err := proto.Marshal(&fnpb.RemoteGrpcPort{CoderId: c.WindowedCoder})
	if err != nil {
		return fmt.Errorf("encode port %q: %w", id, err)
	}
	t := &pipepb.PTransform{UniqueName: id, Spec: &pipepb.FunctionSpec{Urn: spec, Payload: payload}}
	connect(t, map[string]string{"i0": c.ID})
	b.d.Transforms[id] = t
	b.coder(c.WindowedCoder)
	return nil
}

func (b *descriptor) windowing(id string) {
	ws := b.a.g.p.Windowings[id]
	b.d.WindowingStrategies[id] = ws
	b.coder(ws.GetWindowCoderId())
	b.environment(ws.GetEnvironmentId())
}

func (b *descriptor) environment(id string) {
	if env := b.a.g.p.Environment(id); env != nil {
		b.d.Environments[id] = env
	}
}

// coder takes a coder with its components.
func (b *descriptor) coder(id string) {
	c := b.a.g.wire.Coders()[id]
	if c == nil || b.d.Coders[id] != nil {
		return
	}
	b.d.Coders[id] = c
	for _, component := range c.GetComponentCoderIds() {
		b.coder(component)
	}
}
