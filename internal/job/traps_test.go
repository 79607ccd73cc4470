package job_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// What other runners get wrong: docs/traps.md lists it, with the tests.

// scene is a pipeline whose ParDos are Go functions, by transform id, and what
// these write down. ParDos of the same environment are fused.
type scene struct {
	*plantest.Pipeline
	t   *testing.T
	do  map[string]func(*fakesdk.Bundle) error
	mu  sync.Mutex
	log []string
}

func newScene(t *testing.T) *scene {
	s := &scene{Pipeline: plantest.New(), t: t, do: map[string]func(*fakesdk.Bundle) error{}}
	s.Components.Coders["lp"] = &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: urn.CoderLengthPrefix}, ComponentCoderIds: []string{"opaque"}}
	gap, _ := proto.Marshal(&pipepb.SessionWindowsPayload{GapSize: durationpb.New(10 * time.Second)})
	s.Components.WindowingStrategies["sessions"].WindowFn.Payload = gap
	return s
}

func (s *scene) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *scene) want(lines ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.log, lines) {
		s.t.Errorf("seen\n\t%s\nwant\n\t%s", strings.Join(s.log, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

func (s *scene) process(b *fakesdk.Bundle) error {
	for id, do := range s.do {
		if b.Descriptor.GetTransforms()[id] != nil {
			return do(b)
		}
	}
	return fmt.Errorf("a bundle of nothing that is known: %v", b.Descriptor.GetTransforms())
}

// runs runs the pipeline to its end.
func (s *scene) runs(r *rig) (jobpb.JobState_Enum, string) {
	s.t.Helper()
	return r.runs(s.Pipeline.Pipeline, fakesdk.Config{Process: s.process}, nil)
}

func (s *scene) works(r *rig) {
	s.t.Helper()
	if st, msg := s.runs(r); st != jobpb.JobState_DONE {
		s.t.Fatalf("state %v: %s", st, msg)
	}
}

// stream adds a TestStream of "lp" in the global window, and returns its output.
func (s *scene) stream(id string, m *pipepb.TestStreamPayload) string {
	out := s.Collection("lp")
	s.Unbounded(out)
	m.CoderId = "lp"
	s.Add(id, urn.TestStream, "", m, nil, []string{out})
	return out
}

// at is a TestStream event of one element.
func at(ms int64, value string) *pipepb.TestStreamPayload_Event {
	return &pipepb.TestStreamPayload_Event{Event: &pipepb.TestStreamPayload_Event_ElementEvent{
		ElementEvent: &pipepb.TestStreamPayload_Event_AddElements{Elements: []*pipepb.TestStreamPayload_TimestampedElement{
			{EncodedElement: lp(value), Timestamp: ms}}}}}
}

// mark is a TestStream event that moves the watermark.
func mark(ms int64) *pipepb.TestStreamPayload_Event {
	return &pipepb.TestStreamPayload_Event{Event: &pipepb.TestStreamPayload_Event_WatermarkEvent{
		WatermarkEvent: &pipepb.TestStreamPayload_Event_AdvanceWatermark{NewWatermark: ms}}}
}

func script(events ...*pipepb.TestStreamPayload_Event) *pipepb.TestStreamPayload {
	return &pipepb.TestStreamPayload{Events: events}
}

func lp(s string) []byte { return append(coder.AppendVarint(nil, uint64(len(s))), s...) }

// text takes a length-prefixed string off the front.
func text(b []byte) (string, []byte) {
	n, used := binary.Uvarint(b)
	return string(b[used : used+int(n)]), b[used+int(n):]
}

// grouped is "key: values" of an element of coder "gkv", its values sorted.
func grouped(value []byte) string {
	key, rest := text(value)
	var values []string
	n := binary.BigEndian.Uint32(rest)
	rest = rest[4:]
	for range n {
		var v string
		v, rest = text(rest)
		values = append(values, v)
	}
	slices.Sort(values)
	return key + ": " + strings.Join(values, " ")
}

// each reads the bundle's input: fn gets the elements, in coders of plantest,
// timer the timers of keys in "bytes" and of the global window.
func (s *scene) each(b *fakesdk.Bundle, elem, window string, fn func(coder.Element) error, timer func(coder.TimerElement) error) error {
	parse := func(id string) *coder.Coder {
		c, err := coder.Parse(s.Components.Coders, id)
		if err != nil {
			panic(err)
		}
		return c
	}
	scanner, timers := coder.NewScanner(parse(elem), parse(window)), coder.NewTimerScanner(parse("bytes"), parse("gw"))
	for {
		item, err := b.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		for data := item.Data; err == nil && len(data) > 0; {
			var n int
			if item.Timer {
				var e coder.TimerElement
				if n, err = timers.Scan(data, &e); err == nil {
					err = timer(e)
				}
			} else {
				var e coder.Element
				if n, err = scanner.Scan(data, &e); err == nil {
					err = fn(e)
				}
			}
			data = data[n:]
		}
		if err != nil {
			return err
		}
	}
}

// keyed is a DoFn that gives elements of "lp" the key "k", and a session window
// if asked to.
func (s *scene) keyed(sessions bool) func(*fakesdk.Bundle) error {
	return func(b *fakesdk.Bundle) error {
		return s.each(b, "lp", "gw", func(e coder.Element) error {
			value, _ := text(e.Value)
			s.note("element %s", value)
			var windows []byte
			if sessions {
				windows = coder.AppendVarint(timestamp.Append(nil, e.Timestamp.Add(10_000)), 10_000)
			}
			out := coder.AppendHeader(nil, e.Timestamp, windows, 1, coder.NoFiring)
			return b.Emit(b.Sinks[0], append(append(out, lp("k")...), e.Value...))
		}, nil)
	}
}

// panes is a DoFn that notes what GroupByKey puts out.
func (s *scene) panes(window string) func(*fakesdk.Bundle) error {
	return func(b *fakesdk.Bundle) error {
		return s.each(b, "gkv", window, func(e coder.Element) error {
			s.note("pane %v %s", e.Timestamp, grouped(e.Value))
			return nil
		}, nil)
	}
}

func TestEventTimeTimersAreNotEarly(t *testing.T) {
	s := newScene(t)
	in := s.ParDo("key", "a", s.stream("stream", script(at(0, "set"), mark(9), at(9, "nine"), mark(10), at(10, "ten"))), "kv")
	s.ParDoLike("timers", "b", in, "bytes", &pipepb.ParDoPayload{TimerFamilySpecs: map[string]*pipepb.TimerFamilySpec{
		"f": {TimeDomain: pipepb.TimeDomain_EVENT_TIME, TimerFamilyCoderId: "bytes"},
	}})
	s.do["key"] = s.keyed(false)
	s.do["timers"] = func(b *fakesdk.Bundle) error {
		return s.each(b, "kv", "gw", func(e coder.Element) error {
			if !strings.HasSuffix(string(e.Value), "set") {
				return nil
			}
			timer := coder.TimerElement{Key: lp("k"), NumWindows: 1, Fire: 10, Hold: 10}
			return b.EmitTimers("timers", "f", timer.Append(nil))
		}, func(e coder.TimerElement) error {
			s.note("timer %d", int64(e.Fire))
			return nil
		})
	}
	s.works(newRig(t))
	s.want("element set", "element nine", "timer 10", "element ten")
}

// An early pane is processed before anything else happens.
func TestEarlyPanesGoOnAtOnce(t *testing.T) {
	s := newScene(t)
	ws := s.Components.WindowingStrategies["early"]
	ws.Trigger = &pipepb.Trigger{Trigger: &pipepb.Trigger_Repeat_{Repeat: &pipepb.Trigger_Repeat{Subtrigger: ws.Trigger}}}
	in := s.stream("stream", script(at(1, "a"), at(2, "b")))
	s.Components.Pcollections[in].WindowingStrategyId = "early"
	panes := s.Runner("gbk", urn.GroupByKey, "gkv", s.ParDo("key", "a", in, "kv"))
	s.ParDo("panes", "b", panes, "bytes")
	s.do["key"], s.do["panes"] = s.keyed(false), s.panes("gw")
	ws.OutputTime = pipepb.OutputTime_EARLIEST_IN_PANE
	s.works(newRig(t))
	s.want("element a", "pane "+timestamp.Time(1).String()+" k: a", "element b", "pane "+timestamp.Time(2).String()+" k: b")
}

// Two TestStreams, flattened into sessions: elements of both, closer than the
// gap, are one session although the watermark has passed the end of the first
// part alone.
func TestFlattenedTestStreams(t *testing.T) {
	s := newScene(t)
	var ins []string
	for i, m := range []*pipepb.TestStreamPayload{
		script(at(0, "zero"), mark(12_000)),
		script(at(5000, "five"), mark(11_000), mark(14_000)),
	} {
		id := fmt.Sprint(i)
		in := s.ParDo("key "+id, "a", s.stream("stream "+id, m), "kv")
		s.Components.Pcollections[in].WindowingStrategyId = "sessions"
		s.do["key "+id] = s.keyed(true)
		ins = append(ins, in)
	}
	panes := s.Runner("gbk", urn.GroupByKey, "gkv", s.Runner("flat", urn.Flatten, "kv", ins...))
	s.ParDo("panes", "b", panes, "bytes")
	s.do["panes"] = s.panes("iw")
	s.works(newRig(t))
	s.want("element zero", "element five", "pane "+timestamp.Time(14_999).String()+" k: five zero")
}

// An element that its WindowFn gives no window is in no group.
func TestElementWithoutWindow(t *testing.T) {
	for _, strategy := range []plan.Strategy{plan.Shuffle, plan.Reduce} {
		s := newScene(t)
		panes := s.Runner("gbk", urn.GroupByKey, "gkv", s.ParDo("make", "a", s.Impulse("impulse"), "kv"))
		s.ParDo("panes", "b", panes, "bytes")
		s.do["make"] = func(b *fakesdk.Bundle) error {
			for windows, v := range []string{"none", "global"} {
				e := coder.AppendHeader(nil, 0, nil, windows, coder.NoFiring)
				if err := b.Emit(b.Sinks[0], append(append(e, lp("k")...), lp(v)...)); err != nil {
					return err
				}
			}
			return s.each(b, "bytes", "gw", func(coder.Element) error { return nil }, nil)
		}
		s.do["panes"] = s.panes("gw")
		s.works(newRigOf(t, plan.Options{Strategy: strategy}))
		if len(s.log) != 1 || !strings.HasSuffix(s.log[0], "k: global") {
			t.Errorf("strategy %v: %q", strategy, s.log)
		}
	}
}

// An element beyond gRPC's default limit of 4 MiB, from a worker and to one.
func TestElementOf20MB(t *testing.T) {
	s := newScene(t)
	big := strings.Repeat("x", 20<<20)
	read := s.Runner("reshuffle", urn.Reshuffle, "bytes", s.ParDo("make", "a", s.Impulse("impulse"), "bytes"))
	s.ParDo("read", "b", read, "bytes")
	s.do["make"] = func(b *fakesdk.Bundle) error {
		if err := s.each(b, "bytes", "gw", func(coder.Element) error { return nil }, nil); err != nil {
			return err
		}
		return b.Emit(b.Sinks[0], encode(big))
	}
	s.do["read"] = func(b *fakesdk.Bundle) error {
		return s.each(b, "bytes", "gw", func(e coder.Element) error {
			got, _ := text(e.Value)
			s.note("the same: %v", got == big)
			return nil
		}, nil)
	}
	s.works(newRig(t))
	s.want("the same: true")
}

// A DoFn that requires stable input has the same input again when it is tried
// again, although what makes it would make something else, and both could be
// fused.
func TestStableInput(t *testing.T) {
	s := newScene(t)
	s.ParDoLike("stable", "a", s.ParDo("make", "a", s.Impulse("impulse"), "bytes"), "bytes", &pipepb.ParDoPayload{RequiresStableInput: true})
	s.Requirements = []string{urn.RequirementStableInput}
	var made, tried atomic.Int32
	s.do["make"] = func(b *fakesdk.Bundle) error {
		if err := s.each(b, "bytes", "gw", func(coder.Element) error { return nil }, nil); err != nil {
			return err
		}
		return b.Emit(b.Sinks[0], encode(fmt.Sprint("made ", made.Add(1))))
	}
	s.do["stable"] = func(b *fakesdk.Bundle) error {
		got, err := readAll(b)
		if err != nil {
			return err
		}
		s.note("%v", got)
		if tried.Add(1) == 1 {
			return errors.New("not this time")
		}
		return nil
	}
	s.works(newRig(t))
	s.want("[made 1]", "[made 1]")
}

// What reads an Impulse is tried again, the Impulse is not, and what the first
// attempt made is gone.
func TestSourceIsTriedAgain(t *testing.T) {
	s := newScene(t)
	s.ParDo("read", "b", s.ParDo("make", "a", s.Impulse("impulse"), "bytes"), "bytes")
	var tried atomic.Int32
	s.do["make"] = func(b *fakesdk.Bundle) error {
		n := 0
		if err := s.each(b, "bytes", "gw", func(coder.Element) error { n++; return nil }, nil); err != nil {
			return err
		}
		s.note("%d impulse", n)
		if err := b.Emit(b.Sinks[0], encode("split")); err != nil {
			return err
		}
		if tried.Add(1) == 1 {
			return fakesdk.Die(b)
		}
		return nil
	}
	s.do["read"] = func(b *fakesdk.Bundle) error {
		got, err := readAll(b)
		s.note("%v", got)
		return err
	}
	s.works(newRig(t))
	s.want("1 impulse", "1 impulse", "[split]")
}
