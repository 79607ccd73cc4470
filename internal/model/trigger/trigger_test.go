package trigger

import (
	"errors"
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/trigger/triggertest"
)

func machine(t testing.TB, expr string, merging bool) *Machine {
	t.Helper()
	m, err := New(triggertest.MustParse(expr), merging)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run feeds a machine and writes what it does: "+" for an element, "." for a
// millisecond, "|" for the end of the window. A firing is "!", the last one "X".
func run(m *Machine, script string) string {
	s, c := m.Start(), Clock{Watermark: timestamp.Min, MaxTimestamp: 9}
	var out strings.Builder
	for _, r := range script {
		switch r {
		case '+':
			m.Add(s, c, 1)
		case '.':
			c.NowMS++
			c.SyncNowMS++
		case '|':
			c.Watermark = 10
		}
		out.WriteRune(r)
		if m.ShouldFire(s, c) {
			m.Fire(s, c)
			if s.Finished() {
				out.WriteByte('X')
				break
			}
			out.WriteByte('!')
		}
	}
	return out.String()
}

func TestFirings(t *testing.T) {
	for _, c := range []struct{ expr, want string }{
		{"default", "++|!+!+!"},
		{"never", "++...|++"},
		{"eow", "++|X"},
		{"count(2)", "++X"},
		{"repeat(count(2))", "++!++!|++!"},
		{"delay(2)", "+..X"},
		{"repeat(delay(2))", "+.+.!...+..!"},
		{"repeat(align(4,1))", ".+!..+..!.+...!"},
		{"repeat(delay(1)+align(4,0))", "+....!"},
		{"repeat(sync)", "+!..+!"},
		{"all(count(2),eow)", "+++|X"},
		{"all(count(2),eow)", "+|+X"},
		{"any(count(2),eow)", "++X"},
		{"any(count(2),eow)", "+|X"},
		{"each(count(1),count(2),eow)", "+!++!+|X"},
		{"each(eow,count(2))", "+++|!++X"},
		{"finally(repeat(count(2)),count(5))", "++!++!+X"},
		{"finally(repeat(count(2)),eow)", "++!+|X"},
		{"repeat(finally(repeat(count(2)),count(3)))", "++!+!++!+!"},
		{"eow(count(2))", "++!+|X"},
		{"eow(count(2),count(1))", "++!+|!+!+!"},
		{"eow(,count(2))", "+++|!++!"},
		{"eow(any(count(2),delay(3)))", "++!+...!+|X"},
		{"eow(all(count(2),delay(2)))", "++..!+..+!|X"},
		{"eow(each(count(1),count(2)))", "+!++!+!++!|X"},
		{"repeat(each(count(1),eow))", "+!+++|!+!+!"},
	} {
		script := strings.NewReplacer("!", "", "X", "").Replace(c.want)
		if got := run(machine(t, c.expr, false), script); got != c.want {
			t.Errorf("%s: got %s, want %s", c.expr, got, c.want)
		}
		// Without merges, it makes no difference that windows could merge, but
		// for parts that see elements before it is their turn, up to the next
		// firing: then they start afresh.
		if got := run(machine(t, c.expr, true), script); got != c.want && !strings.Contains(c.expr, "each(") {
			t.Errorf("%s, merging: got %s, want %s", c.expr, got, c.want)
		}
	}
}

func TestAlignBeforeOffset(t *testing.T) {
	n := node{steps: []step{{period: 10, offset: 25}}}
	for now, want := range map[int64]int64{0: 5, 5: 5, 6: 15, 25: 25, 26: 35, -6: -5, -5: -5, -4: 5} {
		if got := n.target(now); got != want {
			t.Errorf("target(%d) = %d, want %d", now, got, want)
		}
	}
	n = node{steps: []step{{delay: 1 << 62}, {delay: 1 << 62}, {period: 1 << 62, offset: -1 << 63}}}
	if got := n.target(1 << 62); got <= 0 || got > int64(timestamp.Max) {
		t.Errorf("huge delays end at %d", got)
	}
}

func TestBadTriggers(t *testing.T) {
	deep := triggertest.MustParse("default")
	for range maxDepth + 1 {
		deep = &pipepb.Trigger{Trigger: &pipepb.Trigger_Repeat_{Repeat: &pipepb.Trigger_Repeat{Subtrigger: deep}}}
	}
	wide := &pipepb.Trigger_AfterAny{}
	for range maxNodes {
		wide.Subtriggers = append(wide.Subtriggers, triggertest.MustParse("eow"))
	}
	for name, bad := range map[string]*pipepb.Trigger{
		"nil":             nil,
		"empty":           {},
		"no count":        triggertest.MustParse("count(0)"),
		"negative count":  triggertest.MustParse("repeat(count(-1))"),
		"no subtriggers":  {Trigger: &pipepb.Trigger_AfterAll_{AfterAll: &pipepb.Trigger_AfterAll{}}},
		"no subtrigger":   {Trigger: &pipepb.Trigger_Repeat_{}},
		"no finally":      triggertest.MustParse("finally(default)"),
		"no period":       triggertest.MustParse("align(0,5)"),
		"unset transform": {Trigger: &pipepb.Trigger_AfterProcessingTime_{AfterProcessingTime: &pipepb.Trigger_AfterProcessingTime{TimestampTransforms: []*pipepb.TimestampTransform{{}}}}},
		"deep":            deep,
		"wide":            {Trigger: &pipepb.Trigger_AfterAny_{AfterAny: wide}},
	} {
		if _, err := New(bad, false); !errors.Is(err, ErrBadTrigger) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnyComposition checks what is true of every trigger: it does not panic,
// ShouldFire changes nothing, states survive their encoding, what is finished
// does not fire, and the order of a merge makes no difference.
func TestAnyComposition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
		expr := triggertest.Random(pick, 3)
		merging := rapid.Bool().Draw(t, "merging")
		m, err := New(triggertest.MustParse(expr), merging)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		c := Clock{Watermark: timestamp.Min, MaxTimestamp: 9}
		states := []*State{m.Start(), m.Start(), m.Start()}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			i := pick(len(states))
			s := states[i]
			switch pick(6) {
			case 0, 1, 2:
				m.Add(s, c, int64(1+pick(3)))
			case 3:
				c.NowMS += int64(pick(12))
				c.SyncNowMS = c.NowMS
			case 4:
				c.Watermark = max(c.Watermark, timestamp.Time(pick(12)))
			case 5:
				var open []*State
				for _, s := range states {
					if !s.Finished() {
						open = append(open, s)
					}
				}
				if !merging || len(open) == 0 {
					continue
				}
				into, again := m.Start(), m.Start()
				m.Merge(into, c, open)
				slices.Reverse(open)
				m.Merge(again, c, open)
				if !same(into, again) {
					t.Fatalf("%s: the order of a merge matters: %v, %v", expr, into, again)
				}
				s = into
				states[i] = s
			}
			check(t, m, expr, s, c)
		}
	})
}

