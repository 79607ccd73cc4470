package core

import (
	"math"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/plan"
)

// withTestStream adds a TestStream of processing-time events to a plan.
func withTestStream(p *plan.Plan, advances ...int64) *plan.Plan {
	ts := &pipepb.TestStreamPayload{}
	for _, d := range advances {
		ts.Events = append(ts.Events, &pipepb.TestStreamPayload_Event{Event: &pipepb.TestStreamPayload_Event_ProcessingTimeEvent{
			ProcessingTimeEvent: &pipepb.TestStreamPayload_Event_AdvanceProcessingTime{AdvanceDuration: d}}})
	}
	p.Stages = append(p.Stages, &plan.Stage{Index: len(p.Stages), Kind: plan.TestStream, TestStream: ts})
	return p
}

// The clock that a TestStream holds still is not the one that tells when a
// bundle has run for long.
func TestSplitsByTheWallClock(t *testing.T) {
	c := New(withTestStream(splitPlan(true)), Config{Slots: map[string]int{"e": 2}, IdleSplitMS: 100})
	impulse := c.Step(Start{NowMS: 1000})[0].(StartBundle)
	c.Step(BundleFinished{Record: &commit.Record{Bundle: impulse.Bundle, Attempt: 1, Outputs: []commit.Output{{Block: commit.Block{ID: 1, Count: 1}}}}})
	effs := c.Step(CommitDurable{Bundles: []uint64{impulse.Bundle}})
	if wake, ok := effs[len(effs)-1].(WakeAt); !ok || wake.AtMS != 1100 {
		t.Fatalf("effects = %v, want to be woken at 1100", effs)
	}
	effs = c.Step(ClockAdvanced{NowMS: 1100})
	if _, ok := effs[0].(SplitBundle); !ok {
		t.Errorf("effects = %v, want a split", effs)
	}
	if wake, ok := effs[len(effs)-1].(WakeAt); !ok || wake.AtMS <= 1100 {
		t.Errorf("effects = %v, want to be woken later", effs)
	}
}

func TestVirtualClockStaysInBounds(t *testing.T) {
	c := New(withTestStream(splitPlan(true), math.MaxInt64, math.MinInt64, math.MaxInt64), Config{})
	now := int64(1000)
	for effs := c.Step(Start{NowMS: now}); len(effs) > 0; effs = nil {
		if c.now < now {
			t.Errorf("the clock went from %d to %d", now, c.now)
		}
	}
	impulse := c.bundles[1]
	c.Step(BundleFinished{Record: &commit.Record{Bundle: impulse.id, Attempt: 1}})
	c.Step(CommitDurable{Bundles: []uint64{impulse.id}})
	if c.now < now {
		t.Errorf("the clock went from %d to %d", now, c.now)
	}
}

// What a TestStream has advanced the clock by is not undone by a restart.
func TestVirtualClockAfterARestart(t *testing.T) {
	p := withTestStream(splitPlan(true), 3_600_000)
	c := Recover(p, Config{}, Saved{Marks: []commit.Mark{{Stage: len(p.Stages) - 1, Event: 1}}})
	c.Tick(2000)
	c.Step(Start{NowMS: 2000})
	if c.now != 3_602_000 {
		t.Errorf("the clock is at %d", c.now)
	}
}
