package layout

import (
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// counter is a ParDo with a state and a timer.
func counter(state *pipepb.StateSpec, domain pipepb.TimeDomain_Enum) *pipepb.ParDoPayload {
	return &pipepb.ParDoPayload{
		StateSpecs:       map[string]*pipepb.StateSpec{"sum": state},
		TimerFamilySpecs: map[string]*pipepb.TimerFamilySpec{"end": {TimeDomain: domain, TimerFamilyCoderId: "timer"}},
	}
}

func bagOf(coder string) *pipepb.StateSpec {
	return &pipepb.StateSpec{Spec: &pipepb.StateSpec_BagSpec{BagSpec: &pipepb.BagStateSpec{ElementCoderId: coder}}}
}

func valueOf(coder string) *pipepb.StateSpec {
	return &pipepb.StateSpec{Spec: &pipepb.StateSpec_ReadModifyWriteSpec{ReadModifyWriteSpec: &pipepb.ReadModifyWriteStateSpec{CoderId: coder}}}
}

// stream is a pipeline: an unbounded collection of key-value pairs that a
// stateful DoFn counts and a GroupByKey groups, with a look at a side input.
type stream struct {
	*plantest.Pipeline
	made string
}

func newStream(coder string) *stream {
	s := &stream{Pipeline: plantest.New()}
	s.Components.Coders["timer"] = &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: urn.CoderTimer}, ComponentCoderIds: []string{"bytes", "gw"}}
	s.made = s.ParDo("make", "a", s.Impulse("impulse"), coder)
	s.Unbounded(s.made)
	return s
}

