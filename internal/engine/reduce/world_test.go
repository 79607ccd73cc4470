package reduce

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// memKV is a store in a map.
type memKV map[string][]byte

func (m memKV) Get(key []byte) ([]byte, bool, error) {
	v, ok := m[string(key)]
	return v, ok, nil
}

func (m memKV) Set(key, value []byte) error {
	m[string(key)] = bytes.Clone(value)
	return nil
}

func (m memKV) Delete(key []byte) error {
	delete(m, string(key))
	return nil
}

func (m memKV) DeleteRange(lo, hi []byte) error {
	for k := range m {
		if k >= string(lo) && k < string(hi) {
			delete(m, k)
		}
	}
	return nil
}

func (m memKV) Scan(lo, hi []byte, fn func(key, value []byte) bool) error {
	for _, k := range m.keys() {
		if k >= string(lo) && k < string(hi) {
			// What a callback gets is not its own: spoil it afterwards.
			key, value := []byte(k), bytes.Clone(m[k])
			more := fn(key, value)
			clear(key)
			clear(value)
			if !more {
				break
			}
		}
	}
	return nil
}

func (m memKV) keys() []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

type timerKey struct {
	window, tag string
	domain      Domain
}

type memTimers map[timerKey]int64

func (m memTimers) Set(w []byte, tag string, d Domain, fire int64) error {
	m[timerKey{string(w), tag, d}] = fire
	return nil
}

func (m memTimers) Clear(w []byte, tag string, d Domain) error {
	delete(m, timerKey{string(w), tag, d})
	return nil
}

// due removes and returns the first timer that is due.
func (m memTimers) due(d Domain, now int64) (Due, bool) {
	var first *Due
	for k, fire := range m {
		if k.domain != d || fire > now {
			continue
		}
		t := Due{Window: []byte(k.window), Tag: k.tag, Domain: d, Fire: fire}
		if first == nil || cmp.Or(cmp.Compare(t.Fire, first.Fire), bytes.Compare(t.Window, first.Window)) < 0 {
			first = &t
		}
	}
	if first == nil {
		return Due{}, false
	}
	delete(m, timerKey{string(first.Window), first.Tag, d})
	return *first, true
}

type memHolds map[string]timestamp.Time

func (m memHolds) Set(owner []byte, t timestamp.Time) error {
	m[string(owner)] = t
	return nil
}

func (m memHolds) Clear(owner []byte) error {
	delete(m, string(owner))
	return nil
}

func (m memHolds) min() timestamp.Time {
	first := timestamp.Max
	for _, t := range m {
		first = min(first, t)
	}
	return first
}

// pane is an emitted Firing with its values read.
type pane struct {
	window    string
	timestamp timestamp.Time
	info      coder.Pane
	values    []string
	behind    bool // emitted behind the output watermark
}

// world is a runner for one key: it moves watermark and clock, delivers timers,
// and computes the output watermark from the holds.
type world struct {
	strategy *window.Strategy
	reducer  *Reducer
	kv       memKV
	timers   memTimers
	holds    memHolds
	input    timestamp.Time
	output   timestamp.Time
	now      int64
	seq      uint64
	merge    Merge
	panes    []pane
	dropped  int
	// blind: the Reducer is not told the output watermark.
	blind bool
}

func newWorld(s *window.Strategy) (*world, error) {
	r, err := New(s)
	if err != nil {
		return nil, err
	}
	return &world{
		strategy: s, reducer: r,
		kv: memKV{}, timers: memTimers{}, holds: memHolds{},
		input: timestamp.Min, output: timestamp.Min,
	}, nil
}

// prefix of the key. A neighbour's keys must stay as they are.
var prefix = []byte("key/")

