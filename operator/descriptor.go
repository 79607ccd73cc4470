package operator

import (
	"fmt"
	"strconv"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Ids in the descriptors.
const (
	sourceID    = "source"
	sinkID      = "sink"
	transformID = "transform"
	windowingID = "windowing"
	windowID    = "window"
)

// headerless is the payload of a windowed value coder that writes no header:
// the least timestamp, the global window and the pane that stands for no firing
// go with every element.
var headerless = []byte{0x7f, 0xdf, 0x3b, 0x64, 0x5a, 0x1c, 0xac, 0x09, 0, 0, 0, 1, 0x0f, 0}

// descriptor builds the process bundle descriptor of one function.
type descriptor struct {
	d   *fnpb.ProcessBundleDescriptor
	seq int
}

// describe makes f's descriptor: a source, the operations, a sink for each
// output. The harness layer fills in endpoints.
func describe(id string, f *Function) (*fnpb.ProcessBundleDescriptor, error) {
	b := &descriptor{d: &fnpb.ProcessBundleDescriptor{
		Id:                  id,
		Transforms:          map[string]*pipepb.PTransform{},
		Pcollections:        map[string]*pipepb.PCollection{},
		Coders:              map[string]*pipepb.Coder{},
		WindowingStrategies: map[string]*pipepb.WindowingStrategy{windowingID: {WindowCoderId: windowID}},
	}}
	b.d.Coders[windowID] = &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: urn.CoderGlobalWindow}}
	for id, c := range f.Coders {
		b.put(id, c)
	}
	in := b.collection("input", f.Input)
	if err := b.port(sourceID, urn.DataSource, f.Input, in); err != nil {
		return nil, err
	}
	out, err := b.chain(f, in)
	if err != nil {
		return nil, err
	}
	if err := b.port(sinkID, urn.DataSink, f.Output, out); err != nil {
		return nil, err
	}
	return b.d, nil
}

// chain adds the operations and the sinks of side outputs; it returns the
// collection that leaves the last operation.
func (b *descriptor) chain(f *Function, in string) (string, error) {
	payload, err := b.timers(f)
	if err != nil {
		return "", err
	}
	out := b.collection("c0", firstInput(f.Then, f.Output))
	first := transform(transformID, f.URN, payload, in, f.OutputTag, out)
	b.d.Transforms[transformID] = first
	for i, s := range f.SideOutputs {
		name := "side" + strconv.Itoa(i)
		id := b.collection(name, firstInput(s.Then, s.Coder))
		first.Outputs[s.Tag] = id
		id = b.steps(name, s.Then, id, f.OutputTag, s.Coder)
		if err := b.port(sideID(s.Tag), urn.DataSink, s.Coder, id); err != nil {
			return "", err
		}
	}
	return b.steps(transformID, f.Then, out, f.OutputTag, f.Output), nil
}

// firstInput is the coder of what goes into steps, or out if there are none.
func firstInput(steps []Step, out Coder) Coder {
	if len(steps) > 0 {
		return steps[0].Input
	}
	return out
}

// steps adds further operations; it returns the collection behind the last.
func (b *descriptor) steps(prefix string, steps []Step, in, tag string, out Coder) string {
	for i, s := range steps {
		id := prefix + "." + strconv.Itoa(i+1)
		next := b.collection(id, firstInput(steps[i+1:], out))
		b.d.Transforms[id] = transform(id, s.URN, s.Payload, in, tag, next)
		in = next
	}
	return in
}

// sideID is the sink of a side output.
func sideID(tag string) string { return sinkID + ":" + tag }

// transform is one operation with one input and one output.
func transform(id, name string, payload []byte, in, tag, out string) *pipepb.PTransform {
	return &pipepb.PTransform{
		UniqueName: id,
		Spec:       &pipepb.FunctionSpec{Urn: name, Payload: payload},
		Inputs:     map[string]string{"input": in},
		Outputs:    map[string]string{tag: out},
	}
}

// timers adds the timer families to the payload of a ParDo.
func (b *descriptor) timers(f *Function) ([]byte, error) {
	if len(f.Timers) == 0 {
		return f.Payload, nil
	}
	if f.URN != urn.ParDo {
		return nil, fmt.Errorf("function %s has timers, so its URN must be %s", f.name(), urn.ParDo)
	}
	p := &pipepb.ParDoPayload{}
	if err := proto.Unmarshal(f.Payload, p); err != nil {
		return nil, fmt.Errorf("payload of function %s: %w", f.name(), err)
	}
	if p.TimerFamilySpecs == nil {
		p.TimerFamilySpecs = map[string]*pipepb.TimerFamilySpec{}
	}
	for _, t := range f.Timers {
		id := b.fresh("timer")
		b.d.Coders[id] = &pipepb.Coder{
			Spec:              &pipepb.FunctionSpec{Urn: urn.CoderTimer},
			ComponentCoderIds: []string{b.prefixed(t.Key), windowID},
		}
		p.TimerFamilySpecs[t.Name] = &pipepb.TimerFamilySpec{TimeDomain: t.Domain.proto(), TimerFamilyCoderId: id}
	}
	return proto.Marshal(p)
}

// collection adds a PCollection.
func (b *descriptor) collection(id string, c Coder) string {
	b.d.Pcollections[id] = &pipepb.PCollection{UniqueName: id, CoderId: b.add(c), WindowingStrategyId: windowingID}
	return id
}

// port adds a source or sink for elements of c.
func (b *descriptor) port(id, name string, c Coder, collection string) error {
	wire := b.fresh("wire")
	b.d.Coders[wire] = &pipepb.Coder{
		Spec:              &pipepb.FunctionSpec{Urn: urn.CoderParamWindowedValue, Payload: headerless},
		ComponentCoderIds: []string{b.prefixed(c), windowID},
	}
	payload, err := proto.Marshal(&fnpb.RemoteGrpcPort{CoderId: wire})
	if err != nil {
		return err
	}
	t := &pipepb.PTransform{UniqueName: id, Spec: &pipepb.FunctionSpec{Urn: name, Payload: payload}}
	if name == urn.DataSource {
		t.Outputs = map[string]string{"output": collection}
	} else {
		t.Inputs = map[string]string{"input": collection}
	}
	b.d.Transforms[id] = t
	return nil
}

// prefixed adds a coder that writes a length before each element.
func (b *descriptor) prefixed(c Coder) string {
	switch c.URN {
	case "", urn.CoderBytes, urn.CoderStringUTF8, urn.CoderLengthPrefix:
		return b.add(c)
	}
	return b.add(Coder{URN: urn.CoderLengthPrefix, Components: []Coder{c}})
}

// add adds a coder with its components under a new id.
func (b *descriptor) add(c Coder) string {
	id := b.fresh("coder")
	b.put(id, c)
	return id
}

// put adds a coder under an id.
func (b *descriptor) put(id string, c Coder) {
	if c.URN == "" {
		c = Bytes()
	}
	p := &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: c.URN, Payload: c.Payload}}
	for _, component := range c.Components {
		p.ComponentCoderIds = append(p.ComponentCoderIds, b.add(component))
	}
	b.d.Coders[id] = p
}

func (b *descriptor) fresh(prefix string) string {
	b.seq++
	return prefix + strconv.Itoa(b.seq)
}
