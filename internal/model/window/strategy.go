package window

import (
	"fmt"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// URNs of the standard WindowFns and window coders, which decide how a
// strategy is read.
const (
	urnGlobalWindows  = "beam:window_fn:global_windows:v1"
	urnFixedWindows   = "beam:window_fn:fixed_windows:v1"
	urnSlidingWindows = "beam:window_fn:sliding_windows:v1"
	urnSessionWindows = "beam:window_fn:session_windows:v1"

	urnGlobalCoder   = "beam:coder:global_window:v1"
	urnIntervalCoder = "beam:coder:interval_window:v1"
	urnCustomCoder   = "beam:coder:custom_window:v1"
)

// Strategy is a windowing strategy as the runner needs it: a
// pipepb.WindowingStrategy with the defaults filled in and checked.
type Strategy struct {
	Kind  Kind
	FnURN string
	// Merging: windows of a key have to be merged when grouping. False for a
	// merging WindowFn whose windows were already merged upstream.
	Merging bool
	// CustomMerge: the windows are merged by an SDK (implies Merging).
	CustomMerge bool
	// GapMS, SizeMS, PeriodMS and OffsetMS describe the standard WindowFns
	// (sessions; fixed and sliding; sliding; fixed and sliding). Zero where they
	// do not apply.
	GapMS, SizeMS, PeriodMS, OffsetMS int64
	// Trigger is never nil.
	Trigger           *pipepb.Trigger
	AllowedLatenessMS int64
	// ClosingAlways: the last pane is produced even if it is empty.
	ClosingAlways bool
	// OnTimeAlways: the on-time pane is produced even if it is empty.
	OnTimeAlways bool
	// Accumulation is DISCARDING, ACCUMULATING or RETRACTING.
	Accumulation pipepb.AccumulationMode_Enum
	// Combiner is never UNSPECIFIED.
	Combiner pipepb.OutputTime_Enum
	// CoderID is the id of the window coder in the pipeline.
	CoderID string
	// OneWindow: each element is assigned to exactly one window.
	OneWindow     bool
	EnvironmentID string
	// Fn is the WindowFn for the SDK that merges.
	Fn *pipepb.FunctionSpec
}

// Parse reads a windowing strategy. Fields left unspecified get Beam's
// defaults: the default trigger, discarding panes, timestamps at the end of
// the window, no empty last pane, always an on-time pane.
func Parse(ws *pipepb.WindowingStrategy, coders map[string]*pipepb.Coder) (*Strategy, error) {
	if ws == nil {
		return nil, fmt.Errorf("windowing strategy is missing")
	}
	if ws.GetWindowFn().GetUrn() == "" {
		return nil, fmt.Errorf("windowing strategy has no WindowFn")
	}
	s := &Strategy{
		FnURN:             ws.GetWindowFn().GetUrn(),
		Fn:                ws.GetWindowFn(),
		Trigger:           ws.GetTrigger(),
		AllowedLatenessMS: max(0, ws.GetAllowedLateness()),
		ClosingAlways:     ws.GetClosingBehavior() == pipepb.ClosingBehavior_EMIT_ALWAYS,
		OnTimeAlways:      ws.GetOnTimeBehavior() != pipepb.OnTimeBehavior_FIRE_IF_NONEMPTY,
		Accumulation:      ws.GetAccumulationMode(),
		Combiner:          ws.GetOutputTime(),
		CoderID:           ws.GetWindowCoderId(),
		OneWindow:         ws.GetAssignsToOneWindow(),
		EnvironmentID:     ws.GetEnvironmentId(),
	}
	if s.Trigger.GetTrigger() == nil {
		s.Trigger = &pipepb.Trigger{Trigger: &pipepb.Trigger_Default_{Default: &pipepb.Trigger_Default{}}}
	}
	if s.Accumulation == pipepb.AccumulationMode_UNSPECIFIED {
		s.Accumulation = pipepb.AccumulationMode_DISCARDING
	}
	if s.Combiner == pipepb.OutputTime_UNSPECIFIED {
		s.Combiner = pipepb.OutputTime_END_OF_WINDOW
	}
	s.Merging = ws.GetMergeStatus() == pipepb.MergeStatus_NEEDS_MERGE
	if err := s.readFn(); err != nil {
		return nil, fmt.Errorf("WindowFn %s: %w", s.FnURN, err)
	}
	return s, s.readCoder(coders)
}

// readFn takes what it can from the payload of a standard WindowFn. The
// payload is needed for display only, but one that cannot be read announces
// a pipeline that will not behave as its author thinks.
func (s *Strategy) readFn() error {
	payload := s.Fn.GetPayload()
	switch s.FnURN {
	case urnGlobalWindows:
		s.Merging = false
	case urnFixedWindows:
		var p pipepb.FixedWindowsPayload
		if err := proto.Unmarshal(payload, &p); err != nil {
			return err
		}
		s.Merging, s.SizeMS = false, millis(p.GetSize())
		s.OffsetMS = instantMillis(p.GetOffset())
	case urnSlidingWindows:
		var p pipepb.SlidingWindowsPayload
		if err := proto.Unmarshal(payload, &p); err != nil {
			return err
		}
		s.Merging, s.SizeMS, s.PeriodMS = false, millis(p.GetSize()), millis(p.GetPeriod())
		s.OffsetMS = instantMillis(p.GetOffset())
	case urnSessionWindows:
		var p pipepb.SessionWindowsPayload
		if err := proto.Unmarshal(payload, &p); err != nil {
			return err
		}
		s.GapMS = millis(p.GetGapSize())
	default:
		s.CustomMerge = s.Merging
	}
	return nil
}

func millis(d *durationpb.Duration) int64 { return d.AsDuration().Milliseconds() }

func instantMillis(t *timestamppb.Timestamp) int64 {
	if t == nil {
		return 0
	}
	return t.AsTime().UnixMilli()
}

// readCoder derives the kind of window from its coder.
func (s *Strategy) readCoder(coders map[string]*pipepb.Coder) error {
	c, ok := coders[s.CoderID]
	if !ok {
		return fmt.Errorf("window coder %q of WindowFn %s is not in the pipeline", s.CoderID, s.FnURN)
	}
	switch urn := c.GetSpec().GetUrn(); urn {
	case urnGlobalCoder:
		s.Kind = Global
	case urnIntervalCoder:
		s.Kind = Interval
	case urnCustomCoder:
		s.Kind = Custom
	default:
		return fmt.Errorf("window coder %q of WindowFn %s: the runner cannot find the end of windows encoded by %q", s.CoderID, s.FnURN, urn)
	}
	if s.FnURN == urnSessionWindows && s.Kind != Interval {
		return fmt.Errorf("window coder %q of WindowFn %s: want interval windows, have %v ones", s.CoderID, s.FnURN, s.Kind)
	}
	return nil
}

// Expiry returns the time that the watermark must pass for a window with the
// given maximum timestamp to be dropped: the allowed lateness later, but not
// after the end of the global window, which every watermark passes in the end.
func (s *Strategy) Expiry(maxTS timestamp.Time) timestamp.Time {
	return max(maxTS, min(maxTS.Add(s.AllowedLatenessMS), timestamp.EndOfGlobalWindow))
}

// Late reports whether elements of a window with the given maximum timestamp
// are dropped at the given input watermark.
func (s *Strategy) Late(maxTS, watermark timestamp.Time) bool {
	return s.Expiry(maxTS) < watermark
}

// OutputTimestamp returns what an element with timestamp t contributes to the
// timestamp of the pane, in a window with maximum timestamp maxTS. Beam's
// model no longer shifts timestamps of overlapping sliding windows.
func (s *Strategy) OutputTimestamp(t, maxTS timestamp.Time) timestamp.Time {
	if s.Combiner == pipepb.OutputTime_END_OF_WINDOW {
		return maxTS
	}
	return t
}

// Combine combines two results of OutputTimestamp for the same window. After
// a merge they are first brought to the new window with OutputTimestamp.
func (s *Strategy) Combine(a, b timestamp.Time) timestamp.Time {
	if s.Combiner == pipepb.OutputTime_EARLIEST_IN_PANE {
		return min(a, b)
	}
	return max(a, b)
}

// FiresOnce reports whether the trigger can fire only at or after the end of
// the window, so that a bounded input, whose watermark jumps from the
// beginning to the end of time, gives one pane for each key and window.
func (s *Strategy) FiresOnce() bool { return !firesEarly(s.Trigger) }

// firesEarly reports whether t may fire before the end of the window.
func firesEarly(t *pipepb.Trigger) bool {
	anyOf := func(ts []*pipepb.Trigger) bool {
		for _, t := range ts {
			if firesEarly(t) {
				return true
			}
		}
		return false
	}
	switch t := t.GetTrigger().(type) {
	case *pipepb.Trigger_Default_, *pipepb.Trigger_Never_:
		return false
	case *pipepb.Trigger_AfterEndOfWindow_:
		early := t.AfterEndOfWindow.GetEarlyFirings()
		return early != nil && firesEarly(early)
	case *pipepb.Trigger_AfterAll_:
		for _, sub := range t.AfterAll.GetSubtriggers() {
			if !firesEarly(sub) {
				return false
			}
		}
		return true
	case *pipepb.Trigger_AfterAny_:
		return anyOf(t.AfterAny.GetSubtriggers())
	case *pipepb.Trigger_AfterEach_:
		subs := t.AfterEach.GetSubtriggers()
		return len(subs) == 0 || firesEarly(subs[0])
	case *pipepb.Trigger_OrFinally_:
		return firesEarly(t.OrFinally.GetMain()) || firesEarly(t.OrFinally.GetFinally())
	case *pipepb.Trigger_Repeat_:
		return firesEarly(t.Repeat.GetSubtrigger())
	}
	return true // element counts, processing time, always, and what is not known
}
