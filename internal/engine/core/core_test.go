package core

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// world carries out the effects of a core in a random order, with failures,
// and checks the invariants. Elements are only counted: each stage hands on
// what it reads, times its fan-out.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	plan     *plan.Plan
	core     *Core
	fail     float64 // probability that an attempt fails
	events   []Event // what the core has not been told yet
	leased   map[[2]int]uint64
	live     map[uint64]int // blocks by the stage that reads them
	nextID   uint64
	read     []int64 // elements read and committed, by stage
	written  []int64 // elements sent to a stage and committed
	fanout   int64
	finished *Finish
	reads    map[uint64]int64
	now      int64
	splits   map[Event]Split         // to be told before the event
	share    float64                 // probability that a bundle is split
	wakeAt   int64                   // what the core has asked for and not been given
	early    bool                    // the clock may come a little too early
	timers   map[[2]int]commit.Shard // by stage and shard, as committed
	budget   int                     // timers and residuals still to be made
	begun    map[int]bool            // stages with a barrier that have started
	pending  []*commit.Record        // on their way to the store, in order
	store    *savedWorld
	crash    float64 // probability that the process dies before an event
	deaths   int
}

func newWorld(t *testing.T, seed uint64, p *plan.Plan, cfg Config) *world {
	return &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), plan: p, core: New(p, cfg), leased: map[[2]int]uint64{},
		live: map[uint64]int{}, read: make([]int64, len(p.Stages)), written: make([]int64, len(p.Stages)), fanout: 3,
		reads: map[uint64]int64{}, splits: map[Event]Split{},
		timers: map[[2]int]commit.Shard{}, begun: map[int]bool{}, store: newSavedWorld(),
	}
}

func (w *world) run() *Finish {
	w.tell(Start{NowMS: w.now})
	for steps := 0; w.finished == nil; steps++ {
		if steps > 100_000 {
			w.t.Fatal("the job does not end")
		}
		if len(w.events) == 0 {
			if w.wakeAt == 0 {
				w.t.Fatal("nothing is under way and the core has not asked for the clock")
			}
			w.now = w.wakeAt
			if w.early && w.rng.IntN(2) == 0 {
				w.now--
			}
			w.wakeAt = 0
			w.tell(ClockAdvanced{NowMS: w.now})
			continue
		}
		if w.rng.Float64() < w.crash {
			w.die()
			continue
		}
		i := w.rng.IntN(len(w.events))
		ev := w.events[i]
		w.events = append(w.events[:i], w.events[i+1:]...)
		w.tell(ev)
	}
	return w.finished
}

func (w *world) tell(ev Event) {
	before := make([]timestamp.Time, len(w.plan.Stages))
	for i := range before {
		before[i] = w.core.Status(i).Output
	}
	switch ev.(type) {
	case CommitDurable:
		if len(w.pending) == 0 {
			return // it came with one before
		}
		ev = CommitDurable{Bundles: w.stored(1 + w.rng.IntN(len(w.pending)))}
	case BundleFinished, BundleFailed:
		if split, ok := w.splits[ev]; ok {
			delete(w.splits, ev)
			w.tell(split)
		}
	}
	if w.rng.IntN(4) == 0 {
		w.now += w.rng.Int64N(100)
	}
	w.core.Tick(w.now)
	for _, eff := range w.core.Step(ev) {
		w.carry(eff)
	}
	for i := range before {
		st := w.core.Status(i)
		if st.Output < before[i] {
			w.t.Fatalf("the output watermark of stage %d fell from %v to %v", i, before[i], st.Output)
		}
		if st.Output > st.Input {
			w.t.Fatalf("stage %d: output watermark %v beyond input %v", i, st.Output, st.Input)
		}
	}
}

// stored makes the first n pending records durable and returns their bundles.
func (w *world) stored(n int) (bundles []uint64) {
	for _, r := range w.pending[:n] {
		if err := w.store.apply(r); err != nil {
			w.t.Fatal(err)
		}
		w.durable(r)
		bundles = append(bundles, r.Bundle)
	}
	w.pending = w.pending[n:]
	return bundles
}

func (w *world) durable(r *commit.Record) {
	if !r.Split {
		w.read[r.Stage] += w.reads[r.Bundle]
		for k, b := range w.leased {
			if b == r.Bundle {
				delete(w.leased, k)
			}
		}
		for _, o := range r.Outputs {
			to := w.plan.Stages[r.Stage].Outputs[o.Port].Consumers[o.Consumer]
			if to.Side < 0 {
				w.written[to.Stage] += o.Block.Count
				if w.begun[to.Stage] {
					w.t.Fatalf("stage %d got input after it had begun with all of it", to.Stage)
				}
			}
		}
		for _, sh := range r.Shards {
			w.timers[[2]int{r.Stage, sh.Shard}] = sh
		}
	}
}

