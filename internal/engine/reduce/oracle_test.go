package reduce

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/trigger/triggertest"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// stream is a random input: what is done with a world, in order.
type stream struct {
	words  []string // options of the strategy
	blind  bool
	replay bool
	steps  []streamStep
}

type streamStep struct {
	elements  []timestamp.Time
	watermark timestamp.Time // if there are no elements and clock is 0
	clock     int64
}

func drawStream(t *rapid.T, windowing, trigger string) stream {
	s := stream{words: []string{
		windowing, "trigger=" + trigger,
		rapid.SampledFrom([]string{"mode=discarding", "mode=accumulating"}).Draw(t, "mode"),
		rapid.SampledFrom([]string{"lateness=0", "lateness=7", "lateness=1000"}).Draw(t, "lateness"),
		rapid.SampledFrom([]string{"timestamp=end", "timestamp=earliest", "timestamp=latest"}).Draw(t, "timestamp"),
		rapid.SampledFrom([]string{"closing=always", "closing=nonempty"}).Draw(t, "closing"),
		rapid.SampledFrom([]string{"ontime=always", "ontime=nonempty"}).Draw(t, "ontime"),
	}}
	s.blind = rapid.Bool().Draw(t, "blind")
	s.replay = rapid.Bool().Draw(t, "replay")
	ts := rapid.Custom(func(t *rapid.T) timestamp.Time { return timestamp.Time(rapid.IntRange(-10, 50).Draw(t, "ts")) })
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		switch rapid.IntRange(0, 5).Draw(t, "step") {
		case 0:
			s.steps = append(s.steps, streamStep{watermark: ts.Draw(t, "watermark")})
		case 1:
			s.steps = append(s.steps, streamStep{clock: int64(rapid.IntRange(1, 60).Draw(t, "clock"))})
		default:
			s.steps = append(s.steps, streamStep{elements: rapid.SliceOfN(ts, 1, 4).Draw(t, "elements")})
		}
	}
	s.steps = append(s.steps, streamStep{watermark: timestamp.Max})
	return s
}

// play runs the stream and returns the world and what went in: values by
// window they were assigned to, in order.
func (s stream) play(t *rapid.T) (*world, map[string][]string) {
	strategy, err := parseStrategy(s.words)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(strategy)
	if err != nil {
		t.Fatal(err)
	}
	w.blind = s.blind
	if s.replay {
		w.reducer.Replay()
	}
	w.kv["key.neighbour"], w.kv["key0"] = []byte("x"), []byte("y")
	in := map[string][]string{}
	n := 0
	for _, step := range s.steps {
		switch {
		case step.elements != nil:
			var elems []coder.Element
			for _, ts := range step.elements {
				n++
				value := fmt.Sprintf("%03d@%d", n, ts)
				windows := assign(strategy, ts)
				elems = append(elems, element(value, ts, windows...))
				for _, win := range windows {
					in[string(win)] = append(in[string(win)], value)
				}
			}
			err = w.add(elems...)
		case step.clock > 0:
			err = w.clock(step.clock)
		default:
			err = w.watermark(step.watermark)
		}
		if err != nil {
			t.Fatalf("%v: %+v: %v", s.words, step, err)
		}
	}
	return w, in
}

// TestAnyStream checks what is true for every strategy and input.
func TestAnyStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trigger := triggertest.Random(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }, 2)
		windowing := rapid.SampledFrom([]string{"fixed=10", "sliding=10/4", "sessions=8", "global"}).Draw(t, "windowing")
		s := drawStream(t, windowing, trigger)
		w, in := s.play(t)
		if k := w.kv.keys(); len(k) != 2 || len(w.timers) > 0 || len(w.holds) > 0 {
			t.Fatalf("%v: not all is forgotten: %q, %v, %v", s.words, k, w.timers, w.holds)
		}
		if w.output != timestamp.Max {
			t.Fatalf("%v: output watermark stops at %v", s.words, w.output)
		}
		checkPanes(t, w, s)
		checkValues(t, w, s, in)
	})
}

// checkPanes: the panes of a window are EARLY* ON_TIME? LATE*, well numbered,
// nothing comes after the last, and only late ones are behind the watermark.
func checkPanes(t *rapid.T, w *world, s stream) {
	last := map[string]pane{}
	for _, p := range w.panes {
		fail := func(format string, args ...any) {
			t.Fatalf("%v: %s: %s", s.words, fmt.Sprintf(format, args...), p.show(w.strategy.Kind))
		}
		maxTS, err := w.strategy.Kind.MaxTimestamp([]byte(p.window))
		if err != nil || p.timestamp > maxTS {
			fail("timestamp not in the window")
		}
		if p.behind && p.info.Timing != coder.Late && !s.blind {
			fail("behind the output watermark")
		}
		prev, ok := last[p.window]
		if ok && p.info.First {
			// A session can end and begin anew under the same name.
			if !w.strategy.Merging {
				fail("first again")
			}
			ok = false
		}
		if ok && prev.info.Last {
			fail("after the last")
		}
		want := coder.Pane{First: !ok, Last: p.info.Last, Timing: p.info.Timing}
		if ok {
			want.Index, want.NonSpeculative = prev.info.Index+1, prev.info.NonSpeculative+1
			if p.info.Timing < prev.info.Timing || p.info.Timing == coder.OnTime && prev.info.Timing == coder.OnTime {
				fail("after %v", prev.info.Timing)
			}
		}
		if p.info.Timing == coder.Early {
			want.NonSpeculative = -1
		}
		if p.info != want {
			fail("want %+v", want)
		}
		last[p.window] = p
	}
}

