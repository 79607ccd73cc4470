package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/model/window"
)

const (
	maxReasons = 100  // in one Rejection
	maxNesting = 1000 // of composites
)

// Validate checks a pipeline. The error, if any, is a *Rejection. The proto
// must not be changed afterwards.
func Validate(p *pipepb.Pipeline) (*Pipeline, error) {
	v := &validator{
		comps:   p.GetComponents(),
		coders:  map[string]error{},
		whole:   map[string]bool{},
		visited: map[string]bool{}, open: map[string]bool{},
		seen: map[string]bool{},
		p: &Pipeline{
			Proto:      p,
			Coders:     p.GetComponents().GetCoders(),
			Windowings: map[string]*pipepb.WindowingStrategy{},
			Strategies: map[string]*window.Strategy{},
		},
	}
	v.wire = coder.NewWire(v.p.Coders)
	for _, r := range p.GetRequirements() {
		if !requirements[r] {
			v.reject("requirement %q is not known to this runner", r)
		}
	}
	v.p.Roots = v.tree(v.roots(), 0)
	v.connected()
	if len(v.reasons) > 0 {
		return nil, &Rejection{Reasons: v.reasons}
	}
	v.p.Coders = v.wire.Coders()
	return v.p, nil
}

type validator struct {
	p       *Pipeline
	comps   *pipepb.Components
	wire    *coder.Wire
	coders  map[string]error // coders that have been checked
	whole   map[string]bool  // coders: all is there; false while that is checked, or if not
	visited map[string]bool  // transforms
	open    map[string]bool  // those that contain the one in hand
	seen    map[string]bool  // collections and windowing strategies
	reasons []string
}

func (v *validator) reject(format string, args ...any) {
	if reason := fmt.Sprintf(format, args...); len(v.reasons) < maxReasons && !slices.Contains(v.reasons, reason) {
		v.reasons = append(v.reasons, reason)
	}
}

// roots returns the ids of the root transforms; where the pipeline names none,
// those that are not part of another one.
func (v *validator) roots() []string {
	if ids := v.p.Proto.GetRootTransformIds(); len(ids) > 0 {
		return ids
	}
	inner := map[string]bool{}
	for _, t := range v.comps.GetTransforms() {
		for _, id := range t.GetSubtransforms() {
			inner[id] = true
		}
	}
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(v.comps.GetTransforms())) {
		if !inner[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// tree builds and checks transforms with what they contain. A transform that
// occurs twice is taken the first time.
func (v *validator) tree(ids []string, depth int) []*Transform {
	if depth > maxNesting {
		v.reject("transforms are nested more than %d deep", maxNesting)
		return nil
	}
	var ts []*Transform
	for _, id := range ids {
		if v.open[id] {
			v.reject("transform %q contains itself", id)
		}
		if v.visited[id] {
			continue
		}
		v.visited[id] = true
		proto, ok := v.comps.GetTransforms()[id]
		if !ok {
			v.reject("transform %q is referred to but missing", id)
			continue
		}
		t := newTransform(id, proto)
		v.classify(t)
		if t.Kind == Composite || t.Kind == Combine {
			v.open[id] = true
			t.Children = v.tree(proto.GetSubtransforms(), depth+1)
			delete(v.open, id)
		}
		v.check(t)
		ts = append(ts, t)
	}
	return ts
}

func newTransform(id string, proto *pipepb.PTransform) *Transform {
	name := proto.GetUniqueName()
	if name == "" {
		name = id
	}
	return &Transform{
		ID: id, Name: name, URN: proto.GetSpec().GetUrn(), Proto: proto,
		Environment: proto.GetEnvironmentId(),
		Inputs:      ports(proto.GetInputs()), Outputs: ports(proto.GetOutputs()),
	}
}

func ports(m map[string]string) []Port {
	ps := make([]Port, 0, len(m))
	for _, local := range slices.Sorted(maps.Keys(m)) {
		ps = append(ps, Port{Local: local, Collection: m[local]})
	}
	return ps
}

// classify decides the kind of a transform.
func (v *validator) classify(t *Transform) {
	subs := len(t.Proto.GetSubtransforms())
	kind := runnerKinds[t.URN]
	switch {
	case kind == Redistribute && (len(t.Inputs) != 1 || len(t.Outputs) != 1):
		// Not the shape that can be passed over: take what it is made of.
		t.Kind = Composite
		if subs == 0 {
			v.reject("transform %q (%s) has %d inputs and %d outputs; want one of each", t.Name, t.URN, len(t.Inputs), len(t.Outputs))
		}
	case kind != 0:
		t.Kind = kind
	case t.URN == urn.ParDo:
		t.Kind = SDK // some SDKs put what it was made from inside
	case subs > 0:
		t.Kind = Composite
	case Known(t.URN), t.URN != "" && t.Environment != "" && v.p.Capable(t.Environment, t.URN):
		t.Kind = SDK
	case passesOn(t):
		t.Kind = NoOp
	default:
		t.Kind = NoOp
		v.reject("transform %q: the runner does not know primitive %q, and neither does its environment %q announce it", t.Name, t.URN, t.Environment)
	}
	if t.Kind != SDK && t.Kind != Combine && t.Kind != Flatten {
		t.Environment = ""
	}
}

// passesOn reports whether all outputs of t are inputs too.
func passesOn(t *Transform) bool {
	for _, out := range t.Outputs {
		if !slices.ContainsFunc(t.Inputs, func(in Port) bool { return in.Collection == out.Collection }) {
			return false
		}
	}
	return true
}

// connected checks that each collection has a producer, and that there is no
// cycle, with combines as a whole and with combines opened up.
func (v *validator) connected() {
	for _, open := range []bool{false, true} {
		_, err := v.p.Leaves(func(*Transform) bool { return open })
		var r *Rejection
		if errors.As(err, &r) {
			for _, reason := range r.Reasons {
				v.reject("%s", reason)
			}
		}
	}
}

// decode reads a payload.
func (v *validator) decode(t *Transform, m proto.Message) bool {
	if err := proto.Unmarshal(t.Proto.GetSpec().GetPayload(), m); err != nil {
		v.reject("transform %q (%s): its payload is not a %s: %v", t.Name, t.URN, m.ProtoReflect().Descriptor().Name(), err)
		return false
	}
	return true
}
