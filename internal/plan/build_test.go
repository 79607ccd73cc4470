package plan

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// stageOf returns the stage that runs a transform of a descriptor.
func stageOf(t *testing.T, p *Plan, id string) *Stage {
	t.Helper()
	for _, s := range p.Stages {
		if slices.Contains(s.Steps, id) || s.Group != nil && s.Group.Transform == id || s.Kind != SDK && slices.Contains(s.Transforms, id) {
			return s
		}
	}
	t.Fatalf("no stage runs %q:\n%v", id, p)
	return nil
}

func together(t *testing.T, p *Plan, a, b string, want bool) {
	t.Helper()
	if got := stageOf(t, p, a) == stageOf(t, p, b); got != want {
		t.Errorf("%s and %s in one stage: %v, want %v\n%v", a, b, got, want, p)
	}
}

func TestSiblingsShareAStage(t *testing.T) {
	p := plantest.New()
	kv := p.ParDo("make", "a", p.Impulse("impulse"), "kv")
	grouped := p.Runner("gbk", urn.GroupByKey, "gkv", kv)
	p.ParDo("x", "a", grouped, "bytes")
	p.ParDo("y", "a", grouped, "bytes")
	p.ParDo("z", "b", grouped, "bytes")
	plan := build(t, p.Pipeline, Options{})
	together(t, plan, "x", "y", true)
	together(t, plan, "x", "z", false)
	together(t, build(t, p.Pipeline, Options{NoFusion: true}), "x", "y", false)
}

func TestSideInputOfASiblingIsNotFused(t *testing.T) {
	p := plantest.New()
	in := p.Runner("shuffle", urn.Reshuffle, "bytes", p.ParDo("make", "a", p.Impulse("impulse"), "bytes"))
	x := p.ParDo("x", "a", in, "bytes")
	p.ParDo("y", "a", in, "bytes", x)
	plan := build(t, p.Pipeline, Options{})
	together(t, plan, "x", "y", false)
	if why := strings.Join(stageOf(t, plan, "y").Why, "; "); !strings.Contains(why, `side input "i1" depends on "x"`) {
		t.Errorf("why: %s", why)
	}
}

// TestSiblingDoesNotWaitForEndlessSideInput: in a stream, y may wait long for
// its side input, x and z beside it must not.
func TestSiblingDoesNotWaitForEndlessSideInput(t *testing.T) {
	for _, endless := range []bool{true, false} {
		p := plantest.New()
		events := p.Runner("events", urn.Reshuffle, "bytes", p.ParDo("make", "a", p.Impulse("i1"), "bytes"))
		slow := p.Runner("slow", urn.Reshuffle, "bytes", p.ParDo("tick", "a", p.Impulse("i2"), "bytes"))
		p.Unbounded(events)
		if endless {
			p.Unbounded(slow)
		}
		x := p.ParDo("x", "a", events, "bytes")
		y := p.ParDo("y", "a", x, "bytes", slow)
		p.ParDo("after", "a", y, "bytes")
		p.ParDo("z", "a", x, "bytes")
		plan := build(t, p.Pipeline, Options{})
		together(t, plan, "x", "z", true)
		together(t, plan, "y", "after", true)
		together(t, plan, "x", "y", !endless)
		if why := strings.Join(stageOf(t, plan, "y").Why, "; "); endless && !strings.Contains(why, `side input "i1", which goes on for ever`) {
			t.Errorf("why: %s", why)
		}
	}
}

// TestNoCycleThroughStages has b read x's output beside something that is
// fused with x: fusing b too would make x's stage wait for itself.
func TestNoCycleThroughStages(t *testing.T) {
	p := plantest.New()
	x := p.ParDo("x", "a", p.Impulse("impulse"), "kv")
	grouped := p.Runner("gbk", urn.GroupByKey, "gkv", x)
	side := p.ParDo("late", "a", grouped, "bytes")
	p.ParDo("y", "a", x, "bytes", side)
	plan := build(t, p.Pipeline, Options{})
	together(t, plan, "x", "y", false)
}