func (w *world) env() *Env {
	output := w.output
	env := &Env{
		KV: w.kv, Prefix: prefix, Timers: w.timers, Holds: w.holds,
		Watermark: w.input, OutputWatermark: &output, NowMS: w.now, SyncNowMS: w.now,
		Merge:   w.merge,
		Dropped: func(n int) { w.dropped += n },
		Seq:     func() uint64 { w.seq++; return w.seq },
		Emit: func(f Firing) error {
			p := pane{window: string(f.Window), timestamp: f.Timestamp, info: f.Pane, behind: f.Timestamp < w.output}
			for range 2 { // values can be read again
				p.values = nil
				if err := f.Values(func(v []byte) error {
					p.values = append(p.values, string(v))
					return nil
				}); err != nil {
					return err
				}
			}
			if int64(len(p.values)) != f.Count {
				return fmt.Errorf("pane of %d values says it has %d", len(p.values), f.Count)
			}
			w.panes = append(w.panes, p)
			return nil
		},
	}
	if w.blind {
		env.OutputWatermark = nil
	}
	return env
}

// element makes an element with a value that names it.
func element(value string, t timestamp.Time, windows ...[]byte) coder.Element {
	return coder.Element{Timestamp: t, Windows: bytes.Join(windows, nil), NumWindows: len(windows), Value: []byte(value)}
}

func (w *world) add(elems ...coder.Element) error {
	if err := w.reducer.Elements(w.env(), []byte("key"), elems); err != nil {
		return err
	}
	return w.settle()
}

func (w *world) watermark(t timestamp.Time) error {
	w.input = max(w.input, t)
	return w.settle()
}

func (w *world) clock(now int64) error {
	w.now = max(w.now, now)
	return w.settle()
}

// settle delivers all timers that are due, then moves the output watermark.
func (w *world) settle() error {
	for range 1000 {
		t, ok := w.timers.due(EventTime, int64(w.input))
		if !ok {
			t, ok = w.timers.due(ProcessingTime, w.now)
		}
		if !ok {
			w.output = max(w.output, min(w.input, w.holds.min()))
			return nil
		}
		if err := w.reducer.Timer(w.env(), []byte("key"), t); err != nil {
			return err
		}
	}
	return fmt.Errorf("timers do not come to rest: %v", w.timers)
}

// take returns the panes that were emitted since the last call.
func (w *world) take() []pane {
	panes := w.panes
	w.panes = nil
	return panes
}

// assign returns the windows of a standard WindowFn for a timestamp.
func assign(s *window.Strategy, t timestamp.Time) [][]byte {
	floor := func(t timestamp.Time, size int64) timestamp.Time {
		rem := int64(t) % size
		if rem < 0 {
			rem += size
		}
		return t - timestamp.Time(rem)
	}
	switch {
	case s.GapMS > 0:
		return [][]byte{window.AppendInterval(nil, t, t.Add(s.GapMS))}
	case s.PeriodMS > 0:
		var windows [][]byte
		for start := floor(t, s.PeriodMS); start > t.Add(-s.SizeMS); start -= timestamp.Time(s.PeriodMS) {
			windows = append(windows, window.AppendInterval(nil, start, start.Add(s.SizeMS)))
		}
		return windows
	case s.SizeMS > 0:
		start := floor(t, s.SizeMS)
		return [][]byte{window.AppendInterval(nil, start, start.Add(s.SizeMS))}
	}
	return [][]byte{nil}
}

// showWindow writes a window for people.
func showWindow(k window.Kind, w []byte) string {
	switch k {
	case window.Interval:
		start, end, err := window.DecodeInterval(w)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("[%d,%d)", start, end)
	case window.Custom:
		return fmt.Sprintf("<%d %s>", timestamp.Decode(w), w[timestamp.EncodedLen:])
	}
	return "global"
}

// showTime writes a timestamp as a number, or the name of a bound.
func showTime(t timestamp.Time) string {
	if t <= timestamp.Min || t >= timestamp.EndOfGlobalWindow {
		return t.String()
	}
	return fmt.Sprint(int64(t))
}

func (p pane) show(k window.Kind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v at %s %v", showWindow(k, []byte(p.window)), p.values, showTime(p.timestamp), p.info.Timing)
	fmt.Fprintf(&b, " #%d", p.info.Index)
	if p.info.NonSpeculative >= 0 {
		fmt.Fprintf(&b, "/%d", p.info.NonSpeculative)
	}
	if p.info.First {
		b.WriteString(" first")
	}
	if p.info.Last {
		b.WriteString(" last")
	}
	if p.behind {
		b.WriteString(" behind-output-watermark")
	}
	return b.String()
}
