// Package plantest makes small pipelines for tests.
package plantest

import (
	"fmt"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Pipeline is a pipeline under construction. Its coders are "bytes", "varint",
// "opaque", "kv" (of bytes), "okv" (of opaque) and, for the result of grouping
// those, "gkv" and "gokv"; its environments "a" and "b"; its windowing
// strategies "global", "sessions" and "early" (a pane for each element).
type Pipeline struct {
	*pipepb.Pipeline
	serial int
}

// New starts a pipeline.
func New() *Pipeline {
	coder := func(u string, parts ...string) *pipepb.Coder {
		return &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: u}, ComponentCoderIds: parts}
	}
	env := func() *pipepb.Environment {
		return &pipepb.Environment{Urn: urn.EnvExternal, Capabilities: []string{"test:odd:v1"}}
	}
	return &Pipeline{Pipeline: &pipepb.Pipeline{Components: &pipepb.Components{
		Transforms:   map[string]*pipepb.PTransform{},
		Pcollections: map[string]*pipepb.PCollection{},
		Environments: map[string]*pipepb.Environment{"a": env(), "b": env()},
		Coders: map[string]*pipepb.Coder{
			"bytes": coder(urn.CoderBytes), "varint": coder(urn.CoderVarint), "opaque": coder("test:coder"),
			"kv": coder(urn.CoderKV, "bytes", "bytes"), "ib": coder(urn.CoderIterable, "bytes"), "gkv": coder(urn.CoderKV, "bytes", "ib"),
			"okv": coder(urn.CoderKV, "opaque", "opaque"), "io": coder(urn.CoderIterable, "opaque"), "gokv": coder(urn.CoderKV, "opaque", "io"),
			"gw": coder(urn.CoderGlobalWindow), "iw": coder(urn.CoderIntervalWindow),
		},
		WindowingStrategies: map[string]*pipepb.WindowingStrategy{
			"global":   {WindowFn: &pipepb.FunctionSpec{Urn: urn.GlobalWindows}, WindowCoderId: "gw"},
			"sessions": {WindowFn: &pipepb.FunctionSpec{Urn: urn.SessionWindows}, WindowCoderId: "iw", MergeStatus: pipepb.MergeStatus_NEEDS_MERGE},
			"early": {WindowFn: &pipepb.FunctionSpec{Urn: urn.GlobalWindows}, WindowCoderId: "gw", Trigger: &pipepb.Trigger{
				Trigger: &pipepb.Trigger_ElementCount_{ElementCount: &pipepb.Trigger_ElementCount{ElementCount: 1}}}},
		},
	}}}
}

// Collection adds a bounded collection in the global window.
func (p *Pipeline) Collection(coder string) string { return p.Windowed(coder, "global") }

// Windowed adds a bounded collection.
func (p *Pipeline) Windowed(coder, windowing string) string {
	p.serial++
	id := fmt.Sprintf("c%d", p.serial)
	p.Components.Pcollections[id] = &pipepb.PCollection{
		UniqueName: id, CoderId: coder, WindowingStrategyId: windowing, IsBounded: pipepb.IsBounded_BOUNDED,
	}
	return id
}

// Unbounded makes a collection unbounded.
func (p *Pipeline) Unbounded(collection string) {
	p.Components.Pcollections[collection].IsBounded = pipepb.IsBounded_UNBOUNDED
}

// Add adds a transform whose inputs and outputs are named "i0", "i1" and so on.
func (p *Pipeline) Add(id, u, env string, payload proto.Message, ins, outs []string) *pipepb.PTransform {
	t := &pipepb.PTransform{
		UniqueName: id, EnvironmentId: env, Spec: &pipepb.FunctionSpec{Urn: u},
		Inputs: map[string]string{}, Outputs: map[string]string{},
	}
	if payload != nil {
		t.Spec.Payload, _ = proto.MarshalOptions{Deterministic: true}.Marshal(payload)
	}
	for i, in := range ins {
		t.Inputs[fmt.Sprintf("i%d", i)] = in
	}
	for i, out := range outs {
		t.Outputs[fmt.Sprintf("i%d", i)] = out
	}
	p.Components.Transforms[id] = t
	p.RootTransformIds = append(p.RootTransformIds, id)
	return t
}

// Impulse adds an Impulse and returns its output.
func (p *Pipeline) Impulse(id string) string {
	out := p.Collection("bytes")
	p.Add(id, urn.Impulse, "", nil, nil, []string{out})
	return out
}

// ParDo adds a ParDo with one output, and returns that.
func (p *Pipeline) ParDo(id, env, in, coder string, sides ...string) string {
	return p.ParDoLike(id, env, in, coder, &pipepb.ParDoPayload{}, sides...)
}

// ParDoLike does so with a payload, to which iterable side inputs are added.
func (p *Pipeline) ParDoLike(id, env, in, coder string, m *pipepb.ParDoPayload, sides ...string) string {
	out := p.Windowed(coder, p.Components.Pcollections[in].GetWindowingStrategyId())
	p.Components.Pcollections[out].IsBounded = p.Components.Pcollections[in].GetIsBounded()
	for i := range sides {
		if m.SideInputs == nil {
			m.SideInputs = map[string]*pipepb.SideInput{}
		}
		m.SideInputs[fmt.Sprintf("i%d", i+1)] = &pipepb.SideInput{AccessPattern: &pipepb.FunctionSpec{Urn: urn.SideInputIterable}}
	}
	p.Add(id, urn.ParDo, env, m, append([]string{in}, sides...), []string{out})
	return out
}

// Runner adds a transform of the runner's with one output, and returns that.
func (p *Pipeline) Runner(id, u, coder string, ins ...string) string {
	out := p.Collection(coder)
	if len(ins) > 0 {
		like := p.Components.Pcollections[ins[0]]
		p.Components.Pcollections[out].WindowingStrategyId = like.GetWindowingStrategyId()
		p.Components.Pcollections[out].IsBounded = like.GetIsBounded()
	}
	p.Add(id, u, "", nil, ins, []string{out})
	return out
}

// Combine adds a combine per key with its expansion, and returns its output.
func (p *Pipeline) Combine(id, env, in, coder, grouped string) string {
	m := &pipepb.CombinePayload{CombineFn: &pipepb.FunctionSpec{Urn: "test:combine"}, AccumulatorCoderId: "opaque"}
	roots := p.RootTransformIds
	mid := p.Runner(id+"/gbk", urn.GroupByKey, grouped, in)
	out := p.Windowed(coder, p.Components.Pcollections[in].GetWindowingStrategyId())
	p.Add(id+"/values", urn.CombineGroupedValues, env, m, []string{mid}, []string{out})
	p.RootTransformIds = roots
	p.Add(id, urn.CombinePerKey, env, m, []string{in}, []string{out}).Subtransforms = []string{id + "/gbk", id + "/values"}
	return out
}
