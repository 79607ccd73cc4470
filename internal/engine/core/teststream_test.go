package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

func elementEvent(tag string) *pipepb.TestStreamPayload_Event {
	return &pipepb.TestStreamPayload_Event{Event: &pipepb.TestStreamPayload_Event_ElementEvent{
		ElementEvent: &pipepb.TestStreamPayload_Event_AddElements{Tag: tag}}}
}

func watermarkEvent(tag string, t int64) *pipepb.TestStreamPayload_Event {
	return &pipepb.TestStreamPayload_Event{Event: &pipepb.TestStreamPayload_Event_WatermarkEvent{
		WatermarkEvent: &pipepb.TestStreamPayload_Event_AdvanceWatermark{Tag: tag, NewWatermark: t}}}
}

// streamPlan has TestStreams whose one output a stage reads, which is the last.
func streamPlan(payloads ...*pipepb.TestStreamPayload) *plan.Plan {
	p := &plan.Plan{}
	coll := &plan.Collection{ID: "c"}
	for i, ts := range payloads {
		p.Stages = append(p.Stages, &plan.Stage{Index: i, Name: fmt.Sprint("stream", i), Kind: plan.TestStream, TestStream: ts,
			Outputs: []*plan.Output{{Port: "out", Collection: coll, Consumers: []plan.Consumer{{Stage: len(payloads), Side: -1}}}}})
	}
	p.Stages = append(p.Stages, &plan.Stage{Index: len(payloads), Name: "reader", Kind: plan.SDK, Environment: "e", Input: coll})
	return p
}

func served(url string) *pipepb.TestStreamPayload {
	return &pipepb.TestStreamPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: url}}
}

// play carries out effects, each bundle at once, and writes down what happens:
// the TestStream whose event is on, and questions to services.
func play(c *Core, effs []Effect, log *[]string) {
	for _, eff := range effs {
		switch e := eff.(type) {
		case StartBundle:
			r := &commit.Record{Stage: e.Stage, Bundle: e.Bundle, Attempt: e.Attempt}
			if e.Event != nil {
				*log = append(*log, fmt.Sprint("element of ", e.Stage))
				r.Outputs = []commit.Output{{Block: commit.Block{ID: e.Bundle, Count: 1, Min: timestamp.Min}}}
			}
			play(c, c.Step(BundleFinished{Record: r}), log)
		case Commit:
			play(c, c.Step(CommitDurable{Bundles: []uint64{e.Record.Bundle}}), log)
		case NextTestEvent:
			*log = append(*log, fmt.Sprint("ask ", e.Stage))
		case Finish:
			*log = append(*log, strings.TrimSpace("end "+e.Err))
		}
	}
}