func (w *world) carry(eff Effect) {
	switch e := eff.(type) {
	case StartBundle:
		w.start(e)
	case Commit:
		w.pending = append(w.pending, e.Record)
		w.events = append(w.events, CommitDurable{})
	case DropBlocks:
		for _, id := range e.IDs {
			if _, ok := w.live[id]; !ok {
				w.t.Fatalf("block %d dropped twice", id)
			}
			delete(w.live, id)
		}
	case WakeAt:
		w.wakeAt = e.AtMS
	case Finish:
		w.finished = &e
	}
}

// stateful sets timers on the leased shards and fires those that are due; it
// returns how many have fired.
func (w *world) stateful(e StartBundle, r *commit.Record) (fired int64) {
	for _, l := range e.Leases {
		sh, ok := w.timers[[2]int{e.Stage, l.Shard}]
		if !ok {
			sh = commit.Shard{Shard: l.Shard, NextEvent: commit.None, NextProc: never, Hold: commit.None}
		}
		if sh.NextEvent <= e.Watermark {
			fired++
			sh.NextEvent, sh.Hold = commit.None, commit.None
		}
		if sh.NextProc <= e.ProcDueMS {
			fired++
			sh.NextProc = never
		}
		if w.budget > 0 && w.rng.IntN(2) == 0 {
			w.budget--
			if w.rng.IntN(2) == 0 {
				sh.NextProc = e.NowMS + w.rng.Int64N(5000)
			} else {
				sh.NextEvent = []timestamp.Time{timestamp.Min, 0, timestamp.Max - 1, timestamp.Max}[w.rng.IntN(4)]
				sh.Hold = min(sh.NextEvent, []timestamp.Time{timestamp.Min, 0, timestamp.Max}[w.rng.IntN(3)])
				if w.rng.IntN(3) == 0 {
					sh.Hold = commit.None
				}
			}
		}
		r.Shards = append(r.Shards, sh)
	}
	return fired
}

// residual leaves some of n elements for later and returns how many are done.
func (w *world) residual(e StartBundle, r *commit.Record, n int64) int64 {
	if n == 0 || w.budget == 0 || w.rng.IntN(2) == 0 {
		return n
	}
	w.budget--
	k := 1 + w.rng.Int64N(n)
	w.nextID++
	w.live[w.nextID] = e.Stage
	res := commit.Residual{Block: commit.Block{ID: w.nextID, Count: k, Min: w.timestamp()}, DelayMS: w.rng.Int64N(3) * 700, Hold: commit.None}
	if w.rng.IntN(2) == 0 {
		res.Hold, res.Estimate = w.timestamp(), true
	}
	r.Residual = append(r.Residual, res)
	return n - k
}

func (w *world) timestamp() timestamp.Time {
	return []timestamp.Time{timestamp.Min, 0, timestamp.Max, timestamp.Max + 5}[w.rng.IntN(4)]
}

