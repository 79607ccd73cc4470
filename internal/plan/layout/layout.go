// Package layout says what the rows of a job are about, in names that outlive
// its plan: those of transforms, states, timers and side inputs. It matches the
// layout of one job with that of another, which is to begin with the first one's
// state, and finds what has no place there.
//
// A stage is known by its takers, the transforms that take its input: what waits
// in its queue waits for them, and a transform with state or timers is always the
// only taker of its stage.
package layout

import (
	"slices"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// Layout describes the stages of a plan, by index.
type Layout struct {
	Stages []Stage `json:"stages"`
}

// Stage says what the rows of a stage mean.
type Stage struct {
	Kind string `json:"kind"`
	// Takers are the names of the transforms that take the stage's input. An
	// Impulse or a TestStream is its own.
	Takers []string `json:"takers"`
	// Steps are the names of all that the stage runs.
	Steps []string `json:"steps"`
	// Transform is the id of the first taker in rows of state and timers.
	Transform string `json:"transform"`
	// Element, Key and Window are how the input is encoded; Key if Keyed.
	Element Form `json:"element"`
	Key     Form `json:"key"`
	Window  Form `json:"window"`
	Keyed   bool `json:"keyed,omitempty"`
	// Reduces: the stage keeps values by window, according to Windowing.
	Reduces   bool `json:"reduces,omitempty"`
	Windowing Form `json:"windowing"`
	// Sorts: the stage puts elements aside until earlier ones have come.
	Sorts  bool              `json:"sorts,omitempty"`
	States map[string]Form   `json:"states,omitempty"` // by state id
	Timers map[string]string `json:"timers,omitempty"` // time domain, by family
	Sides  []Side            `json:"sides,omitempty"`
}

// Side is a side input of a stage.
type Side struct {
	Reader  string `json:"reader"` // name of the transform
	Local   string `json:"local"`
	Element Form   `json:"element"`
	Window  Form   `json:"window"`
	// From are the stages that fill it.
	From []int `json:"from"`
}

// Of returns the layout of a pipeline's plan.
func Of(p *pipepb.Pipeline, pl *plan.Plan) *Layout {
	w := &writer{p: p, plan: pl, forms: newForms(pl.Coders)}
	l := &Layout{}
	for _, s := range pl.Stages {
		l.Stages = append(l.Stages, w.stage(s))
	}
	for _, s := range pl.Stages {
		for _, out := range s.Outputs {
			for _, to := range out.Consumers {
				if to.Side >= 0 {
					side := &l.Stages[to.Stage].Sides[to.Side]
					side.From = append(side.From, s.Index)
				}
			}
		}
	}
	return l
}

type writer struct {
	p     *pipepb.Pipeline
	plan  *plan.Plan
	forms *forms
}

// name is the user's name of a transform. One that was made by the planner is
// named after what it stands for, and its part of it.
func (w *writer) name(id string) string {
	origin, part := id, ""
	if from := w.plan.Origin[id]; from != "" {
		origin, part = from, strings.TrimPrefix(id, from)
	}
	if name := w.p.GetComponents().GetTransforms()[origin].GetUniqueName(); name != "" {
		origin = name
	}
	return origin + part
}

func (w *writer) stage(s *plan.Stage) Stage {
	out := Stage{Kind: s.Kind.String(), Keyed: s.Keyed}
	takers := w.takers(s)
	out.Transform = takers[0]
	for _, id := range takers {
		out.Takers = append(out.Takers, w.name(id))
	}
	out.Steps = out.Takers
	if s.Kind == plan.SDK {
		out.Steps = nil
		for _, id := range s.Steps {
			out.Steps = append(out.Steps, w.name(id))
		}
	}
	if s.Input != nil {
		out.Element, out.Window = w.forms.coder(s.Input.Coder), w.forms.coder(s.Input.WindowCoder)
	}
	if s.Keyed {
		out.Key = w.forms.coder(w.plan.Coders[s.Input.Coder].GetComponentCoderIds()[0])
	}
	if s.Group != nil {
		out.Reduces = s.Group.Strategy == plan.Reduce
		out.Windowing = w.forms.windowing(w.plan.Windowings[s.Group.Windowing])
	}
	out.Sorts = s.TimeSorted && s.Streaming
	w.state(s, &out)
	for _, side := range s.SideInputs {
		out.Sides = append(out.Sides, Side{
			Reader: w.name(side.Transform), Local: side.Local,
			Element: w.forms.coder(side.Collection.Coder), Window: w.forms.coder(side.Collection.WindowCoder),
		})
	}
	return out
}

// takers returns the ids of the transforms that take the stage's input, the
// first of the stage first.
func (w *writer) takers(s *plan.Stage) []string {
	switch {
	case s.Group != nil:
		return []string{s.Group.Transform}
	case s.Kind != plan.SDK:
		return s.Transforms
	}
	var ids []string
	for _, id := range s.Steps {
		if w.takes(s, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (w *writer) takes(s *plan.Stage, id string) bool {
	for local, collection := range s.Descriptor.GetTransforms()[id].GetInputs() {
		isSide := slices.ContainsFunc(s.SideInputs, func(side *plan.SideInput) bool {
			return side.Transform == id && side.Local == local
		})
		if collection == s.Input.ID && !isSide {
			return true
		}
	}
	return false
}

// state adds the states and timers of a keyed SDK stage.
func (w *writer) state(s *plan.Stage, out *Stage) {
	if !s.Keyed || s.Kind != plan.SDK {
		return
	}
	var payload pipepb.ParDoPayload
	spec := s.Descriptor.GetTransforms()[out.Transform].GetSpec()
	if spec.GetUrn() != urn.ParDo || proto.Unmarshal(spec.GetPayload(), &payload) != nil {
		return // it was checked when it was planned
	}
	out.States, out.Timers = map[string]Form{}, map[string]string{}
	for id, spec := range payload.GetStateSpecs() {
		out.States[id] = w.forms.state(spec)
	}
	for family, spec := range payload.GetTimerFamilySpecs() {
		out.Timers[family] = spec.GetTimeDomain().String()
	}
}

// stateKind names a kind of state.
func stateKind(spec *pipepb.StateSpec) string {
	switch spec.GetSpec().(type) {
	case *pipepb.StateSpec_ReadModifyWriteSpec:
		return "value"
	case *pipepb.StateSpec_BagSpec:
		return "bag"
	case *pipepb.StateSpec_CombiningSpec:
		return "combining"
	case *pipepb.StateSpec_MapSpec:
		return "map"
	case *pipepb.StateSpec_MultimapSpec:
		return "multimap"
	case *pipepb.StateSpec_SetSpec:
		return "set"
	case *pipepb.StateSpec_OrderedListSpec:
		return "ordered list"
	}
	return "unknown"
}

// stateCoders are the coders of what a state holds.
func stateCoders(spec *pipepb.StateSpec) []string {
	var ids []string
	for _, id := range pipeline.StateCoders(proto.Clone(spec).(*pipepb.StateSpec)) {
		ids = append(ids, *id)
	}
	return ids
}
