package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// drainRig steps a core whose stage 1 is an unbounded source. Impulses and
// commits carry themselves out; the rest is noted, one line each.
type drainRig struct {
	t     *testing.T
	c     *Core
	seen  []string
	last  StartBundle
	block uint64
}

func newDrainRig(t *testing.T) *drainRig {
	p := splitPlan(true)
	p.Stages[1].Descriptor = &fnpb.ProcessBundleDescriptor{Pcollections: map[string]*pipepb.PCollection{"out": {IsBounded: pipepb.IsBounded_UNBOUNDED}}}
	return &drainRig{t: t, c: New(p, Config{Slots: map[string]int{"e": 2}}), block: 1}
}

func (r *drainRig) step(ev Event) {
	for _, eff := range r.c.Step(ev) {
		switch e := eff.(type) {
		case StartBundle:
			if e.Stage == 0 {
				r.step(BundleFinished{Record: &commit.Record{Bundle: e.Bundle, Attempt: e.Attempt,
					Outputs: []commit.Output{{Block: commit.Block{ID: 1, Count: 1, Min: timestamp.Min}}}}})
				continue
			}
			r.last = e
			r.note("start blocks=%d truncate=%v", e.Leases[0].Blocks[0].ID, e.Truncate)
		case Commit:
			r.step(CommitDurable{Bundles: []uint64{e.Record.Bundle}})
		case SplitBundle:
			r.note("split %g share=%v", e.Fraction, e.Share)
		case Finish:
			r.note("finish drained=%v err=%q", e.Drained, e.Err)
		}
	}
}

func (r *drainRig) note(format string, args ...any) {
	r.seen = append(r.seen, fmt.Sprintf(format, args...))
}

// end ends the bundle that runs. What is left over is a block with the next
// number, if delay is not negative: it rests for that time, and its estimate is
// hold.
func (r *drainRig) end(delay int64, hold timestamp.Time) {
	rec := &commit.Record{Stage: 1, Bundle: r.last.Bundle, Attempt: r.last.Attempt}
	if delay >= 0 {
		r.block++
		rec.Residual = []commit.Residual{{Block: commit.Block{ID: r.block, Count: 1, Min: timestamp.Min}, DelayMS: delay, Hold: hold, Estimate: hold != commit.None}}
	}
	r.step(BundleFinished{Record: rec})
}

func (r *drainRig) want(lines ...string) {
	r.t.Helper()
	if !slices.Equal(r.seen, lines) {
		r.t.Errorf("seen\n\t%s\nwant\n\t%s", strings.Join(r.seen, "\n\t"), strings.Join(lines, "\n\t"))
	}
	r.seen = nil
}

// A bundle that runs is asked to checkpoint; what it gives back is truncated,
// once, and then processed to its end.
func TestDrainOfARunningSource(t *testing.T) {
	r := newDrainRig(t)
	r.step(Start{})
	r.want("start blocks=1 truncate=false")
	r.step(Drain{})
	r.step(Drain{}) // the second time says nothing new
	r.want("split 0 share=false")
	r.end(0, 50)
	r.want("start blocks=2 truncate=true")
	if w := r.c.Status(1).Output; w != 50 {
		t.Errorf("the watermark is at %v, and not at the estimate 50", w)
	}
	r.end(0, commit.None)
	r.want("start blocks=3 truncate=false")
	if w := r.c.Status(1).Output; w != 50 {
		t.Errorf("truncating has moved the watermark from 50 to %v", w)
	}
	r.end(0, 60) // it checkpoints by itself
	r.want("start blocks=4 truncate=false")
	r.end(-1, 0)
	r.want(`finish drained=true err=""`)
}

// A source that rests is truncated at once.
func TestDrainOfARestingSource(t *testing.T) {
	r := newDrainRig(t)
	r.step(Start{})
	r.end(3_600_000, 70)
	r.want("start blocks=1 truncate=false")
	r.step(Drain{})
	r.want("start blocks=2 truncate=true")
	r.end(-1, 0)
	r.want(`finish drained=true err=""`)
}

// A failed attempt to truncate is tried again.
func TestDrainThatFails(t *testing.T) {
	r := newDrainRig(t)
	r.step(Drain{}) // before the start
	r.step(Start{})
	r.want("start blocks=1 truncate=true")
	r.step(BundleFailed{Bundle: r.last.Bundle, Attempt: r.last.Attempt, Err: "no"})
	r.step(ClockAdvanced{NowMS: 1000})
	r.want("start blocks=1 truncate=true")
	r.end(-1, 0)
	r.want(`finish drained=true err=""`)
}

// The elements of a TestStream event that are on their way when the job is
// drained hold the watermark until they are there.
func TestDrainWithAnEventOnItsWay(t *testing.T) {
	ts := &pipepb.TestStreamPayload{}
	for range 2 {
		ts.Events = append(ts.Events, &pipepb.TestStreamPayload_Event{Event: &pipepb.TestStreamPayload_Event_ElementEvent{
			ElementEvent: &pipepb.TestStreamPayload_Event_AddElements{},
		}})
	}
	c := New(&plan.Plan{Stages: []*plan.Stage{{Kind: plan.TestStream, TestStream: ts, Outputs: []*plan.Output{{}}}}}, Config{})
	start := c.Step(Start{})[0].(StartBundle)
	c.Step(Drain{})
	if w := c.Status(0).Output; w != timestamp.Min {
		t.Errorf("the watermark is at %v while elements are to come", w)
	}
	c.Step(BundleFinished{Record: &commit.Record{Bundle: start.Bundle, Attempt: start.Attempt}})
	effs := c.Step(CommitDurable{Bundles: []uint64{start.Bundle}})
	if f, ok := effs[len(effs)-1].(Finish); !ok || !f.Drained || f.Err != "" {
		t.Errorf("effects %v, want the end, drained", effs)
	}
}