func TestFlattenIsSunk(t *testing.T) {
	p := plantest.New()
	a := p.ParDo("one", "a", p.Impulse("i1"), "bytes")
	b := p.ParDo("two", "b", p.Impulse("i2"), "bytes")
	flat := p.Runner("inner", urn.Flatten, "bytes", a, b)
	p.ParDo("read", "a", p.Runner("outer", urn.Flatten, "bytes", flat, a), "bytes", flat)
	plan := build(t, p.Pipeline, Options{})
	read := stageOf(t, plan, "read").Index
	got := stageOf(t, plan, "one").Outputs[0].Consumers
	main, side := Consumer{read, -1}, Consumer{read, 0}
	count := func(c Consumer) (n int) {
		for _, have := range got {
			if have == c {
				n++
			}
		}
		return n
	}
	if count(main) != 2 || count(side) != 1 || len(got) != 3 {
		t.Errorf("consumers of one: %v", got)
	}
}

func TestFlattenOfNothing(t *testing.T) {
	p := plantest.New()
	p.ParDo("read", "a", p.Runner("nothing", urn.Flatten, "bytes"), "bytes")
	plan := build(t, p.Pipeline, Options{})
	if len(plan.Stages) != 1 {
		t.Errorf("%v", plan)
	}
}

func TestFlattenRecodes(t *testing.T) {
	p := plantest.New()
	a := p.ParDo("one", "a", p.Impulse("i1"), "bytes")
	b := p.ParDo("two", "b", p.Impulse("i2"), "opaque")
	p.ParDo("read", "a", p.Runner("flat", urn.Flatten, "opaque", a, b), "bytes")
	plan := build(t, p.Pipeline, Options{})
	together(t, plan, "one", "flat/recode0", true)
	if len(stageOf(t, plan, "two").Steps) != 1 {
		t.Errorf("recoded for nothing:\n%v", plan)
	}
}

func TestGroupOutputOfAnotherCoderIsRecoded(t *testing.T) {
	p := plantest.New()
	kv := p.ParDo("make", "a", p.Impulse("impulse"), "kv")
	p.ParDo("read", "b", p.Runner("gbk", urn.GroupByKey, "opaque", kv), "bytes")
	plan := build(t, p.Pipeline, Options{})
	together(t, plan, "gbk/recode", "read", true)
}

func TestLifting(t *testing.T) {
	const end, earliest = pipepb.OutputTime_END_OF_WINDOW, pipepb.OutputTime_EARLIEST_IN_PANE
	for _, c := range []struct {
		windowing string
		combiner  pipepb.OutputTime_Enum
		o         Options
		lifted    bool
	}{
		{"global", end, Options{}, true},
		{"global", end, Options{NoLifting: true}, false},
		{"global", earliest, Options{}, false},
		{"sessions", end, Options{}, false},
		{"early", end, Options{}, false},
	} {
		p := plantest.New()
		p.Components.WindowingStrategies[c.windowing].OutputTime = c.combiner
		made := p.Windowed("okv", c.windowing)
		p.Add("make", urn.ParDo, "a", &pipepb.ParDoPayload{}, []string{p.Impulse("impulse")}, []string{made})
		p.Combine("sum", "a", made, "kv", "gokv")
		plan := build(t, p.Pipeline, c.o)
		lifted := slices.ContainsFunc(plan.Stages, func(s *Stage) bool { return slices.Contains(s.Steps, "sum/Precombine") })
		if lifted != c.lifted {
			t.Errorf("%+v: lifted %v", c, lifted)
		}
		if lifted {
			together(t, plan, "make", "sum/Precombine", true)
			together(t, plan, "sum/Merge", "sum/Extract", true)
		}
	}
}

func TestCombineWithoutExpansion(t *testing.T) {
	p := plantest.New()
	p.Combine("sum", "a", p.ParDo("make", "a", p.Impulse("impulse"), "kv"), "kv", "gkv")
	p.Components.Transforms["sum"].Subtransforms = nil
	plan := build(t, p.Pipeline, Options{NoLifting: true})
	stageOf(t, plan, "sum/CombineGroupedValues")
	stageOf(t, plan, "sum/Group")
}

func TestGroupStrategy(t *testing.T) {
	for _, c := range []struct {
		windowing string
		unbounded bool
		o         Options
		want      Strategy
	}{
		{"global", false, Options{}, Shuffle},
		{"sessions", false, Options{}, Shuffle},
		{"early", false, Options{}, Reduce},
		{"early", false, Options{Strategy: Shuffle}, Reduce},
		{"global", true, Options{}, Reduce},
		{"global", false, Options{Strategy: Reduce}, Reduce},
	} {
		p := plantest.New()
		made := p.Windowed("kv", c.windowing)
		if c.unbounded {
			p.Unbounded(made)
		}
		p.Add("make", urn.ParDo, "a", &pipepb.ParDoPayload{}, []string{p.Impulse("impulse")}, []string{made})
		p.Runner("gbk", urn.GroupByKey, "gkv", made)
		s := stageOf(t, build(t, p.Pipeline, c.o), "gbk")
		if s.Group.Strategy != c.want || s.Barrier == c.unbounded {
			t.Errorf("%+v: %v", c, s.Group.Strategy)
		}
	}
}

