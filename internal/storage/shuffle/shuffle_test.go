package shuffle

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// elem is a keyed element in windows.
type elem struct {
	key, value string
	at         timestamp.Time
	windows    []string // encoded
}

func spec(urn string, components ...string) *pipepb.Coder {
	return &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: urn}, ComponentCoderIds: components}
}

var coders = map[string]*pipepb.Coder{
	"bytes":    spec("beam:coder:bytes:v1"),
	"kv":       spec("beam:coder:kv:v1", "bytes", "bytes"),
	"global":   spec("beam:coder:global_window:v1"),
	"interval": spec("beam:coder:interval_window:v1"),
}

func parse(t testing.TB, id string) *coder.Coder {
	t.Helper()
	c, err := coder.Parse(coders, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func config(t testing.TB, windows string, combiner pipepb.OutputTime_Enum) Config {
	kind, id := window.Interval, "interval"
	if windows == "global" {
		kind, id = window.Global, "global"
	}
	kv := parse(t, "kv")
	return Config{
		Scanner:      coder.NewScanner(kv, parse(t, id)),
		KV:           kv,
		MemoryBudget: math.MaxInt64,
		Strategy: &window.Strategy{
			Kind: kind, FnURN: windows, Combiner: combiner,
			Merging: windows == "sessions" || windows == "custom", CustomMerge: windows == "custom",
		},
	}
}

func encode(dst []byte, e elem) []byte {
	dst = coder.AppendHeader(dst, e.at, []byte(strings.Join(e.windows, "")), len(e.windows), nil)
	for _, s := range []string{e.key, e.value} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return dst
}

func interval(start, end timestamp.Time) string {
	return string(window.AppendInterval(nil, start, end))
}

// blocks cuts elements into blocks of n.
func blocks(elems []elem, n int) [][]byte {
	var all [][]byte
	for chunk := range slices.Chunk(elems, n) {
		var b []byte
		for _, e := range chunk {
			b = encode(b, e)
		}
		all = append(all, b)
	}
	return all
}

func from(blocks [][]byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(blocks) == 0 {
			return nil, io.EOF
		}
		b := blocks[0]
		blocks = blocks[1:]
		return b, nil
	}
}

// plain takes the length off an encoded byte string.
func plain(b []byte) []byte {
	v, _, err := coder.DecodeBytes(b)
	if err != nil {
		panic(err)
	}
	return v
}

// line shows a group.
func line(key, win string, at timestamp.Time, values []string) string {
	return fmt.Sprintf("%s %x %d %q", key, win, at, values)
}

// groupAll returns the groups as lines. It reads all values twice.
func groupAll(cfg Config, blocks [][]byte) ([]string, error) {
	var lines []string
	err := Group(context.Background(), from(blocks), cfg, func(g *Grouped) error {
		var first string
		for range 2 {
			var values []string
			err := g.Values(func(v []byte) error {
				values = append(values, string(plain(v)))
				return nil
			})
			if err != nil {
				return err
			}
			l := line(string(plain(g.Key)), string(g.Window), g.Timestamp, values)
			if int64(len(values)) != g.Count || first != "" && first != l {
				return fmt.Errorf("count %d, values first %s, then %s", g.Count, first, l)
			}
			first = l
		}
		lines = append(lines, first)
		return nil
	})
	return lines, err
}

func want(t *testing.T, cfg Config, elems []elem, lines ...string) {
	t.Helper()
	got, err := groupAll(cfg, blocks(elems, 2))
	if err != nil || !slices.Equal(got, lines) {
		t.Errorf("%v\nhave:\n%s\nwant:\n%s", err, strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
	cfg.MemoryBudget, cfg.Dir = 0, t.TempDir()
	got, err = groupAll(cfg, blocks(elems, 2))
	slices.Sort(got)
	slices.Sort(lines)
	if err != nil || !slices.Equal(got, lines) {
		t.Errorf("from disk: %v\nhave:\n%s\nwant:\n%s", err, strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
	if left, _ := os.ReadDir(cfg.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

const (
	endOfWindow = pipepb.OutputTime_END_OF_WINDOW
	latest      = pipepb.OutputTime_LATEST_IN_PANE
	earliest    = pipepb.OutputTime_EARLIEST_IN_PANE
)

func TestGlobalWindow(t *testing.T) {
	global := []string{""}
	elems := []elem{{"b", "1", 5, global}, {"a", "2", 3, global}, {"b", "", -7, global}, {"", "3", 4, global}, {"b", "4", 6, global}}
	for combiner, at := range map[pipepb.OutputTime_Enum][3]timestamp.Time{
		endOfWindow: {timestamp.EndOfGlobalWindow, timestamp.EndOfGlobalWindow, timestamp.EndOfGlobalWindow},
		latest:      {6, 3, 4},
		earliest:    {-7, 3, 4},
	} {
		want(t, config(t, "global", combiner), elems,
			line("b", "", at[0], []string{"1", "", "4"}), line("a", "", at[1], []string{"2"}), line("", "", at[2], []string{"3"}))
	}
}

func TestNothing(t *testing.T) {
	want(t, config(t, "global", latest), nil)
	want(t, config(t, "sessions", latest), nil)
	if got, err := groupAll(config(t, "global", latest), [][]byte{nil, {}}); len(got) != 0 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestElementInSeveralWindows(t *testing.T) {
	x, y := interval(0, 10), interval(5, 15)
	want(t, config(t, "sliding", endOfWindow),
		[]elem{{"k", "1", 7, []string{x, y}}, {"k", "2", 12, []string{y}}, {"k", "none", 99, nil}, {"l", "3", 1, []string{x}}},
		line("k", x, 9, []string{"1"}), line("k", y, 14, []string{"1", "2"}), line("l", x, 9, []string{"3"}))
}

func inSession(key, value string, at timestamp.Time) elem {
	return elem{key, value, at, []string{interval(at, at+10)}}
}

func TestSessions(t *testing.T) {
	elems := []elem{inSession("k", "1", 100), inSession("l", "2", 0), inSession("k", "3", 0), inSession("k", "4", 108), inSession("k", "5", 9),
		inSession("k", "6", 200), inSession("k", "7", 92), inSession("k", "8", 210)}
	for combiner, at := range map[pipepb.OutputTime_Enum][5]timestamp.Time{
		endOfWindow: {117, 18, 209, 219, 9},
		latest:      {108, 9, 200, 210, 0},
		earliest:    {92, 0, 200, 210, 0},
	} {
		want(t, config(t, "sessions", combiner), elems,
			line("k", interval(92, 118), at[0], []string{"1", "4", "7"}),
			line("k", interval(0, 19), at[1], []string{"3", "5"}),
			line("k", interval(200, 210), at[2], []string{"6"}),
			line("k", interval(210, 220), at[3], []string{"8"}), // windows that touch stay apart
			line("l", interval(0, 10), at[4], []string{"2"}))
	}
}

func TestCustomMerge(t *testing.T) {
	a, b, c, all := interval(0, 1), interval(10, 11), interval(20, 21), interval(0, 11)
	cfg := config(t, "custom", latest)
	elems := []elem{{"k", "1", 1, []string{a}}, {"k", "2", 2, []string{c, b}}, {"k", "3", 3, []string{a, c}}, {"l", "4", 4, []string{b}}}
	cfg.Merge = func(windows [][]byte) ([]window.Merged, error) {
		if got := fmt.Sprintf("%x", windows); got != fmt.Sprintf("%x", []string{a, c, b}) {
			return nil, fmt.Errorf("asked to merge %s", got)
		}
		return []window.Merged{{Result: []byte(all), From: [][]byte{[]byte(a), []byte(b)}}}, nil
	}
	want(t, cfg, elems, line("k", all, 3, []string{"1", "2", "3"}), line("k", c, 3, []string{"2", "3"}), line("l", b, 4, []string{"4"}))

	for name, merged := range map[string][]window.Merged{
		"unknown window": {{Result: []byte(all), From: [][]byte{[]byte(a), []byte(all)}}},
		"merged twice":   {{Result: []byte(all), From: [][]byte{[]byte(a)}}, {Result: []byte(b), From: [][]byte{[]byte(a)}}},
		"bad window":     {{Result: nil, From: [][]byte{[]byte(a)}}},
	} {
		cfg.Merge = func([][]byte) ([]window.Merged, error) { return merged, nil }
		if _, err := groupAll(cfg, blocks(elems, 9)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestErrors(t *testing.T) {
	good := blocks([]elem{{"k", "v", 1, []string{""}}}, 1)[0]
	cfg := config(t, "global", latest)
	mine := errors.New("mine")
	nop := func(*Grouped) error { return nil }
	for _, b := range [][]byte{good[:len(good)-1], append(bytes.Clone(good), 1)} {
		if err := Group(context.Background(), from([][]byte{b}), cfg, nop); !errors.Is(err, coder.ErrTruncated) {
			t.Errorf("a block that is cut: %v", err)
		}
	}
	if err := Group(context.Background(), func() ([]byte, error) { return nil, mine }, cfg, nop); err != mine {
		t.Errorf("error of next: %v", err)
	}
	for _, cfg.MemoryBudget = range []int64{math.MaxInt64, 0} {
		if err := Group(context.Background(), from([][]byte{good}), cfg, func(*Grouped) error { return mine }); err != mine {
			t.Errorf("error of emit: %v", err)
		}
		err := Group(context.Background(), from([][]byte{good}), cfg, func(g *Grouped) error {
			return g.Values(func([]byte) error { return mine })
		})
		if err != mine {
			t.Errorf("error of yield: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Group(ctx, from(nil), cfg, nop); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"no scanner":  func(c *Config) { c.Scanner = nil },
		"no strategy": func(c *Config) { c.Strategy = nil },
		"not a KV":    func(c *Config) { c.KV = parse(t, "bytes") },
		"no merging":  func(c *Config) { *c = config(t, "custom", latest) },
		"no directory": func(c *Config) {
			c.Dir, c.MemoryBudget = t.TempDir()+"/not there", 0
		},
	} {
		c := config(t, "global", latest)
		change(&c)
		if err := Group(context.Background(), from([][]byte{good}), c, nop); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A key whose values exceed the memory for sessions is read in several passes.
func TestLargeSessionsFromDisk(t *testing.T) {
	cfg := config(t, "sessions", endOfWindow)
	cfg.MemoryBudget, cfg.Dir = 100_000, t.TempDir()
	const n, sessions = 120, 8
	var elems []elem
	wanted := make([][]string, sessions)
	for i := range n {
		s := i * 7 % sessions
		if i%3 > 0 {
			s = 0 // this one does not fit alone
		}
		v := fmt.Sprint(i) + strings.Repeat("x", 40_000)
		elems = append(elems, inSession("k", v, timestamp.Time(1000*s)))
		wanted[s] = append(wanted[s], v)
	}
	got, err := groupAll(cfg, blocks(elems, 3))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s, values := range wanted {
		at := timestamp.Time(1000 * s)
		lines = append(lines, line("k", interval(at, at+10), at+9, values))
	}
	slices.Sort(got)
	slices.Sort(lines)
	if !slices.Equal(got, lines) {
		t.Errorf("%d groups differ", len(got))
	}
}

// naive groups with maps of slices.
func naive(t *rapid.T, cfg Config, elems []elem) []string {
	type id struct{ key, win string }
	type entry struct {
		at     []timestamp.Time
		values []string
	}
	s := cfg.Strategy
	win := map[id]string{} // what a window of a key has become
	distinct := map[string][][]byte{}
	for _, e := range elems {
		for _, w := range e.windows {
			if _, ok := win[id{e.key, w}]; !ok {
				win[id{e.key, w}] = w
				distinct[e.key] = append(distinct[e.key], []byte(w))
			}
		}
	}
	if s.Merging {
		for key, windows := range distinct {
			merged, err := window.MergeIntervals(windows)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range merged {
				for _, f := range m.From {
					win[id{key, string(f)}] = string(m.Result)
				}
			}
		}
	}
	groups := map[id]*entry{}
	for _, e := range elems {
		for _, w := range e.windows {
			k := id{e.key, win[id{e.key, w}]}
			if groups[k] == nil {
				groups[k] = &entry{}
			}
			groups[k].at = append(groups[k].at, e.at)
			groups[k].values = append(groups[k].values, e.value)
		}
	}
	var lines []string
	for k, g := range groups {
		at, _ := s.Kind.MaxTimestamp([]byte(k.win))
		switch s.Combiner {
		case latest:
			at = slices.Max(g.at)
		case earliest:
			at = slices.Min(g.at)
		}
		lines = append(lines, line(k.key, k.win, at, g.values))
	}
	slices.Sort(lines)
	return lines
}

func TestModel(t *testing.T) {
	dir := t.TempDir()
	configs := map[string]Config{}
	for _, w := range []string{"global", "fixed", "sliding", "sessions"} {
		configs[w] = config(t, w, latest)
	}
	rapid.Check(t, func(t *rapid.T) {
		windows := rapid.SampledFrom([]string{"global", "fixed", "sliding", "sessions"}).Draw(t, "windows")
		cfg := configs[windows]
		s := *cfg.Strategy
		s.Combiner = rapid.SampledFrom([]pipepb.OutputTime_Enum{endOfWindow, latest, earliest}).Draw(t, "combiner")
		cfg.Strategy, cfg.Dir = &s, dir
		cfg.MemoryBudget = rapid.SampledFrom([]int64{0, 200, 1000, math.MaxInt64}).Draw(t, "budget")
		elems := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) elem { return draw(t, windows) }), 0, 60).Draw(t, "elements")
		b := blocks(elems, rapid.IntRange(1, 10).Draw(t, "block"))
		got, err := groupAll(cfg, b)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if want := naive(t, cfg, elems); !slices.Equal(got, want) {
			t.Fatalf("have:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
	})
}

func draw(t *rapid.T, windows string) elem {
	e := elem{
		key:   rapid.StringMatching(`[ab]{0,2}`).Draw(t, "key"),
		value: rapid.StringMatching(`[a-z]{0,20}`).Draw(t, "value"),
		at:    timestamp.Time(rapid.Int64Range(-20, 60).Draw(t, "at")),
	}
	switch start := e.at - (e.at%10+10)%10; windows {
	case "global":
		e.windows = []string{""}
	case "fixed":
		e.windows = []string{interval(start, start+10)}
	case "sliding":
		e.windows = []string{interval(start, start+20), interval(start-10, start+10)}
	case "sessions":
		e.windows = []string{interval(e.at, e.at+3)}
	}
	return e
}

// Hashes that collide, and tables that grow, do not mix keys.
func TestManyKeys(t *testing.T) {
	cfg := config(t, "global", latest)
	var elems []elem
	for i := range 20_000 {
		elems = append(elems, elem{fmt.Sprint(i % 7000), fmt.Sprint(i), 0, []string{""}})
	}
	for _, cfg.MemoryBudget = range []int64{math.MaxInt64, 100_000} {
		n := 0
		err := Group(context.Background(), from(blocks(elems, 100)), cfg, func(g *Grouped) error {
			n++
			var key, i int
			fmt.Sscan(string(plain(g.Key)), &key)
			return g.Values(func(v []byte) error {
				if fmt.Sscan(string(plain(v)), &i); i%7000 != key {
					return fmt.Errorf("value %s in key %s", v, g.Key)
				}
				return nil
			})
		})
		if n != 7000 || err != nil {
			t.Errorf("%d keys, %v", n, err)
		}
	}
}

func TestCorruptRun(t *testing.T) {
	cfg := config(t, "sessions", latest)
	cfg.MemoryBudget, cfg.Dir = 0, t.TempDir()
	var elems []elem
	for i := range 30 {
		elems = append(elems, inSession(fmt.Sprint(i%5), fmt.Sprint(i), timestamp.Time(i)))
	}
	write := func() *grouper {
		g, err := newGrouper(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.read(context.Background(), from(blocks(elems, 10))); err != nil {
			t.Fatal(err)
		}
		return g
	}
	for at := int64(0); ; at++ {
		g := write()
		if at >= g.runs.size {
			g.close()
			break
		}
		var b [1]byte
		if _, err := g.runs.file.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0xff
		g.runs.file.WriteAt(b[:], at)
		e := &emitter{ctx: context.Background(), emit: func(g *Grouped) error {
			return g.Values(func([]byte) error { return nil })
		}}
		g.emitRuns(e) // an error or wrong groups, but no panic and no endless loop
		g.close()
	}
}

func benchmark(b *testing.B, windows string, elements, keys int, budget int64) {
	cfg := config(b, windows, endOfWindow)
	cfg.MemoryBudget, cfg.Dir = budget, b.TempDir()
	var elems []elem
	value := strings.Repeat("v", 84)
	for i := range elements {
		e := elem{fmt.Sprintf("key %07d", i*7919%keys), value, timestamp.Time(i), []string{""}}
		if windows == "sessions" {
			e.windows = []string{interval(e.at, e.at+100)}
		}
		elems = append(elems, e)
	}
	all := blocks(elems, 10_000)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		values := 0
		err := Group(context.Background(), from(all), cfg, func(g *Grouped) error {
			return g.Values(func([]byte) error { values++; return nil })
		})
		if err != nil || values != elements {
			b.Fatal(values, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(elements), "ns/element")
}

func BenchmarkGroup(b *testing.B) {
	const m = 1_000_000
	b.Run("1M-10k", func(b *testing.B) { benchmark(b, "global", m, 10_000, math.MaxInt64) })
	b.Run("1M-1M", func(b *testing.B) { benchmark(b, "global", m, m, math.MaxInt64) })
	b.Run("1M-10k-disk", func(b *testing.B) { benchmark(b, "global", m, 10_000, 32<<20) })
	b.Run("1M-1M-disk", func(b *testing.B) { benchmark(b, "global", m, m, 32<<20) })
	b.Run("sessions-1M-10k", func(b *testing.B) { benchmark(b, "sessions", m, 10_000, math.MaxInt64) })
	b.Run("sessions-1M-10k-disk", func(b *testing.B) { benchmark(b, "sessions", m, 10_000, 32<<20) })
}
