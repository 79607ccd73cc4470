package plan

import (
	"slices"
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// checkPlan checks what is true of every plan.
func checkPlan(t *testing.T, p *pipeline.Pipeline, plan *Plan) {
	t.Helper()
	for i, s := range plan.Stages {
		if s.Index != i {
			t.Errorf("stage %q has index %d at %d", s.Name, s.Index, i)
		}
		checkStage(t, plan, s)
		if s.Kind == SDK {
			checkDescriptor(t, plan, s)
		}
	}
	checkReaders(t, plan)
	checkLeaves(t, p, plan)
}

func checkStage(t *testing.T, plan *Plan, s *Stage) {
	t.Helper()
	source := s.Kind == Impulse || s.Kind == TestStream
	if source != (s.Input == nil) {
		t.Errorf("stage %q: kind %v with input %v", s.Name, s.Kind, s.Input)
	}
	if (s.Kind == Group) != (s.Group != nil) || (s.Kind == SDK) != (s.Descriptor != nil) || (s.Kind == SDK) != (s.Environment != "") {
		t.Errorf("stage %q: not all of what %v needs", s.Name, s.Kind)
	}
	if s.Kind == SDK && plan.Environments[s.Environment] == nil {
		t.Errorf("stage %q: environment %q is missing", s.Name, s.Environment)
	}
	if s.Kind == SDK && len(s.Why) == 0 {
		t.Errorf("stage %q: no reason for a cut", s.Name)
	}
	for _, c := range crossing(s) {
		checkCollection(t, plan, s, c)
	}
	if s.Keyed {
		if kv := parse(t, plan, s.Input.Coder); kv.Kind != coder.KV {
			t.Errorf("stage %q: keyed, but its input has coder %v", s.Name, kv)
		}
	}
	for _, out := range s.Outputs {
		for _, c := range out.Consumers {
			if c.Stage <= s.Index {
				t.Errorf("stage %q (%d): stage %d reads its output, but is not behind", s.Name, s.Index, c.Stage)
				continue
			}
			to := plan.Stages[c.Stage].Input
			if c.Side >= 0 {
				to = plan.Stages[c.Stage].SideInputs[c.Side].Collection
			}
			if got, want := shape(plan, to.WindowedCoder), shape(plan, out.Collection.WindowedCoder); got != want {
				t.Errorf("stage %q: writes %s, but stage %d reads %s", s.Name, want, c.Stage, got)
			}
		}
	}
}

// crossing returns the collections that cross the border of a stage.
func crossing(s *Stage) []*Collection {
	var cs []*Collection
	if s.Input != nil {
		cs = append(cs, s.Input)
	}
	for _, side := range s.SideInputs {
		cs = append(cs, side.Collection)
	}
	for _, out := range s.Outputs {
		cs = append(cs, out.Collection)
	}
	return cs
}

func checkCollection(t *testing.T, plan *Plan, s *Stage, c *Collection) {
	t.Helper()
	if plan.Windowings[c.Windowing] == nil {
		t.Errorf("stage %q: windowing %q of %q is missing", s.Name, c.Windowing, c.ID)
	}
	w := parse(t, plan, c.WindowedCoder)
	if w.Kind != coder.WindowedValue || !w.Scannable() || w.Components[0].ID != c.Coder || w.Components[1].ID != c.WindowCoder {
		t.Errorf("stage %q: coder %v of %q is not what it should be", s.Name, w, c.ID)
	}
}

func parse(t *testing.T, plan *Plan, id string) *coder.Coder {
	t.Helper()
	c, err := coder.Parse(plan.Coders, id)
	if err != nil {
		t.Fatalf("coder %q: %v", id, err)
	}
	return c
}

// shape is a coder with all its components, as text.
func shape(plan *Plan, id string) string {
	c := plan.Coders[id]
	text := c.GetSpec().GetUrn() + string(c.GetSpec().GetPayload())
	for _, part := range c.GetComponentCoderIds() {
		text += "(" + shape(plan, part) + ")"
	}
	return text
}

// checkReaders checks that each main and side input is written by those that
// produce its parts, if anybody does.
func checkReaders(t *testing.T, plan *Plan) {
	t.Helper()
	type reader struct{ stage, side int }
	written := map[reader]int{}
	for _, s := range plan.Stages {
		for _, out := range s.Outputs {
			for _, c := range out.Consumers {
				written[reader{c.Stage, c.Side}]++
			}
		}
	}
	for _, s := range plan.Stages {
		if s.Input != nil && written[reader{s.Index, -1}] == 0 && slices.ContainsFunc(plan.Stages, func(from *Stage) bool {
			return slices.ContainsFunc(from.Outputs, func(o *Output) bool { return o.Collection.ID == s.Input.ID })
		}) {
			t.Errorf("stage %q: its input %q is written, but not for it", s.Name, s.Input.ID)
		}
	}
}

// checkLeaves checks that each leaf is executed: exactly once, but for parts
// that were made of it.
func checkLeaves(t *testing.T, p *pipeline.Pipeline, plan *Plan) {
	t.Helper()
	stages := map[string]int{} // by descriptor transform id
	origins := map[string]bool{}
	for _, s := range plan.Stages {
		for _, id := range s.Transforms {
			origins[id] = true
		}
		for id, tr := range s.Descriptor.GetTransforms() {
			if u := tr.GetSpec().GetUrn(); u != urn.DataSource && u != urn.DataSink {
				stages[id]++
				if o := plan.Origin[id]; p.Proto.GetComponents().GetTransforms()[id] == nil && p.Proto.GetComponents().GetTransforms()[o] == nil {
					t.Errorf("transform %q comes from nowhere", id)
				}
			}
		}
		if s.Group != nil {
			stages[s.Group.Transform]++
		}
	}
	for id, n := range stages {
		if n != 1 {
			t.Errorf("transform %q is in %d stages", id, n)
		}
	}
	leaves, err := p.Leaves(func(combine *pipeline.Transform) bool { return !origins[combine.ID] })
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range leaves {
		executed := leaf.Kind != pipeline.Flatten && leaf.Kind != pipeline.Redistribute
		if executed && !origins[leaf.ID] {
			t.Errorf("transform %q is in no stage", leaf.ID)
		}
	}
}

func checkDescriptor(t *testing.T, plan *Plan, s *Stage) {
	t.Helper()
	d := s.Descriptor
	produced := map[string]bool{}
	for id, tr := range d.GetTransforms() {
		for _, c := range tr.GetOutputs() {
			if produced[c] {
				t.Errorf("stage %q: %q is produced twice", s.Name, c)
			}
			produced[c] = true
			checkHas(t, s, "collection", c, d.GetPcollections())
		}
		for _, c := range tr.GetInputs() {
			checkHas(t, s, "collection", c, d.GetPcollections())
		}
		if env := tr.GetEnvironmentId(); env != "" {
			checkHas(t, s, "environment", env, d.GetEnvironments())
		}
		checkPort(t, s, id, tr)
		checkParDo(t, s, tr)
	}
	for _, tr := range d.GetTransforms() {
		for local, c := range tr.GetInputs() {
			side := slices.ContainsFunc(s.SideInputs, func(si *SideInput) bool { return si.Local == local && si.Collection.ID == c })
			if !side && !produced[c] {
				t.Errorf("stage %q: nobody produces %q, which %q reads", s.Name, c, tr.GetUniqueName())
			}
		}
	}
	for _, c := range d.GetPcollections() {
		checkHas(t, s, "coder", c.GetCoderId(), d.GetCoders())
		checkHas(t, s, "windowing", c.GetWindowingStrategyId(), d.GetWindowingStrategies())
	}
	for _, w := range d.GetWindowingStrategies() {
		checkHas(t, s, "coder", w.GetWindowCoderId(), d.GetCoders())
	}
	for _, c := range d.GetCoders() {
		for _, part := range c.GetComponentCoderIds() {
			checkHas(t, s, "coder", part, d.GetCoders())
		}
	}
}

func checkHas[V any](t *testing.T, s *Stage, what, id string, in map[string]V) {
	t.Helper()
	if _, ok := in[id]; !ok {
		t.Errorf("stage %q: %s %q is missing in its descriptor", s.Name, what, id)
	}
}

func checkPort(t *testing.T, s *Stage, id string, tr *pipepb.PTransform) {
	t.Helper()
	u := tr.GetSpec().GetUrn()
	isSink := slices.ContainsFunc(s.Outputs, func(o *Output) bool { return o.Port == id })
	if (u == urn.DataSource) != (id == s.InputPort) || (u == urn.DataSink) != isSink {
		t.Errorf("stage %q: %q (%s) is not the port that it should be", s.Name, id, u)
	}
	if u != urn.DataSource && u != urn.DataSink {
		return
	}
	var port fnpb.RemoteGrpcPort
	if err := proto.Unmarshal(tr.GetSpec().GetPayload(), &port); err != nil {
		t.Errorf("stage %q: port %q: %v", s.Name, id, err)
	}
	checkHas(t, s, "coder", port.GetCoderId(), s.Descriptor.GetCoders())
}

func checkParDo(t *testing.T, s *Stage, tr *pipepb.PTransform) {
	t.Helper()
	if tr.GetSpec().GetUrn() != urn.ParDo {
		return
	}
	var m pipepb.ParDoPayload
	if err := proto.Unmarshal(tr.GetSpec().GetPayload(), &m); err != nil {
		t.Errorf("stage %q: %q: %v", s.Name, tr.GetUniqueName(), err)
	}
	for _, spec := range m.GetStateSpecs() {
		for _, id := range pipeline.StateCoders(spec) {
			checkHas(t, s, "coder", *id, s.Descriptor.GetCoders())
		}
	}
	for _, spec := range m.GetTimerFamilySpecs() {
		checkHas(t, s, "coder", spec.GetTimerFamilyCoderId(), s.Descriptor.GetCoders())
	}
	if pipeline.Stateful(&m) && (!s.Keyed || tr.GetInputs()[mainInput(tr, &m)] != s.Input.ID) {
		t.Errorf("stage %q: %q has state, but is not at the head of a keyed stage", s.Name, tr.GetUniqueName())
	}
}

func mainInput(tr *pipepb.PTransform, m *pipepb.ParDoPayload) string {
	for local := range tr.GetInputs() {
		if m.GetSideInputs()[local] == nil {
			return local
		}
	}
	return ""
}
