package pipeline_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// small is a pipeline with one of most things.
func small() *plantest.Pipeline {
	p := plantest.New()
	kv := p.ParDo("make", "a", p.Impulse("impulse"), "kv")
	grouped := p.Runner("gbk", urn.GroupByKey, "gkv", kv)
	p.ParDo("read", "a", p.Runner("flat", urn.Flatten, "gkv", grouped, grouped), "bytes", kv)
	p.Combine("sum", "a", kv, "kv", "gkv")
	return p
}

// elementFor is a TestStream script of one event, for the output with a tag.
func elementFor(tag string) []*pipepb.TestStreamPayload_Event {
	return []*pipepb.TestStreamPayload_Event{{Event: &pipepb.TestStreamPayload_Event_ElementEvent{
		ElementEvent: &pipepb.TestStreamPayload_Event_AddElements{Tag: tag}}}}
}

func TestRejections(t *testing.T) {
	payload := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	parDo := func(edit func(*pipepb.ParDoPayload)) func(*plantest.Pipeline) {
		return func(p *plantest.Pipeline) {
			m := &pipepb.ParDoPayload{}
			edit(m)
			p.Components.Transforms["make"].Spec.Payload = payload(m)
		}
	}
	for name, c := range map[string]struct {
		edit func(p *plantest.Pipeline)
		want string
	}{
		"requirement":        {func(p *plantest.Pipeline) { p.Requirements = []string{"x:y"} }, `requirement "x:y"`},
		"root missing":       {func(p *plantest.Pipeline) { p.RootTransformIds = append(p.RootTransformIds, "no") }, `transform "no" is referred to but missing`},
		"collection missing": {func(p *plantest.Pipeline) { delete(p.Components.Pcollections, "c2") }, `PCollection "c2", its "i0", is missing`},
		"no producer":        {func(p *plantest.Pipeline) { p.Components.Transforms["make"].Outputs = nil }, `no transform produces its input "i0"`},
		"two producers": {func(p *plantest.Pipeline) { p.Components.Transforms["impulse"].Outputs["i0"] = "c2" },
			`PCollection "c2" is produced by "impulse" and by "make"`},
		"cycle": {func(p *plantest.Pipeline) { p.Components.Transforms["make"].Inputs["i0"] = "c4" }, "in a cycle"},
		"contains itself": {func(p *plantest.Pipeline) {
			p.Add("outer", "", "", nil, nil, nil).Subtransforms = []string{"inner"}
			p.Add("inner", "", "", nil, nil, nil).Subtransforms = []string{"outer"}
			p.RootTransformIds = append(p.RootTransformIds, "outer")
		}, `transform "outer" contains itself`},
		"coder missing": {func(p *plantest.Pipeline) { delete(p.Components.Coders, "kv") }, `unknown coder id "kv"`},
		"coder cycle":   {func(p *plantest.Pipeline) { p.Components.Coders["kv"].ComponentCoderIds[0] = "kv" }, `component of itself`},
		"opaque cycle": {func(p *plantest.Pipeline) {
			p.Components.Coders["opaque"].ComponentCoderIds = []string{"ok"}
			p.Components.Coders["ok"] = p.Components.Coders["opaque"]
		}, `contains itself`},
		"opaque component": {func(p *plantest.Pipeline) { p.Components.Coders["opaque"].ComponentCoderIds = []string{"no"} }, `component "no" is missing`},
		"kv of one":        {func(p *plantest.Pipeline) { p.Components.Coders["kv"].ComponentCoderIds = []string{"bytes"} }, `has 1 components`},
		"not keyed":        {func(p *plantest.Pipeline) { p.Components.Pcollections["c2"].CoderId = "bytes" }, `grouping by key needs key-value pairs`},
		"combine unkeyed":  {func(p *plantest.Pipeline) { p.Components.Pcollections["c2"].CoderId = "bytes" }, `combining per key needs key-value pairs`},
		"no windowing":     {func(p *plantest.Pipeline) { delete(p.Components.WindowingStrategies, "global") }, `windowing strategy "global"`},
		"no window coder":  {func(p *plantest.Pipeline) { delete(p.Components.Coders, "gw") }, `windowing strategy "global"`},
		"no environment":   {func(p *plantest.Pipeline) { p.Components.Transforms["make"].EnvironmentId = "" }, `has no environment`},
		"environment gone": {func(p *plantest.Pipeline) { p.Components.Transforms["make"].EnvironmentId = "c" },
			`transform "make": its environment "c" is missing`},
		"payload":      {func(p *plantest.Pipeline) { p.Components.Transforms["make"].Spec.Payload = []byte{0xff} }, `is not a ParDoPayload`},
		"unknown leaf": {func(p *plantest.Pipeline) { p.Components.Transforms["make"].Spec.Urn = "x:y" }, `does not know primitive "x:y"`},
		"side input missing": {parDo(func(m *pipepb.ParDoPayload) { m.SideInputs = map[string]*pipepb.SideInput{"s": {}} }),
			`side input "s" is not among its inputs`},
		"access pattern": {parDo(func(m *pipepb.ParDoPayload) { m.SideInputs = map[string]*pipepb.SideInput{"i0": {}} }),
			`unknown access pattern ""`},
		"no main input": {parDo(func(m *pipepb.ParDoPayload) { m.SideInputs = map[string]*pipepb.SideInput{"i0": {}} }), `has 0 main inputs`},
		"state unkeyed": {parDo(func(m *pipepb.ParDoPayload) {
			m.TimerFamilySpecs = map[string]*pipepb.TimerFamilySpec{"t": {TimeDomain: pipepb.TimeDomain_EVENT_TIME}}
		}), `state or timers needs key-value pairs`},
		"state kind":   {parDo(func(m *pipepb.ParDoPayload) { m.StateSpecs = map[string]*pipepb.StateSpec{"s": {}} }), `state "s" is of an unknown kind`},
		"timer domain": {parDo(func(m *pipepb.ParDoPayload) { m.TimerFamilySpecs = map[string]*pipepb.TimerFamilySpec{"t": {}} }), `time domain`},
		"expiry":       {parDo(func(m *pipepb.ParDoPayload) { m.OnWindowExpirationTimerFamilySpec = "t" }), `its timer family for window expiration`},
		"restriction":  {parDo(func(m *pipepb.ParDoPayload) { m.RestrictionCoderId = "no" }), `restrictions of "make"`},
		"custom merging": {func(p *plantest.Pipeline) {
			p.Components.WindowingStrategies["global"] = &pipepb.WindowingStrategy{
				WindowFn: &pipepb.FunctionSpec{Urn: "x:fn"}, WindowCoderId: "iw", MergeStatus: pipepb.MergeStatus_NEEDS_MERGE,
			}
		}, `WindowFn "x:fn", whose environment "" is missing`},
		"test event for nobody": {func(p *plantest.Pipeline) {
			p.Add("stream", urn.TestStream, "", &pipepb.TestStreamPayload{CoderId: "bytes", Events: elementFor("x")}, nil, []string{p.Collection("bytes")})
		}, `a TestStream event for output "x", which does not exist`},
		"untagged test event": {func(p *plantest.Pipeline) {
			p.Add("stream", urn.TestStream, "", &pipepb.TestStreamPayload{CoderId: "bytes", Events: elementFor("")}, nil, []string{p.Collection("bytes"), p.Collection("bytes")})
		}, `a TestStream event for output "", which does not exist`},
		"test events twice": {func(p *plantest.Pipeline) {
			p.Add("stream", urn.TestStream, "", &pipepb.TestStreamPayload{CoderId: "bytes", Events: elementFor(""),
				Endpoint: &pipepb.ApiServiceDescriptor{Url: "h:1"}}, nil, []string{p.Collection("bytes")})
		}, `takes them from a service (h:1)`},
	} {
		t.Run(name, func(t *testing.T) {
			p := small()
			c.edit(p)
			_, err := pipeline.Validate(p.Pipeline)
			var r *pipeline.Rejection
			if !errors.As(err, &r) {
				t.Fatalf("want a rejection, have %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q in:\n%v", c.want, err)
			}
		})
	}
}

