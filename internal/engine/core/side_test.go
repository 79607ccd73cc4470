package core

import (
	"testing"
	"time"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan"
)

// sidePlan is a TestStream with a main and a side output, and a stage that
// reads them; the side input is in fixed windows of ten seconds.
func sidePlan(trigger *pipepb.Trigger) *plan.Plan {
	coll := func(id string) *plan.Collection { return &plan.Collection{ID: id, Windowing: "fixed"} }
	size, _ := proto.Marshal(&pipepb.FixedWindowsPayload{Size: durationpb.New(10 * time.Second)})
	element := func(tag string) *pipepb.TestStreamPayload_Event {
		return &pipepb.TestStreamPayload_Event{Event: &pipepb.TestStreamPayload_Event_ElementEvent{
			ElementEvent: &pipepb.TestStreamPayload_Event_AddElements{Tag: tag}}}
	}
	mark := func(tag string, t timestamp.Time) *pipepb.TestStreamPayload_Event {
		return &pipepb.TestStreamPayload_Event{Event: &pipepb.TestStreamPayload_Event_WatermarkEvent{
			WatermarkEvent: &pipepb.TestStreamPayload_Event_AdvanceWatermark{Tag: tag, NewWatermark: int64(t)}}}
	}
	return &plan.Plan{
		Coders: map[string]*pipepb.Coder{"iw": {Spec: &pipepb.FunctionSpec{Urn: urn.CoderIntervalWindow}}},
		Windowings: map[string]*pipepb.WindowingStrategy{"fixed": {
			WindowFn: &pipepb.FunctionSpec{Urn: urn.FixedWindows, Payload: size}, WindowCoderId: "iw", Trigger: trigger,
		}},
		Stages: []*plan.Stage{
			{Index: 0, Kind: plan.TestStream, TestStream: &pipepb.TestStreamPayload{Events: []*pipepb.TestStreamPayload_Event{
				element("main"), element("side"), mark("side", 5_000), mark("side", 10_000), mark("main", 1), mark("side", 60_000),
			}}, Outputs: []*plan.Output{
				{Port: "main", Collection: coll("m"), Consumers: []plan.Consumer{{Stage: 1, Side: -1}}},
				{Port: "side", Collection: coll("s"), Consumers: []plan.Consumer{{Stage: 1, Side: 0}}},
			}},
			{Index: 1, Kind: plan.SDK, Environment: "e", Input: coll("m"), SideInputs: []*plan.SideInput{{Collection: coll("s")}}},
		},
	}
}

// startedAt runs the plan until the second stage starts and returns the side
// input's watermark at that time.
func startedAt(t *testing.T, p *plan.Plan) timestamp.Time {
	c := New(p, Config{Slots: map[string]int{"e": 1}})
	at := timestamp.Time(-1)
	var carry func(effs []Effect)
	carry = func(effs []Effect) {
		for _, eff := range effs {
			switch e := eff.(type) {
			case StartBundle:
				if e.Stage == 1 {
					at = c.sideMark(&c.stages[1].sides[0])
					return
				}
				// An element of the window from 0 to 10 seconds.
				port := TestStreamPort(p.Stages[0], e.Event.GetElementEvent().GetTag())
				out := commit.Output{Port: port, Block: commit.Block{ID: e.Bundle, Count: 1, Min: 3_000, End: 9_999}}
				carry(c.Step(BundleFinished{Record: &commit.Record{Bundle: e.Bundle, Attempt: e.Attempt, Outputs: []commit.Output{out}}}))
			case Commit:
				carry(c.Step(CommitDurable{Bundles: []uint64{e.Record.Bundle}}))
			case Finish:
				t.Errorf("the job ended: %+v", e)
			}
		}
	}
	carry(c.Step(Start{}))
	return at
}

// An element waits for the side input of its window, and no longer.
func TestSideInputsOfAWindow(t *testing.T) {
	if at := startedAt(t, sidePlan(nil)); at != 10_000 {
		t.Errorf("started when the side input was at %v, want when its window was over", at)
	}
}

// A trigger that fires early asks for what is there.
func TestTriggeredSideInput(t *testing.T) {
	early := &pipepb.Trigger{Trigger: &pipepb.Trigger_Repeat_{Repeat: &pipepb.Trigger_Repeat{
		Subtrigger: &pipepb.Trigger{Trigger: &pipepb.Trigger_ElementCount_{ElementCount: &pipepb.Trigger_ElementCount{ElementCount: 1}}}}}}
	if at := startedAt(t, sidePlan(early)); at != timestamp.Min {
		t.Errorf("started when the side input was at %v, want at once", at)
	}
}