func (s *stream) layout(t *testing.T) *Layout {
	t.Helper()
	checked, err := pipeline.Validate(s.Pipeline.Pipeline)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Build(checked, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Of(s.Pipeline.Pipeline, p)
}

// full says that there is something of everything in each stage.
func full(l *Layout) []Content {
	some := Amount{Count: 2, Bytes: 20}
	all := make([]Content, len(l.Stages))
	for i, s := range l.Stages {
		if s.Kind != "impulse" {
			all[i].Queue = some
		}
		for id := range s.States {
			all[i].States = map[string]Amount{id: some}
		}
		for family := range s.Timers {
			all[i].Timers = map[string]Amount{family: some}
		}
		if s.Reduces {
			all[i].Grouped = some
		}
		for range s.Sides {
			all[i].Sides = append(all[i].Sides, some)
		}
	}
	return all
}

func counted(state *pipepb.StateSpec, domain pipepb.TimeDomain_Enum, coder string) *stream {
	s := newStream(coder)
	s.ParDoLike("count", "a", s.made, "bytes", counter(state, domain))
	return s
}

func grouped(windowing string) *stream {
	s := newStream("kv")
	s.Components.Pcollections[s.made].WindowingStrategyId = windowing
	s.Runner("group", urn.GroupByKey, "gkv", s.made)
	return s
}

const eventTime, processingTime = pipepb.TimeDomain_EVENT_TIME, pipepb.TimeDomain_PROCESSING_TIME

func TestMatch(t *testing.T) {
	plain := func() *stream { return counted(bagOf("bytes"), eventTime, "kv") }
	stateless := func() *stream {
		s := newStream("kv")
		s.ParDo("count", "a", s.made, "bytes") // fused with what makes its input
		return s
	}
	withSide := func(side bool) *stream {
		s := newStream("kv")
		names := s.ParDo("names", "a", s.Impulse("impulse of names"), "bytes")
		if side {
			s.ParDo("look", "b", s.made, "kv", names)
		} else {
			s.ParDo("look", "b", s.made, "kv")
		}
		return s
	}
	reshuffled := func(yes bool) *stream {
		s := newStream("kv")
		in := s.made
		if yes {
			in = s.Runner("reshuffle", urn.Reshuffle, "kv", s.made)
		}
		s.ParDo("after", "a", in, "kv")
		return s
	}
	for name, c := range map[string]struct {
		old, now *stream
		o        Options
		lost     []string // what the sentences say, each a part
	}{
		"the same":         {old: plain(), now: plain()},
		"grouped the same": {old: grouped("global"), now: grouped("global")},
		"side input":       {old: withSide(true), now: withSide(true)},
		"state of another coder": {
			old: plain(), now: counted(bagOf("varint"), eventTime, "kv"),
			lost: []string{`2 rows (20 bytes) of state "sum" of "count": it was bag<bytes> and is now bag<varint>`},
		},
		"state of another kind": {
			old: plain(), now: counted(valueOf("bytes"), eventTime, "kv"), lost: []string{"it was bag<bytes> and is now value<bytes>"},
		},
		"timer in another domain": {
			old: plain(), now: counted(bagOf("bytes"), processingTime, "kv"), lost: []string{`timers (20 bytes) "end" of "count"`},
		},
		"another key": {
			old: plain(), now: counted(bagOf("bytes"), eventTime, "okv"),
			lost: []string{"its input was encoded as", "its keys were encoded as bytes and are now length_prefix<test:coder>"},
		},
		"no such transform": {old: plain(), now: newStream("kv"), lost: []string{"on the way to", "that \"count\" keeps: the new pipeline has none of that name"}},
		"no state any more": {old: plain(), now: stateless(), lost: []string{"it does not begin a stage", "that \"count\" keeps: it has no state and no timers in the new pipeline"}},
		"another trigger":   {old: grouped("global"), now: grouped("early"), lost: []string{"windows, trigger or allowed lateness have changed"}},
		"other windows": {
			old: grouped("global"), now: grouped("sessions"), lost: []string{"its windows were encoded as", "its windows were encoded as global_window and are now interval_window"},
		},
		"a side input less": {old: withSide(true), now: withSide(false), lost: []string{`side input "i1" of "look": the new pipeline has no such`}},
		"a reshuffle less":  {old: reshuffled(true), now: reshuffled(false), lost: []string{`"after": it does not begin a stage in the new pipeline`}},
		"a reshuffle more":  {old: reshuffled(false), now: reshuffled(true)},
		"a side input more": {old: withSide(false), now: withSide(true), lost: []string{`side input "i1" of "look" is new`}},
	} {
		old, now := c.old.layout(t), c.now.layout(t)
		_, lost := Match(old, full(old), now, c.o)
		ok := len(lost) == len(c.lost)
		for i := range min(len(lost), len(c.lost)) {
			ok = ok && strings.Contains(lost[i], c.lost[i])
		}
		if !ok {
			t.Errorf("%s: lost\n  %s\nwant\n  %s", name, strings.Join(lost, "\n  "), strings.Join(c.lost, "\n  "))
		}
		if _, lost := Match(old, nil, now, c.o); len(lost) > 0 && !strings.Contains(lost[0], "is new") {
			t.Errorf("%s: there is nothing, and lost is %q", name, lost)
		}
	}
}

// A coder of which only the SDK's own part has changed fits if that is allowed.
func TestShapesOnly(t *testing.T) {
	build := func(payload string) *Layout {
		s := newStream("okv")
		s.Components.Coders["opaque"].Spec.Payload = []byte(payload)
		s.ParDoLike("count", "a", s.made, "bytes", counter(bagOf("opaque"), eventTime))
		return s.layout(t)
	}
	old, now := build("line 1"), build("line 2")
	if _, lost := Match(old, full(old), now, Options{}); len(lost) != 2 {
		t.Errorf("lost %q", lost)
	}
	if _, lost := Match(old, full(old), now, Options{ShapesOnly: true}); len(lost) != 0 {
		t.Errorf("with shapes only: lost %q", lost)
	}
}

// Rows have a schema with an id that is drawn at random.
func TestRowsOfOneSchema(t *testing.T) {
	form := func(id, field string) Form {
		schema := &pipepb.Schema{Id: id, Fields: []*pipepb.Field{{Name: field, Type: &pipepb.FieldType{TypeInfo: &pipepb.FieldType_RowType{
			RowType: &pipepb.RowType{Schema: &pipepb.Schema{Id: id + "inner"}},
		}}}}}
		payload := mustMarshal(t, schema)
		return newForms(map[string]*pipepb.Coder{"row": {Spec: &pipepb.FunctionSpec{Urn: urn.CoderRow, Payload: payload}}}).coder("row")
	}
	if a, b := form("x", "name"), form("y", "name"); a != b {
		t.Errorf("%v and %v are of one schema", a, b)
	}
	if a, b := form("x", "name"), form("x", "age"); a.Shape == b.Shape {
		t.Error("rows with other fields have the same shape")
	}
}

// Names are those of transforms or of composites above them; the longest counts.
func TestRename(t *testing.T) {
	m := &matcher{o: Options{Renamed: map[string]string{"a": "x", "a/b": "y", "c": "z"}}}
	for from, to := range map[string]string{"a": "x", "a/q": "x/q", "a/b": "y", "a/b/r": "y/r", "ab": "ab", "c": "z", "d": "d"} {
		if got := m.rename(from); got != to {
			t.Errorf("%s is renamed to %s, want %s", from, got, to)
		}
	}
}

// Siblings that are fused have one queue. It is for all of them, also when they
// are apart; one that has had the elements must not get them again.
func TestSiblings(t *testing.T) {
	l := func(stages ...[]string) *Layout {
		out := &Layout{}
		for _, names := range stages {
			out.Stages = append(out.Stages, Stage{Kind: "sdk", Takers: names, Steps: names})
		}
		return out
	}
	waiting := func(n int) []Content {
		all := make([]Content, n)
		for i := range all {
			all[i].Queue = Amount{Count: 1}
		}
		return all
	}
	targets, lost := Match(l([]string{"a", "b"}), waiting(1), l([]string{"b", "new"}, []string{"a"}), Options{})
	if len(lost) != 0 || !slices.Equal(targets[0].Queue, []int{1, 0}) {
		t.Errorf("parted: %+v, lost %q", targets, lost)
	}
	targets, lost = Match(l([]string{"a"}, []string{"b"}), waiting(2), l([]string{"a", "b"}), Options{})
	if len(lost) != 2 || !strings.Contains(lost[0], `"b", which has had them`) || len(targets[0].Queue) != 0 {
		t.Errorf("joined: %+v, lost %q", targets, lost)
	}
}

func mustMarshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