func TestAllReasonsAtOnce(t *testing.T) {
	p := small()
	p.Requirements = []string{"x:y"}
	p.Components.Transforms["make"].EnvironmentId = ""
	p.Components.Transforms["read"].Spec.Urn = "x:z"
	_, err := pipeline.Validate(p.Pipeline)
	var r *pipeline.Rejection
	if !errors.As(err, &r) || len(r.Reasons) != 3 {
		t.Errorf("%v", err)
	}
}

func TestRootsAreDerived(t *testing.T) {
	p := small()
	p.RootTransformIds = nil
	v, err := pipeline.Validate(p.Pipeline)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Roots) != 6 {
		t.Errorf("%d roots", len(v.Roots))
	}
}

func TestLeaves(t *testing.T) {
	p := small()
	in := p.Impulse("other")
	p.Add("nothing", "x:composite", "", nil, []string{in}, []string{in})
	v, err := pipeline.Validate(p.Pipeline)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		open bool
		want string
	}{
		{false, "impulse make gbk flat read sum other"},
		{true, "impulse make gbk flat read sum/gbk sum/values other"},
	} {
		leaves, err := v.Leaves(func(*pipeline.Transform) bool { return c.open })
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, l := range leaves {
			ids = append(ids, l.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("open %v: %s, want %s", c.open, got, c.want)
		}
	}
}

