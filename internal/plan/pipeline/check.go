package pipeline

import (
	"fmt"
	"maps"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/window"
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
		v.environment(t, t.Environment != "")
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
	if m.GetEndpoint().GetUrl() != "" {
		v.reject("transform %q: a TestStream that takes its events from a service (%s) is not supported", t.Name, m.GetEndpoint().GetUrl())
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
		if _, ok := t.Proto.GetOutputs()[tag]; !ok && len(t.Outputs) > 1 {
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

func (v *validator) windowing(id, collection string) {
	if v.seen["w:"+id] {
		return
	}
	v.seen["w:"+id] = true
	ws := v.comps.GetWindowingStrategies()[id]
	if ws == nil {
		v.reject("windowing strategy %q of PCollection %q is missing", id, collection)
		return
	}
	if !v.coder(ws.GetWindowCoderId(), "the windows of windowing strategy %q", id) {
		return
	}
	ws = v.wrapWindows(ws)
	s, err := window.Parse(ws, v.p.Coders)
	if err != nil {
		v.reject("windowing strategy %q: %v", id, err)
		return
	}
	v.p.Windowings[id], v.p.Strategies[id] = ws, s
}

// wrapWindows returns a windowing strategy with a window coder that the runner
// understands: a custom window says when it ends, whatever it looks like.
func (v *validator) wrapWindows(ws *pipepb.WindowingStrategy) *pipepb.WindowingStrategy {
	id := ws.GetWindowCoderId()
	switch v.p.Coders[id].GetSpec().GetUrn() {
	case URNCoderGlobalWindow, URNCoderIntervalWindow, URNCoderCustomWindow:
		return ws
	case URNCoderLengthPrefix:
	default:
		id = v.addCoder("window-bytes:"+id, URNCoderLengthPrefix, id)
	}
	id = v.addCoder("window:"+ws.GetWindowCoderId(), URNCoderCustomWindow, id)
	ws = proto.Clone(ws).(*pipepb.WindowingStrategy)
	ws.WindowCoderId = id
	return ws
}

// addCoder adds a coder with one component, under id or something like it.
func (v *validator) addCoder(id, urn, component string) string {
	want := &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: urn}, ComponentCoderIds: []string{component}}
	for {
		have, ok := v.p.Coders[id]
		if !ok {
			v.p.Coders[id] = want
			return id
		}
		if proto.Equal(have, want) {
			return id
		}
		id += "'"
	}
}

// keyed checks that the elements of a collection are key-value pairs.
func (v *validator) keyed(t *Transform, port Port, why string) {
	c := v.p.Collection(port.Collection)
	if c == nil {
		return // rejected already
	}
	coder := v.p.Coders[c.GetCoderId()]
	if coder == nil {
		return // likewise
	}
	if urn := coder.GetSpec().GetUrn(); urn != URNCoderKV {
		v.reject("transform %q: %s needs key-value pairs, but the coder of PCollection %q is %q", t.Name, why, port.Collection, urn)
	}
}

// coder checks a coder and its components. It returns false if it is rejected.
func (v *validator) coder(id, what string, args ...any) bool {
	if err := v.checkCoder(id, 0); err != nil {
		v.reject("coder of %s: %v", fmt.Sprintf(what, args...), err)
		return false
	}
	return true
}

// arities of coders that the runner takes apart.
var arities = map[string]int{
	URNCoderKV: 2, URNCoderIterable: 1, URNCoderLengthPrefix: 1, URNCoderCustomWindow: 1,
	"beam:coder:state_backed_iterable:v1": 1, "beam:coder:nullable:v1": 1, "beam:coder:sharded_key:v1": 1,
	"beam:coder:timer:v1": 2, "beam:coder:windowed_value:v1": 2, "beam:coder:param_windowed_value:v1": 2,
}

func (v *validator) checkCoder(id string, depth int) error {
	if err, ok := v.coders[id]; ok {
		return err
	}
	if depth > maxNesting {
		return fmt.Errorf("coder %q is nested more than %d deep", id, maxNesting)
	}
	c := v.comps.GetCoders()[id]
	if c == nil {
		v.coders[id] = fmt.Errorf("coder %q is missing", id)
		return v.coders[id]
	}
	v.coders[id] = fmt.Errorf("coder %q contains itself", id) // what a cycle finds
	v.coders[id] = v.checkComponents(id, c, depth)
	return v.coders[id]
}

func (v *validator) checkComponents(id string, c *pipepb.Coder, depth int) error {
	want, ok := arities[c.GetSpec().GetUrn()]
	if have := len(c.GetComponentCoderIds()); ok && have != want {
		return fmt.Errorf("coder %q (%s) has %d components; want %d", id, c.GetSpec().GetUrn(), have, want)
	}
	for _, sub := range c.GetComponentCoderIds() {
		if err := v.checkCoder(sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// sortedKeys is for reasons in an order that stays the same.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
