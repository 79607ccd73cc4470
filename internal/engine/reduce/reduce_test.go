package reduce

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/trigger/triggertest"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// custom makes a window of a user: its end, and a name.
func custom(end timestamp.Time, name string) []byte {
	return append(timestamp.Append(nil, end), name...)
}

// customWorld groups by custom windows. All windows whose names begin with the
// same letter merge into one, with the latest end and their names joined.
func customWorld(t *testing.T, trigger string) *world {
	t.Helper()
	s, err := parseStrategy([]string{"trigger=" + trigger, "mode=accumulating"})
	if err != nil {
		t.Fatal(err)
	}
	s.Kind, s.Merging, s.CustomMerge = window.Custom, true, true
	w, err := newWorld(s)
	if err != nil {
		t.Fatal(err)
	}
	w.merge = func(windows [][]byte) ([]MergedWindow, error) {
		byLetter := map[byte]*MergedWindow{}
		var letters []byte
		ends, names := map[byte]timestamp.Time{}, map[byte]string{}
		for _, win := range windows {
			l := win[timestamp.EncodedLen]
			if byLetter[l] == nil {
				byLetter[l] = &MergedWindow{}
				letters = append(letters, l)
			}
			byLetter[l].From = append(byLetter[l].From, win)
			ends[l] = max(ends[l], timestamp.Decode(win))
			names[l] += string(win[timestamp.EncodedLen:])
		}
		var merged []MergedWindow
		for _, l := range letters {
			if len(byLetter[l].From) > 1 {
				byLetter[l].Result = custom(ends[l], names[l])
				merged = append(merged, *byLetter[l])
			}
		}
		return merged, nil
	}
	return w
}

func shown(w *world) string {
	var lines []string
	for _, p := range w.take() {
		lines = append(lines, p.show(w.strategy.Kind))
	}
	return strings.Join(lines, "\n")
}

func TestCustomMerge(t *testing.T) {
	w := customWorld(t, "eow(count(3))")
	for _, e := range []coder.Element{
		element("1", 0, custom(9, "a")),
		element("2", 0, custom(9, "b")),
		element("3", 0, custom(19, "a")),
	} {
		if err := w.add(e); err != nil {
			t.Fatal(err)
		}
	}
	if got := shown(w); got != "" {
		t.Errorf("fired early: %s", got)
	}
	if err := w.add(element("4", 0, custom(5, "a"))); err != nil {
		t.Fatal(err)
	}
	if got, want := shown(w), "<19 aaa> [1 3 4] at 19 EARLY #0 first"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := w.watermark(timestamp.Max); err != nil {
		t.Fatal(err)
	}
	if got, want := shown(w), "<9 b> [2] at 9 ON_TIME #0/0 first last\n<19 aaa> [1 3 4] at 19 ON_TIME #1/0 last"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(w.kv)+len(w.timers)+len(w.holds) > 0 {
		t.Errorf("left: %q %v %v", w.kv.keys(), w.timers, w.holds)
	}
}