// TestWindowCoders wraps window coders that the runner could not read.
func TestWindowCoders(t *testing.T) {
	p := small()
	p.Components.WindowingStrategies["global"] = &pipepb.WindowingStrategy{
		WindowFn: &pipepb.FunctionSpec{Urn: "x:fn"}, WindowCoderId: "opaque",
	}
	v, err := pipeline.Validate(p.Pipeline)
	if err != nil {
		t.Fatal(err)
	}
	c := v.Coders[v.Windowings["global"].GetWindowCoderId()]
	if c.GetSpec().GetUrn() != urn.CoderCustomWindow || v.Coders[c.GetComponentCoderIds()[0]].GetSpec().GetUrn() != urn.CoderLengthPrefix {
		t.Errorf("window coder %v", c)
	}
	if p.Components.WindowingStrategies["global"].GetWindowCoderId() != "opaque" {
		t.Error("the proto was changed")
	}
}

// Only where an SDK lets its users choose is a ClosingBehavior theirs.
func TestClosingBehavior(t *testing.T) {
	for sdk, want := range map[string]pipepb.ClosingBehavior_Enum{
		"beam:version:sdk_base:apache/beam_java11_sdk:2.73.0":     pipepb.ClosingBehavior_EMIT_ALWAYS,
		"beam:version:sdk_base:apache/beam_python3.11_sdk:2.77.0": pipepb.ClosingBehavior_EMIT_IF_NONEMPTY,
		"test:other:v1": pipepb.ClosingBehavior_EMIT_ALWAYS,
	} {
		p := plantest.New()
		p.Components.Environments["a"].Capabilities = []string{"test:odd:v1", sdk}
		p.Components.WindowingStrategies["global"].EnvironmentId = "a"
		p.Components.WindowingStrategies["global"].ClosingBehavior = pipepb.ClosingBehavior_EMIT_ALWAYS
		p.ParDo("read", "a", p.Impulse("impulse"), "bytes")
		view, err := pipeline.Validate(p.Pipeline)
		if err != nil {
			t.Fatal(err)
		}
		if got := view.Windowings["global"].GetClosingBehavior(); got != want {
			t.Errorf("%s: %v", sdk, got)
		}
		if got := view.Strategies["global"].ClosingAlways; got != (want == pipepb.ClosingBehavior_EMIT_ALWAYS) {
			t.Errorf("%s: always %v", sdk, got)
		}
	}
}

func TestDeepNesting(t *testing.T) {
	p := plantest.New()
	inner := "c"
	for i := range 5000 {
		id := strings.Repeat("c", i%7+1) + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		p.Add(id, "", "", nil, nil, nil).Subtransforms = []string{inner}
		inner = id
	}
	p.RootTransformIds = []string{inner}
	if _, err := pipeline.Validate(p.Pipeline); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("%v", err)
	}
}

func FuzzValidate(f *testing.F) {
	paths, _ := filepath.Glob("../testdata/go-*.pb")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	data, _ := proto.Marshal(small().Pipeline)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &pipepb.Pipeline{}
		if proto.Unmarshal(data, p) != nil {
			return
		}
		_, err := pipeline.Validate(p)
		var r *pipeline.Rejection
		if err != nil && (!errors.As(err, &r) || len(r.Reasons) == 0) {
			t.Errorf("not a rejection: %v", err)
		}
	})
}

// An empty pipeline has nothing to do, and that is no error.
func TestEmptyPipeline(t *testing.T) {
	p, err := pipeline.Validate(&pipepb.Pipeline{})
	if err != nil || len(p.Roots) != 0 {
		t.Errorf("%v", err)
	}
}