// checkValues: what came in comes out or is counted as dropped. With
// accumulating panes, each repeats the one before it.
func checkValues(t *rapid.T, w *world, s stream, in map[string][]string) {
	all, out := 0, map[string]int{}
	for _, values := range in {
		all += len(values)
	}
	before := map[string][]string{}
	emitted := 0
	for _, p := range w.panes {
		if !s.replay && !w.strategy.Merging && !slices.IsSorted(p.values) {
			t.Fatalf("%v: not in order of arrival: %v", s.words, p.values)
		}
		fresh := p.values
		if strings.Contains(s.words[2], "accumulating") && !w.strategy.Merging {
			old := before[p.window]
			if !slices.Equal(p.values[:min(len(old), len(p.values))], old) {
				t.Fatalf("%v: pane %v after %v", s.words, p.values, old)
			}
			before[p.window] = p.values
			fresh = p.values[len(old):]
		}
		for _, v := range fresh {
			if out[p.window+v]++; out[p.window+v] > 1 && !(w.strategy.Merging && s.words[2] == "mode=accumulating") {
				t.Fatalf("%v: %s twice in window %s", s.words, v, showWindow(w.strategy.Kind, []byte(p.window)))
			}
		}
		emitted += len(fresh)
	}
	if w.strategy.Merging && s.words[2] == "mode=accumulating" {
		distinct := map[string]bool{}
		for _, p := range w.panes {
			for _, v := range p.values {
				distinct[v] = true
			}
		}
		emitted = len(distinct)
	}
	if emitted+w.dropped != all {
		t.Fatalf("%v: %d in, %d out, %d dropped", s.words, all, emitted, w.dropped)
	}
}

// TestOracle compares with a model of a few triggers that is simple enough to
// be obviously right: one window, a list of values, counters.
func TestOracle(t *testing.T) {
	type model struct{ early, late int } // element counts, 0 for none; late -1: closes on time
	models := map[string]model{
		"default":                {0, 1},
		"eow":                    {0, -1},
		"eow(count(2))":          {2, -1},
		"eow(count(3),count(1))": {3, 1},
		"eow(count(1),count(2))": {1, 2},
		"eow(,count(3))":         {0, 3},
	}
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"default", "eow", "eow(count(2))", "eow(count(3),count(1))", "eow(count(1),count(2))", "eow(,count(3))"}
		name := rapid.SampledFrom(names).Draw(t, "trigger")
		s := drawStream(t, "fixed=10", name)
		s.blind, s.replay = false, false
		w, _ := s.play(t)
		want := map[string][]string{}
		for start := timestamp.Time(-10); start <= 50; start += 10 {
			var lines []string
			for _, p := range oracleWindow(s, w.strategy, models[name].early, models[name].late, start) {
				lines = append(lines, p.show(window.Interval))
			}
			want[string(window.AppendInterval(nil, start, start+10))] = lines
		}
		got := map[string][]string{}
		for _, p := range w.panes {
			p.behind = false
			got[p.window] = append(got[p.window], p.show(window.Interval))
		}
		for win, lines := range want {
			if !slices.Equal(lines, got[win]) {
				t.Fatalf("%v %+v\ngot  %q\nwant %q", s.words, s.steps, got[win], lines)
			}
		}
	})
}