// start checks the leases and answers with success or failure, some answers
// twice or late.
func (w *world) start(e StartBundle) {
	s := w.plan.Stages[e.Stage]
	var n, bytes int64
	blocks := 0
	for _, l := range e.Leases {
		if s.Keyed {
			k := [2]int{e.Stage, l.Shard}
			if b, ok := w.leased[k]; ok && b != e.Bundle {
				w.t.Fatalf("shard %d of stage %d leased to bundles %d and %d", l.Shard, e.Stage, b, e.Bundle)
			}
			w.leased[k] = e.Bundle
		}
		for _, b := range l.Blocks {
			if w.live[b.ID] != e.Stage {
				w.t.Fatalf("bundle %d of stage %d got block %d, which is not its own", e.Bundle, e.Stage, b.ID)
			}
			n += b.Count
			bytes += b.Bytes
			blocks++
		}
	}
	if limit := w.core.cfg.InputBytes[s.Environment]; s.Kind == plan.SDK && limit > 0 && bytes > limit && blocks > 1 {
		w.t.Fatalf("bundle %d of stage %d has %d bytes, more than its SDK takes", e.Bundle, e.Stage, bytes)
	}
	var split Split
	shared := s.Kind == plan.SDK && !s.Keyed && n > 1 && w.rng.Float64() < w.share
	if shared {
		split, n = w.split(e, n)
	}
	if w.rng.Float64() < w.fail {
		failed := BundleFailed{Bundle: e.Bundle, Attempt: e.Attempt, Err: "boom"}
		w.events = append(w.events, failed)
		if shared {
			w.splits[failed] = split
		}
		return
	}
	r := &commit.Record{Stage: e.Stage, Bundle: e.Bundle, Attempt: e.Attempt}
	var fired int64
	switch {
	case s.Kind == plan.SDK && s.Keyed:
		fired = w.stateful(e, r)
	case s.Kind == plan.SDK:
		n = w.residual(e, r, n)
	}
	w.begun[e.Stage] = s.Barrier
	out := n*w.fanout + fired
	if s.Kind == plan.Impulse {
		out = 1
	}
	for port, o := range s.Outputs {
		for c, to := range o.Consumers {
			w.output(r, port, c, to, out)
		}
	}
	w.reads[e.Bundle] = n
	w.events = append(w.events, BundleFinished{Record: r})
	if shared {
		w.splits[BundleFinished{Record: r}] = split
	}
	if w.rng.IntN(4) == 0 {
		late := *r
		late.Attempt--
		w.events = append(w.events, BundleFinished{Record: &late})
	}
}

// split gives a part of the n elements of a bundle away, and returns how many
// remain.
func (w *world) split(e StartBundle, n int64) (Split, int64) {
	keep := w.rng.Int64N(n)
	split, left := Split{Bundle: e.Bundle, Attempt: e.Attempt}, keep
	made := func(count int64) commit.Block {
		w.nextID++
		w.live[w.nextID] = e.Stage
		split.Made = append(split.Made, w.nextID)
		return commit.Block{ID: w.nextID, Count: count, Bytes: count * 10, Min: timestamp.Min}
	}
	for _, b := range e.Leases[0].Blocks {
		switch {
		case left >= b.Count:
			split.Primary = append(split.Primary, b)
		case left == 0:
			split.Residual = append(split.Residual, commit.Residual{Block: b, Hold: commit.None})
		default:
			split.Primary = append(split.Primary, made(left))
			split.Residual = append(split.Residual, commit.Residual{Block: made(b.Count - left), Hold: commit.None})
		}
		left = max(0, left-b.Count)
	}
	return split, keep
}

func (w *world) output(r *commit.Record, port, consumer int, to plan.Consumer, n int64) {
	shards := 1
	if w.plan.Stages[to.Stage].Keyed {
		shards = w.core.cfg.Shards
	}
	for n > 0 {
		k := 1 + w.rng.Int64N(n)
		n -= k
		w.nextID++
		if to.Side < 0 {
			w.live[w.nextID] = to.Stage
		}
		r.Outputs = append(r.Outputs, commit.Output{
			Port: port, Consumer: consumer, Shard: w.rng.IntN(shards),
			Block: commit.Block{ID: w.nextID, Count: k, Bytes: k * 10, Min: w.timestamp()},
		})
	}
}

// chain is impulse → sdk → group → sdk, with a side branch.
func chain() *plan.Plan {
	coll := func(id string) *plan.Collection { return &plan.Collection{ID: id, Bounded: true} }
	to := func(stage, side int) plan.Consumer { return plan.Consumer{Stage: stage, Side: side} }
	return &plan.Plan{Stages: []*plan.Stage{
		{Index: 0, Name: "impulse", Kind: plan.Impulse, Outputs: []*plan.Output{{Collection: coll("i"), Consumers: []plan.Consumer{to(1, -1), to(2, -1)}}}},
		{Index: 1, Name: "read", Kind: plan.SDK, Environment: "e", Input: coll("i"), Outputs: []*plan.Output{{Collection: coll("r"), Consumers: []plan.Consumer{to(3, -1)}}}},
		{Index: 2, Name: "side", Kind: plan.SDK, Environment: "e", Input: coll("i"), Outputs: []*plan.Output{{Collection: coll("s"), Consumers: []plan.Consumer{to(4, 0)}}}},
		{Index: 3, Name: "group", Kind: plan.Group, Keyed: true, Barrier: true, Group: &plan.GroupSpec{Strategy: plan.Shuffle}, Input: coll("r"), Outputs: []*plan.Output{{Collection: coll("g"), Consumers: []plan.Consumer{to(4, -1), to(5, -1)}}}},
		{Index: 4, Name: "join", Kind: plan.SDK, Environment: "e", Input: coll("g"), SideInputs: []*plan.SideInput{{Collection: coll("s")}}},
		{Index: 5, Name: "state", Kind: plan.SDK, Keyed: true, Environment: "e", Input: coll("g"), Outputs: []*plan.Output{{Collection: coll("t"), Consumers: []plan.Consumer{to(6, -1)}}}},
		{Index: 6, Name: "group again", Kind: plan.Group, Keyed: true, Barrier: true, Group: &plan.GroupSpec{Strategy: plan.Shuffle}, Input: coll("t")},
	}}
}

