package pipeline

import (
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// parDo checks a transform with a ParDoPayload, and tells its side inputs from
// its main input.
func (v *validator) parDo(t *Transform) {
	m := &pipepb.ParDoPayload{}
	if !v.decode(t, m) {
		return
	}
	t.ParDo = m
	v.sides(t)
	if len(t.Inputs) != 1 {
		v.reject("transform %q has %d main inputs; want 1", t.Name, len(t.Inputs))
		return
	}
	if m.GetRestrictionCoderId() != "" {
		v.coder(m.GetRestrictionCoderId(), "the restrictions of %q", t.Name)
	} else if t.URN != urn.ParDo {
		v.reject("transform %q (%s) has no restriction coder", t.Name, t.URN)
	}
	for _, id := range sortedKeys(m.GetStateSpecs()) {
		v.state(t, id, m.GetStateSpecs()[id])
	}
	v.timers(t)
	if !Stateful(m) {
		return
	}
	v.keyed(t, t.Inputs[0], "state or timers")
	if m.GetRestrictionCoderId() != "" {
		v.reject("transform %q: a splittable DoFn cannot have state or timers", t.Name)
	}
}

// Stateful reports whether a ParDo has state or timers, so that its input is
// processed key by key.
func Stateful(m *pipepb.ParDoPayload) bool {
	return len(m.GetStateSpecs()) > 0 || len(m.GetTimerFamilySpecs()) > 0
}

// sides splits the inputs of a ParDo.
func (v *validator) sides(t *Transform) {
	specs := t.ParDo.GetSideInputs()
	var main []Port
	for _, in := range t.Inputs {
		if _, ok := specs[in.Local]; ok {
			t.Sides = append(t.Sides, in)
		} else {
			main = append(main, in)
		}
	}
	t.Inputs = main
	for _, local := range sortedKeys(specs) {
		collection, ok := t.Proto.GetInputs()[local]
		if !ok {
			v.reject("transform %q: side input %q is not among its inputs", t.Name, local)
			continue
		}
		switch pattern := specs[local].GetAccessPattern().GetUrn(); pattern {
		case urn.SideInputIterable:
		case urn.SideInputMultimap:
			v.keyed(t, Port{Local: local, Collection: collection}, "a multimap side input")
		default:
			v.reject("transform %q: side input %q has the unknown access pattern %q", t.Name, local, pattern)
		}
	}
}

func (v *validator) state(t *Transform, id string, spec *pipepb.StateSpec) {
	switch protocol := spec.GetProtocol().GetUrn(); protocol {
	case "", urn.StateBag, urn.StateMultimap, urn.StateOrderedList:
	default:
		v.reject("transform %q: state %q has the unknown protocol %q", t.Name, id, protocol)
	}
	coders := StateCoders(spec)
	if coders == nil {
		v.reject("transform %q: state %q is of an unknown kind", t.Name, id)
	}
	for _, c := range coders {
		v.coder(*c, "state %q of %q", id, t.Name)
	}
}

// StateCoders returns where a state spec keeps its coder ids.
func StateCoders(spec *pipepb.StateSpec) []*string {
	switch s := spec.GetSpec().(type) {
	case *pipepb.StateSpec_ReadModifyWriteSpec:
		if s.ReadModifyWriteSpec != nil {
			return []*string{&s.ReadModifyWriteSpec.CoderId}
		}
	case *pipepb.StateSpec_BagSpec:
		if s.BagSpec != nil {
			return []*string{&s.BagSpec.ElementCoderId}
		}
	case *pipepb.StateSpec_CombiningSpec:
		if s.CombiningSpec != nil {
			return []*string{&s.CombiningSpec.AccumulatorCoderId}
		}
	case *pipepb.StateSpec_MapSpec:
		if s.MapSpec != nil {
			return []*string{&s.MapSpec.KeyCoderId, &s.MapSpec.ValueCoderId}
		}
	case *pipepb.StateSpec_MultimapSpec:
		if s.MultimapSpec != nil {
			return []*string{&s.MultimapSpec.KeyCoderId, &s.MultimapSpec.ValueCoderId}
		}
	case *pipepb.StateSpec_SetSpec:
		if s.SetSpec != nil {
			return []*string{&s.SetSpec.ElementCoderId}
		}
	case *pipepb.StateSpec_OrderedListSpec:
		if s.OrderedListSpec != nil {
			return []*string{&s.OrderedListSpec.ElementCoderId}
		}
	}
	return nil
}

func (v *validator) timers(t *Transform) {
	families := t.ParDo.GetTimerFamilySpecs()
	for _, id := range sortedKeys(families) {
		switch domain := families[id].GetTimeDomain(); domain {
		case pipepb.TimeDomain_EVENT_TIME, pipepb.TimeDomain_PROCESSING_TIME:
		default:
			v.reject("transform %q: timer family %q is in the unsupported time domain %v", t.Name, id, domain)
		}
	}
	family := t.ParDo.GetOnWindowExpirationTimerFamilySpec()
	if _, ok := families[family]; family != "" && !ok {
		v.reject("transform %q: its timer family for window expiration, %q, is missing", t.Name, family)
	}
}