func TestTestStream(t *testing.T) {
	p := plantest.New()
	m := &pipepb.TestStreamPayload{CoderId: "kv", Events: []*pipepb.TestStreamPayload_Event{{
		Event: &pipepb.TestStreamPayload_Event_ElementEvent{ElementEvent: &pipepb.TestStreamPayload_Event_AddElements{
			Elements: []*pipepb.TestStreamPayload_TimestampedElement{{EncodedElement: []byte("\x01kv")}},
		}},
	}}}
	out := p.Collection("kv")
	p.Add("stream", urn.TestStream, "", m, nil, []string{out})
	p.Runner("gbk", urn.GroupByKey, "gkv", out)
	plan := build(t, p.Pipeline, Options{})
	if got := stageOf(t, plan, "gbk").Group.Strategy; got != Reduce {
		t.Errorf("a TestStream is grouped by %v, although bounded", got)
	}
	s := stageOf(t, plan, "stream")
	element := s.TestStream.GetEvents()[0].GetElementEvent().GetElements()[0].GetEncodedElement()
	if !bytes.Equal(element, []byte("\x03\x01kv")) {
		t.Errorf("element %q", element)
	}
	if u := plan.Coders[s.Outputs[0].Collection.Coder].GetSpec().GetUrn(); u != urn.CoderLengthPrefix {
		t.Errorf("coder %s", u)
	}
}

// The Go SDK names the bare coder of a type of its own, and writes the elements
// with the length in front that it always gives them.
func TestTestStreamOfGo(t *testing.T) {
	p := plantest.New()
	p.Components.Coders["go"] = &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: goCustomCoder}}
	p.Components.Coders["lpgo"] = &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: urn.CoderLengthPrefix}, ComponentCoderIds: []string{"go"}}
	m := &pipepb.TestStreamPayload{CoderId: "go", Events: []*pipepb.TestStreamPayload_Event{{
		Event: &pipepb.TestStreamPayload_Event_ElementEvent{ElementEvent: &pipepb.TestStreamPayload_Event_AddElements{
			Elements: []*pipepb.TestStreamPayload_TimestampedElement{{EncodedElement: []byte("\x02hi")}},
		}},
	}}}
	out := p.Collection("lpgo")
	p.Add("stream", urn.TestStream, "", m, nil, []string{out})
	p.ParDo("do", "a", out, "bytes")
	plan := build(t, p.Pipeline, Options{})
	s := stageOf(t, plan, "stream")
	element := s.TestStream.GetEvents()[0].GetElementEvent().GetElements()[0].GetEncodedElement()
	if !bytes.Equal(element, []byte("\x02hi")) {
		t.Errorf("element %q", element)
	}
	if id := s.Outputs[0].Collection.ID; id != out {
		t.Errorf("output %s, want %s without any recoding", id, out)
	}
}

func TestStatefulPayload(t *testing.T) {
	p := plantest.New()
	m := &pipepb.ParDoPayload{
		StateSpecs: map[string]*pipepb.StateSpec{
			"list": {Spec: &pipepb.StateSpec_OrderedListSpec{OrderedListSpec: &pipepb.OrderedListStateSpec{ElementCoderId: "varint"}}},
			"bag":  {Spec: &pipepb.StateSpec_BagSpec{BagSpec: &pipepb.BagStateSpec{ElementCoderId: "opaque"}}},
		},
		TimerFamilySpecs: map[string]*pipepb.TimerFamilySpec{
			"t":   {TimeDomain: pipepb.TimeDomain_PROCESSING_TIME, TimerFamilyCoderId: "whatever"},
			"end": {TimeDomain: pipepb.TimeDomain_EVENT_TIME},
		},
		OnWindowExpirationTimerFamilySpec: "end",
		RequiresTimeSortedInput:           true,
	}
	in := p.ParDo("make", "a", p.Impulse("impulse"), "okv")
	p.ParDoLike("state", "a", in, "bytes", m)
	plan := build(t, p.Pipeline, Options{})
	s := stageOf(t, plan, "state")
	if !s.Keyed || !s.Barrier || !s.TimeSorted || s.ExpiryTimers["state"] != "end" || len(s.Timers) != 2 || !s.Timers[1].Processing {
		t.Errorf("stage %+v", s)
	}
	var got pipepb.ParDoPayload
	if err := proto.Unmarshal(s.Descriptor.GetTransforms()["state"].GetSpec().GetPayload(), &got); err != nil {
		t.Fatal(err)
	}
	if id := got.GetStateSpecs()["bag"].GetBagSpec().GetElementCoderId(); id != "opaque" {
		t.Errorf("bag coder %q", id)
	}
	if c := plan.Coders[got.GetStateSpecs()["list"].GetOrderedListSpec().GetElementCoderId()]; c.GetSpec().GetUrn() != urn.CoderLengthPrefix {
		t.Errorf("list coder %v", c)
	}
	key := plan.Coders[got.GetTimerFamilySpecs()["t"].GetTimerFamilyCoderId()].GetComponentCoderIds()[0]
	if c := plan.Coders[key]; c.GetSpec().GetUrn() != urn.CoderLengthPrefix {
		t.Errorf("timer key coder %v", c)
	}
}