func TestJobCompletes(t *testing.T) {
	for seed := range uint64(2000) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cfg := Config{Shards: 4, MaxAttempts: 100, Slots: map[string]int{"e": 2}, RunnerSlots: 2}
			if seed%2 == 1 {
				cfg.InputBytes = map[string]int64{"e": 50}
			}
			cfg.QueueBytes = []int64{0, 1, 100}[seed%3]
			w := newWorld(t, seed, chain(), cfg)
			w.fail = float64(seed%4) / 10
			w.share = float64(seed%3) / 10
			w.early = seed%5 == 0
			w.budget = int(seed % 7)
			end := w.run()
			if end.Err != "" || end.Cancelled {
				t.Fatalf("finish = %+v", *end)
			}
			for i := range w.read {
				if w.read[i] != w.written[i] {
					t.Errorf("stage %d: %d elements were sent, %d read", i, w.written[i], w.read[i])
				}
			}
			if len(w.live) != 0 {
				t.Errorf("blocks left: %v", w.live)
			}
		})
	}
}

func TestFailsAfterMaxAttempts(t *testing.T) {
	w := newWorld(t, 1, chain(), Config{Slots: map[string]int{"e": 2}})
	w.fail = 1
	end := w.run()
	if end.Err != "boom" || end.Attempts != 4 || end.Stage.Name != "impulse" {
		t.Errorf("Finish = %+v, want boom after 4 attempts of impulse", *end)
	}
}

func TestPermanentFailureIsNotRetried(t *testing.T) {
	c := New(chain(), Config{})
	start := c.Step(Start{})[0].(StartBundle)
	for _, eff := range c.Step(BundleFailed{Bundle: start.Bundle, Attempt: start.Attempt, Err: "no such worker", Permanent: true}) {
		if f, ok := eff.(Finish); ok {
			if f.Err != "no such worker" || f.Attempts != 1 {
				t.Errorf("Finish = %+v, want no such worker after 1 attempt", f)
			}
			return
		}
	}
	t.Error("the job did not finish")
}

func TestCancelAbortsWhatRuns(t *testing.T) {
	c := New(chain(), Config{})
	start := c.Step(Start{})[0].(StartBundle)
	effs := c.Step(Cancel{})
	if len(effs) != 2 || effs[0] != (AbortBundle{Bundle: start.Bundle, Attempt: 1}) || effs[1] != (Finish{Cancelled: true}) {
		t.Errorf("effects of Cancel = %v", effs)
	}
	if effs := c.Step(ClockAdvanced{NowMS: 5}); effs != nil {
		t.Errorf("effects after the end = %v", effs)
	}
}

func TestBundlesAdaptToTheirDuration(t *testing.T) {
	c := New(chain(), Config{BundleTargetMS: 1000})
	s := c.stages[1]
	if n := c.bundleElements(s); n != DefaultBundleElements {
		t.Errorf("before any bundle: %d elements", n)
	}
	s.observe(200, 2000) // 10 ms for each element
	if n := c.bundleElements(s); n != 100 {
		t.Errorf("at 10 ms an element and 1 s a bundle: %d elements, want 100", n)
	}
	s.observe(1, 60_000)
	s.observe(1, 60_000)
	s.observe(1, 60_000)
	s.observe(1, 60_000)
	if n := c.bundleElements(s); n < 1 || n > 10 {
		t.Errorf("at a minute an element: %d elements, want a few", n)
	}
	for range 10 {
		s.observe(c.bundleElements(s), 1) // those that came after take no time
	}
	if n := c.bundleElements(s); n < 500 {
		t.Errorf("at a millisecond an element or less: %d elements, want many", n)
	}
	pace := s.pace
	s.observe(1, 50)
	if s.pace != pace {
		t.Errorf("a short bundle makes the pace %v, was %v", s.pace, pace)
	}
}