func wantLog(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Several TestStreams take turns, so that none is over before another begins.
func TestSecondTestStream(t *testing.T) {
	a, b := elementEvent(""), elementEvent("")
	c := New(streamPlan(
		&pipepb.TestStreamPayload{Events: []*pipepb.TestStreamPayload_Event{a, watermarkEvent("", 5), a, a}},
		&pipepb.TestStreamPayload{Events: []*pipepb.TestStreamPayload_Event{b, b}},
	), Config{Slots: map[string]int{"e": 1}})
	var log []string
	play(c, c.Step(Start{}), &log)
	wantLog(t, log, "element of 0", "element of 1", "element of 1", "element of 0", "element of 0", "end")
}

// The events of a service come one by one, each when the one before has had all
// its effects; while none comes the job waits, and is not stuck.
func TestEventsOfAService(t *testing.T) {
	c := New(streamPlan(served("here:1")), Config{Slots: map[string]int{"e": 1}})
	var log []string
	tell := func(e TestEvent) { play(c, c.Step(e), &log) }
	play(c, c.Step(Start{}), &log)
	if why := c.Explain(0); !strings.Contains(why, "here:1") {
		t.Errorf("explained by %q", why)
	}
	tell(TestEvent{Event: elementEvent("out")})
	tell(TestEvent{Event: watermarkEvent("", 5)})
	if w := c.Status(1).Input; w != 5 {
		t.Errorf("input watermark %v, want 5", w)
	}
	tell(TestEvent{})
	wantLog(t, log, "ask 0", "element of 0", "ask 0", "ask 0", "end")
}

func TestServiceThatBreaks(t *testing.T) {
	c := New(streamPlan(served("here:1")), Config{})
	var log []string
	play(c, c.Step(Start{}), &log)
	play(c, c.Step(TestEvent{Err: "it is broken"}), &log)
	wantLog(t, log, "ask 0", "end it is broken")
}

// Scripts go on while a service is silent, and the virtual clock does not leap.
func TestScriptBesideAService(t *testing.T) {
	c := New(streamPlan(served("here:1"), &pipepb.TestStreamPayload{Events: []*pipepb.TestStreamPayload_Event{elementEvent(""), elementEvent("")}}), Config{Slots: map[string]int{"e": 1}})
	var log []string
	play(c, c.Step(Start{NowMS: 7}), &log)
	play(c, c.Step(TestEvent{Event: elementEvent("")}), &log)
	c.stages[2].shards[0].nextProc = 100
	play(c, c.Step(ClockAdvanced{NowMS: 1000}), &log)
	if c.now != 7 {
		t.Errorf("the clock went to %d", c.now)
	}
	wantLog(t, log, "ask 0", "element of 1", "element of 1", "element of 0", "ask 0")
}

func TestEventForAnUnknownTag(t *testing.T) {
	two := &plan.Stage{Outputs: []*plan.Output{{Port: "a"}, {Port: "b"}}}
	one := &plan.Stage{Outputs: []*plan.Output{{Port: "a"}}}
	for _, c := range []struct {
		s    *plan.Stage
		tag  string
		want int
	}{{two, "b", 1}, {two, "c", -1}, {two, "", -1}, {one, "a", 0}, {one, "", 0}, {one, "b", -1}, {&plan.Stage{}, "", -1}} {
		if got := TestStreamPort(c.s, c.tag); got != c.want {
			t.Errorf("tag %q of %d outputs: %d, want %d", c.tag, len(c.s.Outputs), got, c.want)
		}
	}
}

// A job that is drained has no use for what a TestStream has left, but for the
// event that is on.
func TestDrainOfATestStream(t *testing.T) {
	for _, ts := range []*pipepb.TestStreamPayload{served("here:1"), {Events: []*pipepb.TestStreamPayload_Event{elementEvent(""), elementEvent("")}}} {
		c := New(streamPlan(ts), Config{Slots: map[string]int{"e": 1}})
		var log []string
		effs := c.Step(Start{})
		if ts.Endpoint != nil {
			effs = c.Step(TestEvent{Event: elementEvent("")})
		}
		if again := c.Step(Drain{}); len(again) > 0 {
			t.Errorf("draining did %v while an event was on", again)
		}
		if w := c.Status(1).Input; w > timestamp.Min {
			t.Errorf("the reader's watermark went to %v before the element came", w)
		}
		play(c, effs, &log)
		wantLog(t, log, "element of 0", "end")
		if effs := c.Step(TestEvent{Event: elementEvent("")}); len(effs) > 0 {
			t.Errorf("a late event had effects: %v", effs)
		}
	}
}

// A recovered core asks a service again and is told all from the beginning:
// what has been moves watermarks again, and puts out nothing a second time.
func TestRecoveryOfAService(t *testing.T) {
	p := streamPlan(served("here:1"))
	c := Recover(p, Config{Slots: map[string]int{"e": 1}}, Saved{Marks: []commit.Mark{{Stage: 0, Event: 2, Input: timestamp.Max, Output: timestamp.Max}}})
	var log []string
	play(c, c.Step(Start{}), &log)
	for _, e := range []*pipepb.TestStreamPayload_Event{elementEvent(""), watermarkEvent("", 5), elementEvent(""), nil} {
		play(c, c.Step(TestEvent{Event: e}), &log)
		if e.GetWatermarkEvent() != nil && c.Status(1).Input != 5 {
			t.Errorf("input watermark %v, want 5", c.Status(1).Input)
		}
	}
	wantLog(t, log, "ask 0", "ask 0", "ask 0", "element of 0", "ask 0", "end")
}
