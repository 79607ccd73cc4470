package core

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// A timer without a hold is due at the end of input; until its bundle is
// durable the stage's output is not complete.
func TestTimersKeepTheEndAway(t *testing.T) {
	c := &plan.Collection{ID: "c", Bounded: true}
	co := New(&plan.Plan{Stages: []*plan.Stage{
		{Index: 0, Kind: plan.Impulse, Outputs: []*plan.Output{{Collection: c, Consumers: []plan.Consumer{{Stage: 1, Side: -1}}}}},
		{Index: 1, Kind: plan.SDK, Keyed: true, Environment: "e", Input: c},
	}}, Config{Shards: 1})
	commits := func(effs []Effect, next timestamp.Time, outputs ...commit.Output) []Effect {
		s := effs[len(effs)-1].(StartBundle)
		r := &commit.Record{Stage: s.Stage, Bundle: s.Bundle, Attempt: s.Attempt, Outputs: outputs}
		if s.Stage == 1 {
			r.Shards = []commit.Shard{{NextEvent: next, NextProc: never, Hold: commit.None}}
		}
		co.Step(BundleFinished{Record: r})
		return co.Step(CommitDurable{Bundles: []uint64{s.Bundle}})
	}
	effs := commits(co.Step(Start{}), 0, commit.Output{Block: commit.Block{ID: 1, Count: 1, Min: timestamp.Min}})
	effs = commits(effs[:1], 7) // the element sets a timer
	if out := co.Status(1).Output; out >= timestamp.Max {
		t.Errorf("output watermark %v while a timer is due", out)
	}
	for i, e := range effs {
		if _, ok := e.(StartBundle); ok {
			effs = effs[:i+1]
		}
	}
	effs = commits(effs, commit.None)
	if out := co.Status(1).Output; out != timestamp.Max {
		t.Errorf("output watermark %v after the last timer", out)
	}
	if f, ok := effs[len(effs)-1].(Finish); !ok || f.Err != "" {
		t.Errorf("effects %v, want the job to be done", effs)
	}
}