func TestBadMerges(t *testing.T) {
	a, b, c := custom(9, "a"), custom(9, "b"), custom(9, "c")
	boom := errors.New("boom")
	for name, merge := range map[string]Merge{
		"nobody":         nil,
		"failing":        func([][]byte) ([]MergedWindow, error) { return nil, boom },
		"unknown window": func([][]byte) ([]MergedWindow, error) { return []MergedWindow{{Result: a, From: [][]byte{c}}}, nil },
		"twice": func([][]byte) ([]MergedWindow, error) {
			return []MergedWindow{{Result: c, From: [][]byte{a}}, {Result: custom(1, "d"), From: [][]byte{a}}}, nil
		},
		"same result": func([][]byte) ([]MergedWindow, error) {
			return []MergedWindow{{Result: c, From: [][]byte{a}}, {Result: c, From: [][]byte{b}}}, nil
		},
		"merged result": func([][]byte) ([]MergedWindow, error) {
			return []MergedWindow{{Result: b, From: [][]byte{a}}, {Result: c, From: [][]byte{b}}}, nil
		},
		"malformed": func([][]byte) ([]MergedWindow, error) {
			return []MergedWindow{{Result: []byte("x"), From: [][]byte{a, b}}}, nil
		},
	} {
		w := customWorld(t, "default")
		if err := w.add(element("1", 0, a)); err != nil {
			t.Fatal(err)
		}
		w.merge = merge
		err := w.add(element("2", 0, b))
		if !errors.Is(err, ErrBadMerge) && !errors.Is(err, boom) && !errors.Is(err, window.ErrBadWindow) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestMergeIntoExisting: the result of a merge may be a window of the key,
// even if the SDK does not list it, and may be closed.
func TestMergeIntoExisting(t *testing.T) {
	a, b := custom(9, "a"), custom(9, "b")
	w := customWorld(t, "default")
	w.merge = func([][]byte) ([]MergedWindow, error) { return []MergedWindow{{Result: b, From: [][]byte{a}}}, nil }
	for i, win := range [][]byte{b, a} {
		if err := w.add(element(fmt.Sprint(i), 0, win)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.watermark(10); err != nil {
		t.Fatal(err)
	}
	if got, want := shown(w), "<9 b> [0 1] at 9 ON_TIME #0/0 first last"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	w = customWorld(t, "count(2)")
	merge := w.merge
	w.merge = func(windows [][]byte) ([]MergedWindow, error) { return nil, nil }
	if err := w.add(element("0", 0, b), element("1", 0, b)); err != nil { // closes b
		t.Fatal(err)
	}
	w.merge = func([][]byte) ([]MergedWindow, error) {
		return []MergedWindow{{Result: b, From: [][]byte{a, custom(8, "a")}}}, nil
	}
	if err := w.add(element("2", 0, a), element("3", 0, custom(8, "a"))); err != nil {
		t.Fatal(err)
	}
	w.merge = merge
	if got, want := shown(w), "<9 b> [0 1] at 9 EARLY #0 first last\n<9 b> [2 3] at 9 EARLY #0 first last"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := w.watermark(10); err != nil || len(w.kv)+len(w.timers)+len(w.holds) > 0 {
		t.Errorf("left: %q %v %v, %v", w.kv.keys(), w.timers, w.holds, err)
	}
}

// TestSeveralCustomWindows needs the help of a scanner, who knows the coder.
func TestSeveralCustomWindows(t *testing.T) {
	s, _ := parseStrategy([]string{})
	s.Kind = window.Custom
	r, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := newWorld(s)
	e := element("1", 0, custom(9, "a"), custom(9, "b"))
	env := w.env()
	if err := r.Elements(env, nil, []coder.Element{e}); !errors.Is(err, errManyWindows) {
		t.Errorf("error %v", err)
	}
	env.Windows = func(e *coder.Element, fn func([]byte) error) error {
		for win := range slices.Chunk(e.Windows, timestamp.EncodedLen+1) {
			if err := fn(win); err != nil {
				return err
			}
		}
		return nil
	}
	if err := r.Elements(env, nil, []coder.Element{e}); err != nil || len(w.timers) != 2 {
		t.Errorf("%v, %v", w.timers, err)
	}
}

// TestBigBags moves and reads bags of many chunks, with values of all sizes.
func TestBigBags(t *testing.T) {
	s, _ := parseStrategy([]string{"sessions=10"})
	w, err := newWorld(s)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	add := func(ts timestamp.Time, n int) {
		var elems []coder.Element
		for i := range n {
			v := fmt.Sprintf("%d:%d:%s", ts, i, strings.Repeat("x", i%7*3000))
			want = append(want, v)
			elems = append(elems, element(v, ts, assign(s, ts)...))
		}
		if err := w.add(elems...); err != nil {
			t.Fatal(err)
		}
	}
	add(0, 300)
	add(16, 200)
	add(0, 300)
	add(5, 1) // [0,15), which does not reach [16,26)
	add(8, 2) // joins them
	for _, k := range w.kv.keys() {
		if size := len(w.kv[k]); size > chunkBytes+20000 {
			t.Errorf("chunk of %d bytes", size)
		}
	}
	if err := w.watermark(26); err != nil {
		t.Fatal(err)
	}
	p := w.take()
	if len(p) != 1 || !slices.Equal(p[0].values, want) {
		t.Fatalf("%d panes, the values are not those that came", len(p))
	}
	if len(w.kv) > 0 {
		t.Errorf("left: %q", w.kv.keys())
	}
}

// TestStaleTimers: a timer is only a reason to look.
func TestStaleTimers(t *testing.T) {
	s, _ := parseStrategy([]string{"fixed=10", "trigger=repeat(delay(10))"})
	w, err := newWorld(s)
	if err != nil {
		t.Fatal(err)
	}
	win := assign(s, 1)[0]
	all := []Due{
		{win, tagEvent, EventTime, 10}, {win, tagProcessing, ProcessingTime, 3},
		{assign(s, 50)[0], tagEvent, EventTime, 60}, {win, "other", SyncProcessingTime, 0},
	}
	fire := func() {
		t.Helper()
		for _, due := range all {
			delete(w.timers, timerKey{string(due.Window), due.Tag, due.Domain})
			if err := w.reducer.Timer(w.env(), nil, due); err != nil {
				t.Fatal(err)
			}
		}
	}
	fire()
	if err := w.add(element("1", 1, win)); err != nil {
		t.Fatal(err)
	}
	timers := fmt.Sprint(w.timers)
	fire()
	if got := shown(w); got != "" || fmt.Sprint(w.timers) != timers {
		t.Errorf("emitted %q, timers %v, were %v", got, w.timers, timers)
	}
	if err := w.watermark(10); err != nil {
		t.Fatal(err)
	}
	fire()
	if got, want := shown(w), "[0,10) [1] at 9 ON_TIME #0/0 first last"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestNoWindow: an element without windows is nowhere.
func TestNoWindow(t *testing.T) {
	s, _ := parseStrategy([]string{"fixed=10"})
	w, _ := newWorld(s)
	if err := w.add(coder.Element{Value: []byte("1")}); err != nil || len(w.kv) > 0 {
		t.Errorf("%v, %q", err, w.kv.keys())
	}
}

func TestMalformedWindows(t *testing.T) {
	s, _ := parseStrategy([]string{"fixed=10"})
	w, _ := newWorld(s)
	for _, e := range []coder.Element{
		{NumWindows: 1}, {NumWindows: 2, Windows: window.AppendInterval(nil, 0, 10)}, {NumWindows: 1, Windows: []byte("x")},
	} {
		if err := w.add(e); !errors.Is(err, window.ErrBadWindow) {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

func TestBadStrategy(t *testing.T) {
	if _, err := New(&window.Strategy{FnURN: "f", Trigger: triggertest.MustParse("count(0)")}); err == nil {
		t.Error("no error")
	}
}

// failingKV fails the n-th operation.
type failingKV struct {
	memKV
	n int
}

var errDisk = errors.New("disk")

func (f *failingKV) fail() error {
	if f.n--; f.n == 0 {
		return errDisk
	}
	return nil
}

func (f *failingKV) Get(key []byte) ([]byte, bool, error) {
	if err := f.fail(); err != nil {
		return nil, false, err
	}
	return f.memKV.Get(key)
}

func (f *failingKV) Set(key, value []byte) error {
	return errors.Join(f.fail(), f.memKV.Set(key, value))
}
func (f *failingKV) Delete(key []byte) error { return errors.Join(f.fail(), f.memKV.Delete(key)) }
func (f *failingKV) DeleteRange(lo, hi []byte) error {
	return errors.Join(f.fail(), f.memKV.DeleteRange(lo, hi))
}
func (f *failingKV) Scan(lo, hi []byte, fn func(k, v []byte) bool) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.memKV.Scan(lo, hi, fn)
}

// TestErrorsComeBack: no error of the store is swallowed.
func TestErrorsComeBack(t *testing.T) {
	play := func(kv *failingKV) error {
		s, _ := parseStrategy([]string{"sessions=10", "trigger=eow(count(3))"})
		w, err := newWorld(s)
		if err != nil {
			return err
		}
		env := func() *Env {
			e := w.env()
			e.KV = kv
			return e
		}
		for _, ts := range []timestamp.Time{0, 15, 8, 9} {
			if err := w.reducer.Elements(env(), nil, []coder.Element{element("v", ts, assign(s, ts)...)}); err != nil {
				return err
			}
		}
		w.input = 100
		for {
			t, ok := w.timers.due(EventTime, 100)
			if !ok {
				return nil
			}
			if err := w.reducer.Timer(env(), nil, t); err != nil {
				return err
			}
		}
	}
	for n := 1; ; n++ {
		kv := &failingKV{memKV: memKV{}, n: n}
		err := play(kv)
		if kv.n > 0 {
			if err != nil || n < 15 {
				t.Errorf("%d operations, %v", n, err)
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("operation %d failed, error %v", n, err)
		}
	}
}

// TestEmitError: an error of the consumer ends the call.
func TestEmitError(t *testing.T) {
	s, _ := parseStrategy([]string{"fixed=10", "trigger=always"})
	w, _ := newWorld(s)
	env := w.env()
	env.Emit = func(f Firing) error { return f.Values(func([]byte) error { return errDisk }) }
	if err := w.reducer.Elements(env, nil, []coder.Element{element("1", 1, assign(s, 1)...)}); !errors.Is(err, errDisk) {
		t.Errorf("error %v", err)
	}
}

// FuzzCorruptState: whatever is in the store, there is an error at worst.
func FuzzCorruptState(f *testing.F) {
	f.Add([]byte{0x40, 1, 1}, []byte{1, 'x'})
	f.Add([]byte{0xff, 0x0f, 1, 1, 1, 1, 1, 1, 1}, []byte{0x7f})
	f.Fuzz(func(t *testing.T, rec, chunk []byte) {
		for _, windowing := range []string{"fixed=10", "sessions=10"} {
			s, _ := parseStrategy([]string{windowing, "trigger=eow(any(count(2),delay(5)),count(1))"})
			w, err := newWorld(s)
			if err != nil {
				t.Fatal(err)
			}
			w.input = 10
			c := &call{r: w.reducer, env: w.env()}
			win := window.AppendInterval(nil, 0, 10)
			w.kv[string(c.windowKey(tagRecord, win))] = rec
			w.kv[string(c.windowKey(tagValues, win))+"12345678"] = chunk
			env := w.env()
			env.Emit = func(f Firing) error { return f.Values(func([]byte) error { return nil }) }
			_ = w.reducer.Elements(env, nil, []coder.Element{element("v", 3, window.AppendInterval(nil, 3, 13))})
			_ = w.reducer.Timer(env, nil, Due{Window: win, Domain: EventTime})
		}
	})
}

func TestRecordSize(t *testing.T) {
	s, _ := parseStrategy([]string{"fixed=10", "trigger=eow(count(100))", "timestamp=earliest"})
	w, _ := newWorld(s)
	if err := w.add(element("v", 3, assign(s, 3)...)); err != nil {
		t.Fatal(err)
	}
	for k, v := range w.kv {
		if bytes.HasPrefix([]byte(k), append(slices.Clone(prefix), tagRecord)) && len(v) > 8 {
			t.Errorf("a fresh record takes %d bytes: %x", len(v), v)
		}
	}
}

// nullKV takes everything and has nothing.
type nullKV struct{}

func (nullKV) Get([]byte) ([]byte, bool, error)                 { return nil, false, nil }
func (nullKV) Set(_, _ []byte) error                            { return nil }
func (nullKV) Delete([]byte) error                              { return nil }
func (nullKV) DeleteRange(_, _ []byte) error                    { return nil }
func (nullKV) Scan(_, _ []byte, _ func(_, _ []byte) bool) error { return nil }

func BenchmarkElements(b *testing.B) {
	for _, c := range []struct {
		name, options string
		calls         int // elements come in that many calls
	}{
		{"fixed/1000", "fixed=1000000", 1}, {"fixed/1", "fixed=1000000", 1000},
		{"sliding/1000", "sliding=1000000/250000", 1}, {"sessions/1", "sessions=10", 1000},
		{"early/1", "fixed=1000000 trigger=eow(count(10))", 1000},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, _ := parseStrategy(strings.Fields(c.options))
			s.Accumulation = pipepb.AccumulationMode_DISCARDING
			w, _ := newWorld(s)
			env := w.env()
			env.KV = nullKV{}
			env.Emit = func(Firing) error { return nil }
			elems := make([]coder.Element, 1000)
			for i := range elems {
				ts := timestamp.Time(i)
				elems[i] = element("some value", ts, assign(s, ts)...)
			}
			b.ReportAllocs()
			for b.Loop() {
				for part := range slices.Chunk(elems, len(elems)/c.calls) {
					if err := w.reducer.Elements(env, nil, part); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(elems)), "ns/element")
		})
	}
}
