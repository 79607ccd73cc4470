package pyflink

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/pharos-beam/pharos/operator"
)

// WindowKind is how a group window cuts time, or rows, into pieces.
type WindowKind uint8

// Kinds of group windows.
const (
	Tumbling WindowKind = iota
	Sliding
	Session
)

// WindowProperty is a column that describes the window of a result.
type WindowProperty uint8

// Properties of windows.
const (
	WindowStart WindowProperty = iota
	WindowEnd
	RowTime
	ProcTime
)

// Window describes the windows of a window aggregate.
type Window struct {
	Kind WindowKind
	// Size, Slide and Gap are those of windows over time.
	Size, Slide, Gap time.Duration
	// Count and CountSlide are those of windows over rows; then Size, Slide and
	// Gap are zero.
	Count, CountSlide int64
	// ProcessingTime says that time is that of the machine.
	ProcessingTime bool
	// TimeField is the number of the column with the event time.
	TimeField int
	// Lateness is how long results are updated.
	Lateness time.Duration
	// Properties are columns behind the results.
	Properties []WindowProperty
}

// overTime says that the windows are over time.
func (w *Window) overTime() bool { return w.Count == 0 }

// proto writes a GroupWindow.
func (w *Window) proto() message {
	size, slide := w.Size.Milliseconds(), w.Slide.Milliseconds()
	if !w.overTime() {
		size, slide = w.Count, w.CountSlide
	}
	m := message(nil).int(1, int64(w.Kind)).bool(2, w.overTime()).int(3, slide).int(4, size).
		int(5, w.Gap.Milliseconds()).bool(6, !w.ProcessingTime).int(7, int64(w.TimeField)).int(8, w.Lateness.Milliseconds())
	var properties message
	for _, p := range w.Properties {
		properties = append(properties, byte(p))
	}
	if len(properties) > 0 {
		m = m.bytes(9, properties)
	}
	return m.bytes(10, []byte("UTC"))
}

// GroupWindow describes aggregates by key and window. Results come when the
// watermark passes the end of a window: see operator.Operator.Watermark.
type GroupWindow struct {
	Group
	Window Window
}

// timerIn are the columns of a timer on its way to the harness.
func (g *GroupWindow) timerIn() Schema {
	return Schema{{"timer_type", TinyInt}, {"key", RowOf(g.keys()...)}, {"namespace", VarBinary}}
}

// timerOut are the columns of a timer that the harness sets.
func (g *GroupWindow) timerOut() Schema {
	return Schema{{"timer_operand", TinyInt}, {"key", RowOf(g.keys()...)}, {"timestamp", BigInt}, {"namespace", VarBinary}}
}

// input are the columns of what travels to the harness.
func (g *GroupWindow) input() Schema {
	return Schema{
		{"record_type", TinyInt}, {"row_data", RowOf(g.Input...)}, {"timestamp", BigInt},
		{"watermark", BigInt}, {"timer_data", RowOf(g.timerIn()...)},
	}
}

// results are the columns of the output.
func (g *GroupWindow) results() Schema {
	s := g.output()
	for i := range g.Window.Properties {
		s = append(s, Field{fmt.Sprintf("w%d", i), BigInt})
	}
	return s
}

// wire are the columns of what the harness sends.
func (g *GroupWindow) wire() Schema {
	return Schema{{"record_type", TinyInt}, {"row_data", RowOf(g.results()...)}, {"timer_data", RowOf(g.timerOut()...)}}
}

// Function describes the aggregates.
func (g *GroupWindow) Function() (operator.Function, error) {
	timers, err := newWindowTimers(g)
	if err != nil {
		return operator.Function{}, err
	}
	return operator.Function{
		Name: "group window aggregate", URN: urnGroupWindow, Payload: g.proto(&g.Window),
		Input:    coder(flattenRow, g.input().proto(), true, false),
		Output:   coder(flattenRow, g.wire().proto(), true, false),
		Stateful: true, Match: operator.Loose, States: States{}, RowTimers: timers,
	}, nil
}