// oracleWindow returns the panes of the window [start, start+10).
func oracleWindow(s stream, strategy *window.Strategy, early, late int, start timestamp.Time) []pane {
	var (
		panes            []pane
		all, fresh       []string
		stamps           []timestamp.Time // of elements that came in time
		seen, closed     bool
		onTime, finished bool
		nonSpec          int64
		watermark        = timestamp.Min
		end              = start + 9
		expiry           = end.Add(strategy.AllowedLatenessMS)
		n                int
	)
	fire := func(timing coder.Timing, last bool) {
		p := pane{window: string(window.AppendInterval(nil, start, start+10)), timestamp: end}
		p.info = coder.Pane{Timing: timing, First: len(panes) == 0, Last: last, Index: int64(len(panes)), NonSpeculative: -1}
		if timing != coder.Early {
			p.info.NonSpeculative = nonSpec
		}
		if len(stamps) > 0 && strategy.Combiner == pipepb.OutputTime_EARLIEST_IN_PANE {
			p.timestamp = slices.Min(stamps)
		}
		if len(stamps) > 0 && strategy.Combiner == pipepb.OutputTime_LATEST_IN_PANE {
			p.timestamp = slices.Max(stamps)
		}
		p.values = fresh
		if strategy.Accumulation == pipepb.AccumulationMode_ACCUMULATING {
			p.values = all
		}
		if len(fresh) > 0 || timing == coder.OnTime && strategy.OnTimeAlways || last && strategy.ClosingAlways {
			panes = append(panes, p)
			if timing != coder.Early {
				nonSpec++
			}
		}
		fresh, stamps = nil, nil
		closed = closed || last
	}
	// outputWatermark does not matter here: it is at most the watermark, and
	// other windows may hold it back, so the stream is replayed with a world
	// of its own to know it.
	outputs := s.outputs()
	for i, step := range s.steps {
		if step.elements == nil {
			if step.clock == 0 {
				watermark = max(watermark, step.watermark)
			}
			if watermark > end && seen && !closed && !onTime {
				onTime = true
				fire(coder.OnTime, watermark > expiry || late < 0)
			} else if watermark > expiry && seen && !closed && !finished {
				fire(coder.Late, true)
			}
			finished = finished || watermark > expiry
			continue
		}
		came := 0
		for _, ts := range step.elements {
			n++
			if ts < start || ts > end {
				continue
			}
			if watermark > expiry || closed {
				continue // dropped
			}
			seen = true
			came++
			v := fmt.Sprintf("%03d@%d", n, ts)
			all, fresh = append(all[:len(all):len(all)], v), append(fresh, v)
			contributes := ts
			if strategy.Combiner == pipepb.OutputTime_END_OF_WINDOW {
				contributes = end
			}
			if watermark <= end && contributes >= outputs[i] {
				stamps = append(stamps, ts)
			}
		}
		switch {
		case came == 0:
		case watermark <= end:
			if early > 0 && len(fresh) >= early {
				fire(coder.Early, false)
			}
		case !onTime:
			// The window is new although its end has passed: the watermark
			// trigger is due at once.
			onTime = true
			timing := coder.OnTime
			if outputs[i] > end {
				timing = coder.Late
			}
			fire(timing, late < 0)
		case late > 0 && len(fresh) >= late:
			fire(coder.Late, false)
		}
	}
	return panes
}

// outputs returns the output watermark before each step.
func (s stream) outputs() []timestamp.Time {
	strategy, err := parseStrategy(s.words)
	if err != nil {
		panic(err)
	}
	w, err := newWorld(strategy)
	if err != nil {
		panic(err)
	}
	var outputs []timestamp.Time
	for _, step := range s.steps {
		outputs = append(outputs, w.output)
		switch {
		case step.elements != nil:
			var elems []coder.Element
			for _, ts := range step.elements {
				elems = append(elems, element("", ts, assign(strategy, ts)...))
			}
			err = w.add(elems...)
		case step.clock > 0:
			err = w.clock(step.clock)
		default:
			err = w.watermark(step.watermark)
		}
		if err != nil {
			panic(err)
		}
	}
	return outputs
}

// TestMergeOrders adds elements of sessions in every order: the result is the
// same, whatever windows have been merged on the way.
func TestMergeOrders(t *testing.T) {
	for _, timestamps := range [][]timestamp.Time{
		{0, 5, 9, 14, 30}, {0, 12, 24, 6, 18}, {3, 3, 20, 11, 28}, {0, 10, 20, 30, 40},
	} {
		for _, stamp := range []string{"earliest", "latest", "end"} {
			var want string
			permute(slices.Clone(timestamps), 0, func(order []timestamp.Time) {
				strategy, err := parseStrategy([]string{"sessions=8", "timestamp=" + stamp})
				if err != nil {
					t.Fatal(err)
				}
				w, err := newWorld(strategy)
				if err != nil {
					t.Fatal(err)
				}
				for _, ts := range order {
					if err := w.add(element(fmt.Sprint(ts), ts, assign(strategy, ts)...)); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.watermark(timestamp.Max); err != nil {
					t.Fatal(err)
				}
				slices.SortFunc(w.panes, func(a, b pane) int { return cmp.Compare(a.window, b.window) })
				var lines []string
				for _, p := range w.panes {
					slices.Sort(p.values)
					lines = append(lines, p.show(window.Interval))
				}
				got := strings.Join(lines, "\n")
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("order %v\ngot\n%s\nwant\n%s", order, got, want)
				}
			})
		}
	}
}

// permute calls fn with every order of s[at:].
func permute(s []timestamp.Time, at int, fn func([]timestamp.Time)) {
	if at == len(s) {
		fn(s)
		return
	}
	for i := at; i < len(s); i++ {
		s[at], s[i] = s[i], s[at]
		permute(s, at+1, fn)
		s[at], s[i] = s[i], s[at]
	}
}
