package core

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// What was to rest for 100 ms rests no longer if the clock has been set back
// while there was no core.
func TestClockSetBack(t *testing.T) {
	const hour = 3600_000
	c := Recover(splitPlan(true), Config{Slots: map[string]int{"e": 2}}, Saved{
		Items: []commit.Item{{Stage: 1, Seq: 1, Block: commit.Block{ID: 1, Count: 1}, SinceMS: hour, ReadyMS: hour + 100}},
		Marks: []commit.Mark{{Stage: 0, Fired: true, Input: timestamp.Max, Output: timestamp.Max}}, Bundle: 1, Seq: 1,
	})
	var at int64
	for _, eff := range c.Step(Start{NowMS: 1000}) {
		if e, ok := eff.(WakeAt); ok {
			at = e.AtMS
		}
	}
	if at != 1100 {
		t.Fatalf("the core wants to be woken at %d, not at 1100", at)
	}
	started := false
	for _, eff := range c.Step(ClockAdvanced{NowMS: 1100}) {
		_, ok := eff.(StartBundle)
		started = started || ok
	}
	if !started {
		t.Error("no bundle starts")
	}
}