// Batch makes a batch of rows, sent when the watermark is at a time in
// milliseconds.
func (g *GroupWindow) Batch(watermark int64, rows ...Row) (operator.Batch, error) {
	c, err := NewRowCoder(g.input())
	if err != nil {
		return operator.Batch{}, err
	}
	wrapped := make([]Row, len(rows))
	for i, r := range rows {
		wrapped[i] = Values(int8(recordNormal), r, nil, watermark, nil)
	}
	return c.Batch(wrapped...)
}

// Read reads results: keys, results, properties of the window.
func (g *GroupWindow) Read(data []byte) ([]Row, error) {
	c, err := NewRowCoder(g.results())
	if err != nil {
		return nil, err
	}
	return c.Read(data)
}

// windowTimers are the timers of window aggregates, which are rows among
// others. It is used by one goroutine at a time.
type windowTimers struct {
	in, wire, out *RowCoder
	key           codec
}

func newWindowTimers(g *GroupWindow) (*windowTimers, error) {
	t := &windowTimers{}
	var err error
	for _, c := range []struct {
		to *(*RowCoder)
		s  Schema
	}{{&t.in, g.input()}, {&t.wire, g.wire()}, {&t.out, g.results()}} {
		if *c.to, err = NewRowCoder(c.s); err != nil {
			return nil, err
		}
	}
	t.key, err = g.keys().codec()
	return t, err
}

// Split implements operator.RowTimers.
func (t *windowTimers) Split(data []byte) (out []byte, timers []operator.Timer, err error) {
	rows, err := t.wire.Read(data)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range rows {
		if r.Fields[0] != int8(recordTimer) {
			result, ok := r.Fields[1].(Row)
			if !ok {
				return nil, nil, errShort
			}
			if out, err = t.out.Append(out, result); err != nil {
				return nil, nil, err
			}
			continue
		}
		set, err := t.timer(r.Fields[2])
		if err != nil {
			return nil, nil, err
		}
		timers = append(timers, set)
	}
	return out, timers, nil
}

// timer makes a timer of what the harness says of it: an operation, a key, a
// time, a window.
func (t *windowTimers) timer(v any) (operator.Timer, error) {
	r, ok := v.(Row)
	if !ok || len(r.Fields) != 4 {
		return operator.Timer{}, errShort
	}
	op, ok1 := r.Fields[0].(int8)
	at, ok2 := r.Fields[2].(int64)
	window, ok3 := r.Fields[3].([]byte)
	if !ok1 || !ok2 || !ok3 {
		return operator.Timer{}, fmt.Errorf("timer %v is not valid", r.Fields)
	}
	key, err := t.key.append(nil, r.Fields[1])
	if err != nil {
		return operator.Timer{}, err
	}
	timer := timerOf(op, at)
	timer.Data = append(appendSized(nil, key), window...)
	timer.ID = append(timer.ID, timer.Data...)
	return timer, nil
}

// timerOf begins a timer of an operation: 0 and 1 set a timer of event and
// processing time, 2 and 3 clear it. Its time is part of its ID.
func timerOf(op int8, at int64) operator.Timer {
	domain := operator.Domain(op & 1)
	return operator.Timer{
		Domain: domain, FireAt: at, Clear: op >= 2,
		ID: binary.BigEndian.AppendUint64([]byte{byte(domain)}, uint64(at)),
	}
}

// Fire implements operator.RowTimers.
func (t *windowTimers) Fire(dst []byte, timer operator.Timer, now int64) []byte {
	encoded, window, err := readSized(timer.Data)
	if err != nil {
		return dst // it was made by timer
	}
	key, _, err := t.key.read(encoded)
	if err != nil {
		return dst
	}
	r := Values(int8(recordTimer), nil, timer.FireAt, now, Values(int8(timer.Domain), key, window))
	out, err := t.in.Append(dst, r)
	if err != nil {
		return dst
	}
	return out
}