func TestSplittable(t *testing.T) {
	p := plantest.New()
	in := p.ParDo("make", "a", p.Impulse("impulse"), "bytes")
	p.ParDoLike("read", "a", in, "bytes", &pipepb.ParDoPayload{RestrictionCoderId: "opaque"})
	plan := build(t, p.Pipeline, Options{})
	together(t, plan, "make", "read/SplitAndSize", true)
	together(t, plan, "make", "read", false)
	if s := stageOf(t, plan, "read"); !s.Splittable {
		t.Errorf("stage %+v", s)
	}
	if plan.Origin["read/SplitAndSize"] != "read" {
		t.Errorf("origins %v", plan.Origin)
	}
}

// TestInseparable has a transform between a GroupByKey and its consumers, the
// output of which only the SDK understands.
func TestInseparable(t *testing.T) {
	p := plantest.New()
	kv := p.ParDo("make", "a", p.Impulse("impulse"), "kv")
	expanded := p.ParDo("expand", "a", p.Runner("gbk", urn.GroupByKey, "gkv", kv), "gokv")
	p.ParDo("read", "a", p.ParDo("join", "a", expanded, "bytes"), "bytes")
	plan := build(t, p.Pipeline, Options{NoFusion: true})
	together(t, plan, "expand", "join", true)
	together(t, plan, "join", "read", false)
}

func TestSpread(t *testing.T) {
	p := plantest.New()
	a := p.ParDo("make", "a", p.Impulse("impulse"), "bytes")
	b := p.Runner("shuffle", urn.RedistributeArbitrarily, "bytes", a)
	p.ParDo("direct", "a", b, "bytes")
	p.ParDo("flat", "a", p.Runner("flatten", urn.Flatten, "bytes", a, b), "bytes")
	plan := build(t, p.Pipeline, Options{})
	if !stageOf(t, plan, "direct").Spread || !stageOf(t, plan, "flat").Spread || stageOf(t, plan, "make").Spread {
		t.Errorf("%v", plan)
	}
}

func TestOddPrimitive(t *testing.T) {
	p := plantest.New()
	p.Add("odd", "test:odd:v1", "a", nil, []string{p.Impulse("impulse")}, []string{p.Collection("opaque")})
	build(t, p.Pipeline, Options{})
}

// A bounded restriction stays one when something unbounded is read beside it.
func TestSourcesAreKnownByWhatTheyPutOut(t *testing.T) {
	p := plantest.New()
	sdf := func() *pipepb.ParDoPayload { return &pipepb.ParDoPayload{RestrictionCoderId: "opaque"} }
	endless := p.ParDoLike("endless", "a", p.Impulse("i1"), "bytes", sdf())
	p.Unbounded(endless)
	read := p.ParDoLike("read", "a", p.Impulse("i2"), "bytes", sdf())
	p.ParDo("join", "a", read, "bytes", endless)
	plan := build(t, p.Pipeline, Options{})
	together(t, plan, "read", "join", true)
	for name, want := range map[string]bool{"endless": true, "read": false} {
		for _, s := range plan.Stages {
			if s.Splittable && s.Steps[0] == name && s.Source() != want {
				t.Errorf("%s: source %v, want %v", name, s.Source(), want)
			}
		}
	}
}
