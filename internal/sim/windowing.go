package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/trigger/triggertest"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// span is a window: [start, end), or all of time if end is zero.
type span struct{ start, end timestamp.Time }

// max is the last timestamp in the window.
func (s span) max() timestamp.Time {
	if s.end == 0 {
		return timestamp.EndOfGlobalWindow
	}
	return s.end - 1
}

func (s span) encode(dst []byte) []byte {
	if s.end == 0 {
		return dst
	}
	return window.AppendInterval(dst, s.start, s.end)
}

func (s span) String() string {
	if s.end == 0 {
		return "global"
	}
	return fmt.Sprintf("[%d,%d)", int64(s.start), int64(s.end))
}

// decodeSpan reads the encoding of a window.
func decodeSpan(b []byte) (span, error) {
	if len(b) == 0 {
		return span{}, nil
	}
	start, end, err := window.DecodeInterval(b)
	return span{start, end}, err
}

// windowKind is a kind of WindowFn.
type windowKind string

const (
	global   windowKind = "global"
	fixed    windowKind = "fixed"
	sliding  windowKind = "sliding"
	sessions windowKind = "sessions"
)

// forever is an allowed lateness that nothing exceeds.
const forever = int64(1) << 40

// windowing is a windowing strategy. All event times of a pipeline are
// positive, so that the end of a window is never zero.
type windowing struct {
	id           string
	kind         windowKind
	size, period int64 // ms; period of sliding windows
	trigger      string
	accumulating bool
	lateness     int64
	closing      bool // a last pane even if it is empty
	onTime       bool // an on-time pane even if it is empty
	output       pipepb.OutputTime_Enum
	merged       bool // the sessions were merged before
}

// String is a line of a trace.
func (w *windowing) String() string {
	return fmt.Sprintf("%s %s/%d/%d trigger=%s accumulating=%v lateness=%d closing=%v on-time=%v %v merged=%v",
		w.id, w.kind, w.size, w.period, w.trigger, w.accumulating, w.lateness, w.closing, w.onTime, w.output, w.merged)
}

// assign returns the windows of a timestamp.
func (w *windowing) assign(t timestamp.Time) []span {
	switch w.kind {
	case fixed:
		start := floor(t, w.size)
		return []span{{start, start.Add(w.size)}}
	case sliding:
		var all []span
		for start := floor(t, w.period); start > t.Add(-w.size); start = start.Add(-w.period) {
			all = append(all, span{start, start.Add(w.size)})
		}
		return all
	case sessions:
		return []span{{t, t.Add(w.size)}}
	}
	return []span{{}}
}

// side is the window that goes with a main input's, as a side input's.
func (w *windowing) side(main span) span {
	if w.kind == global {
		return span{}
	}
	all := w.assign(main.max())
	return slices.MinFunc(all, func(a, b span) int { return int(a.start - b.start) })
}

// stamp is the timestamp of a pane with elements of these timestamps.
func (w *windowing) stamp(win span, all []timestamp.Time) timestamp.Time {
	switch w.output {
	case pipepb.OutputTime_EARLIEST_IN_PANE:
		return slices.Min(all)
	case pipepb.OutputTime_LATEST_IN_PANE:
		return slices.Max(all)
	}
	return win.max()
}

func floor(t timestamp.Time, step int64) timestamp.Time {
	r := int64(t) % step
	if r < 0 {
		r += step
	}
	return t - timestamp.Time(r)
}

// onTimeTriggers fire not before the end of a window, and once if nothing is late.
var onTimeTriggers = []string{"default", "eow", "never", "eow(,count(1))", "repeat(eow)"}

// endlessTriggers fire again and again, so that they never close a window.
var endlessTriggers = []string{
	"always", "repeat(count(1))", "repeat(count(3))", "repeat(delay(10))", "eow(count(2),count(1))",
	"eow(delay(10),count(1))", "eow(count(1),count(2))", "eow(delay(300)+align(100,7),delay(50))",
}

// once reports whether a window without late elements has one pane with values.
func (w *windowing) once() bool { return slices.Contains(onTimeTriggers, w.trigger) }

// closes reports whether the trigger may close a window while more can come.
// The default trigger never does.
func (w *windowing) closes() bool {
	return w.trigger != "default" && !slices.Contains(endlessTriggers, w.trigger) && w.trigger != "eow(,count(1))"
}

// timed reports whether the trigger looks at the clock.
func (w *windowing) timed() bool {
	return strings.Contains(w.trigger, "delay") || strings.Contains(w.trigger, "align") || strings.Contains(w.trigger, "sync")
}

// proto is the strategy for a pipeline.
func (w *windowing) proto() *pipepb.WindowingStrategy {
	ws := &pipepb.WindowingStrategy{
		WindowFn: &pipepb.FunctionSpec{}, WindowCoderId: "iw", OnTimeBehavior: pipepb.OnTimeBehavior_FIRE_IF_NONEMPTY,
		ClosingBehavior: pipepb.ClosingBehavior_EMIT_IF_NONEMPTY, AccumulationMode: pipepb.AccumulationMode_DISCARDING,
		Trigger: triggertest.MustParse(w.trigger), AllowedLateness: w.lateness, OutputTime: w.output,
		MergeStatus: pipepb.MergeStatus_NON_MERGING, AssignsToOneWindow: w.kind != sliding,
	}
	if w.accumulating {
		ws.AccumulationMode = pipepb.AccumulationMode_ACCUMULATING
	}
	if w.closing {
		ws.ClosingBehavior = pipepb.ClosingBehavior_EMIT_ALWAYS
	}
	if w.onTime {
		ws.OnTimeBehavior = pipepb.OnTimeBehavior_FIRE_ALWAYS
	}
	var payload proto.Message
	duration := func(ms int64) *durationpb.Duration { return durationpb.New(time.Duration(ms) * time.Millisecond) }
	switch w.kind {
	case global:
		ws.WindowFn.Urn, ws.WindowCoderId = urn.GlobalWindows, "gw"
		return ws
	case fixed:
		ws.WindowFn.Urn, payload = urn.FixedWindows, &pipepb.FixedWindowsPayload{Size: duration(w.size)}
	case sliding:
		ws.WindowFn.Urn = urn.SlidingWindows
		payload = &pipepb.SlidingWindowsPayload{Size: duration(w.size), Period: duration(w.period)}
	case sessions:
		ws.WindowFn.Urn, payload = urn.SessionWindows, &pipepb.SessionWindowsPayload{GapSize: duration(w.size)}
		ws.MergeStatus = pipepb.MergeStatus_NEEDS_MERGE
		if w.merged {
			ws.MergeStatus = pipepb.MergeStatus_ALREADY_MERGED
		}
	}
	ws.WindowFn.Payload, _ = proto.Marshal(payload) // a message of ours
	return ws
}
