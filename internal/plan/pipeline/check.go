package pipeline

import (
	"fmt"
	"maps"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// check checks one transform by its kind.
func (v *validator) check(t *Transform) {
	if t.Kind == Composite || t.Kind == NoOp {
		return
	}
	for _, port := range slices.Concat(t.Inputs, t.Outputs) {
		v.collection(t, port)
	}
	switch t.Kind {
	case Impulse:
		v.arity(t, 0, 1)
	case GroupByKey:
		if v.arity(t, 1, 1) {
			v.keyed(t, t.Inputs[0], "grouping by key")
			v.mergeable(t)
		}
	case Flatten:
		v.arity(t, len(t.Inputs), 1)
		v.environment(t, t.Environment != "")
	case Redistribute:
		v.arity(t, 1, 1)
	case TestStream:
		v.testStream(t)
	case Combine:
		v.combine(t)
		v.environment(t, t.Environment != "" || len(t.Children) == 0)
	case SDK:
		v.sdk(t)
	}
}

func (v *validator) sdk(t *Transform) {
	v.environment(t, true)
	switch {
	case parDoURNs[t.URN]:
		v.parDo(t)
	case combineURNs[t.URN]:
		v.combine(t)
	default:
		v.arity(t, 1, len(t.Outputs))
	}
}

func (v *validator) environment(t *Transform, needed bool) {
	switch {
	case !needed:
	case t.Environment == "":
		v.reject("transform %q (%s) has no environment to run it", t.Name, t.URN)
	case v.p.Environment(t.Environment) == nil:
		v.reject("transform %q: its environment %q is missing", t.Name, t.Environment)
	}
}

func (v *validator) arity(t *Transform, in, out int) bool {
	if len(t.Inputs) != in || len(t.Outputs) != out {
		v.reject("transform %q (%s) has %d inputs and %d outputs; want %d and %d", t.Name, t.URN, len(t.Inputs), len(t.Outputs), in, out)
		return false
	}
	return true
}

// mergeable checks that somebody can merge the windows of a grouping's input.
func (v *validator) mergeable(t *Transform) {
	s := v.p.Strategy(t.Inputs[0].Collection)
	if s == nil || !s.CustomMerge {
		return
	}
	if v.p.Environment(s.EnvironmentID) == nil {
		v.reject("transform %q: its windows are merged by WindowFn %q, whose environment %q is missing", t.Name, s.FnURN, s.EnvironmentID)
	}
}

func (v *validator) testStream(t *Transform) {
	m := &pipepb.TestStreamPayload{}
	if !v.decode(t, m) {
		return
	}
	t.TestStream = m
	if len(t.Inputs) != 0 || len(t.Outputs) == 0 {
		v.reject("transform %q (%s) has %d inputs and %d outputs; want no inputs, and an output", t.Name, t.URN, len(t.Inputs), len(t.Outputs))
	}
	if url := m.GetEndpoint().GetUrl(); url != "" && len(m.GetEvents()) > 0 {
		v.reject("transform %q: a TestStream has events of its own and takes them from a service (%s); want one of both", t.Name, url)
	}
	v.coder(m.GetCoderId(), "the elements of %q", t.Name)
	for _, e := range m.GetEvents() {
		var tag string
		switch e := e.GetEvent().(type) {
		case *pipepb.TestStreamPayload_Event_ElementEvent:
			tag = e.ElementEvent.GetTag()
		case *pipepb.TestStreamPayload_Event_WatermarkEvent:
			tag = e.WatermarkEvent.GetTag()
		case *pipepb.TestStreamPayload_Event_ProcessingTimeEvent:
			continue
		default:
			v.reject("transform %q: a TestStream event of an unknown kind", t.Name)
			continue
		}
		if _, ok := t.Proto.GetOutputs()[tag]; !ok && (len(t.Outputs) > 1 || tag != "") {
			v.reject("transform %q: a TestStream event for output %q, which does not exist", t.Name, tag)
		}
	}
}

func (v *validator) combine(t *Transform) {
	m := &pipepb.CombinePayload{}
	if !v.decode(t, m) {
		return
	}
	t.Combine = m
	if m.GetAccumulatorCoderId() != "" {
		v.coder(m.GetAccumulatorCoderId(), "the accumulator of %q", t.Name)
	}
	if v.arity(t, 1, 1) && t.Kind == Combine {
		v.keyed(t, t.Inputs[0], "combining per key")
		v.mergeable(t)
	}
}

// collection checks a collection with its coder and windowing, once.
func (v *validator) collection(t *Transform, port Port) {
	c := v.p.Collection(port.Collection)
	if c == nil {
		v.reject("transform %q: PCollection %q, its %q, is missing", t.Name, port.Collection, port.Local)
		return
	}
	if v.seen["c:"+port.Collection] {
		return
	}
	v.seen["c:"+port.Collection] = true
	v.coder(c.GetCoderId(), "PCollection %q", port.Collection)
	v.windowing(c.GetWindowingStrategyId(), port.Collection)
}

// keyed checks that the elements of a collection are key-value pairs.
func (v *validator) keyed(t *Transform, port Port, why string) {
	c := v.p.Collection(port.Collection)
	if c == nil {
		return // rejected already
	}
	kv := v.p.Coders[c.GetCoderId()]
	if kv == nil {
		return // likewise
	}
	if have := kv.GetSpec().GetUrn(); have != urn.CoderKV {
		v.reject("transform %q: %s needs key-value pairs, but the coder of PCollection %q is %q", t.Name, why, port.Collection, have)
	}
}

// coder checks a coder and its components. It returns false if it is rejected.
func (v *validator) coder(id, what string, args ...any) bool {
	err, ok := v.coders[id]
	if !ok {
		if _, err = coder.Parse(v.p.Coders, id); err == nil {
			err = v.wholeCoder(id, 0)
		}
		v.coders[id] = err
	}
	if err != nil {
		v.reject("coder of %s: %v", fmt.Sprintf(what, args...), err)
	}
	return err == nil
}

// wholeCoder checks that the components of a coder exist, and do not contain
// it, also where only the SDK looks at them.
func (v *validator) wholeCoder(id string, depth int) error {
	whole, open := v.whole[id]
	switch {
	case whole:
		return nil
	case open || depth > coder.MaxDepth:
		return fmt.Errorf("coder %q contains itself, or is nested more than %d deep", id, coder.MaxDepth)
	case v.p.Coders[id] == nil:
		return fmt.Errorf("component %q is missing", id)
	}
	v.whole[id] = false
	for _, part := range v.p.Coders[id].GetComponentCoderIds() {
		if err := v.wholeCoder(part, depth+1); err != nil {
			return fmt.Errorf("coder %q: %w", id, err)
		}
	}
	v.whole[id] = true
	return nil
}

// sortedKeys is for reasons in an order that stays the same.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