func check(t *rapid.T, m *Machine, expr string, s *State, c Clock) {
	enc := m.Append([]byte("x"), s)
	back, err := m.Decode(enc[1:])
	if err != nil || !same(s, back) {
		t.Fatalf("%s: %v became %v, %v", expr, s, back, err)
	}
	if m.Wakeup(s, c) <= c.NowMS {
		t.Fatalf("%s: wants to be asked in the past", expr)
	}
	due := m.ShouldFire(s, c)
	if !same(s, back) {
		t.Fatalf("%s: ShouldFire changed the state", expr)
	}
	if s.Finished() && due {
		t.Fatalf("%s: fires although it is finished", expr)
	}
	if due {
		m.Fire(s, c)
	}
}

func same(a, b *State) bool {
	return slices.Equal(a.finished, b.finished) && slices.Equal(a.value, b.value)
}

func FuzzDecode(f *testing.F) {
	f.Add("eow(any(count(2),delay(3)),count(1))", []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, expr string, b []byte) {
		tr, err := triggertest.Parse(expr)
		if err != nil {
			return
		}
		m, err := New(tr, true)
		if err != nil {
			return
		}
		s, err := m.Decode(b)
		if err != nil {
			return
		}
		c := Clock{Watermark: 10, MaxTimestamp: 9, NowMS: 5}
		m.Add(s, c, 2)
		if m.ShouldFire(s, c) {
			m.Fire(s, c)
		}
		m.Merge(s, c, []*State{s, m.Start()})
	})
}
