package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// startMS is when a job starts, Unix ms.
const startMS = 1_000_000

// maxSteps is how many steps a job may take.
const maxSteps = 300_000

// world is a job in simulation.
type world struct {
	cfg      config
	rng      *rand.Rand
	pipe     *pipe
	proto    *pipepb.Pipeline
	job      string // its name in the store
	plan     *plan.Plan
	programs []*program // of SDK stages, by stage
	core     *core.Core
	exec     *job.Executor
	store    store.Store
	spool    *spool.Spool
	now      int64
	wakeAt   int64
	current  *task
	tasks    []*task // that run
	answers  []*task // that have something to tell the core
	splits   []core.SplitBundle
	commits  []*commit.Record // on their way to the store
	applied  []*commit.Record // in the store, and the core does not know yet
	records  *table.Records   // of durable jobs
	dir      string
	last     map[uint64]*task
	stale    []core.Event
	faults   int
	chances  int
	started  int
	restarts int // still to come
	moves    int
	drains   int
	drained  bool
	end      *core.Finish
	marks    []timestamp.Time // output watermarks so far, by stage
	// wanted and finalized count finalizations.
	wanted, finalized int

	checks  checks
	failure string
	tracing bool
	trace   []string
}

// newWorld prepares a job.
func newWorld(p *pipe, cfg config, rng *rand.Rand, dir string) (*world, error) {
	w := &world{
		cfg: cfg, rng: rng, pipe: p, proto: p.proto(), job: "sim", dir: dir, restarts: cfg.restarts, moves: cfg.moves, drains: cfg.drains,
		last: map[uint64]*task{}, now: startMS, faults: cfg.faults, chances: cfg.splits,
	}
	if p.virtual {
		w.cfg.moves, w.moves = 0, 0 // it has a clock of its own
	}
	if err := w.build(); err != nil {
		return nil, err
	}
	if err := w.keep(); err != nil {
		return nil, err
	}
	return w, w.open()
}

// build plans the pipeline.
func (w *world) build() error {
	checked, err := pipeline.Validate(w.proto)
	if err != nil {
		return err
	}
	if w.plan, err = plan.Build(checked, w.cfg.plan); err != nil {
		return err
	}
	w.programs = make([]*program, len(w.plan.Stages))
	w.marks = make([]timestamp.Time, len(w.plan.Stages))
	for i, s := range w.plan.Stages {
		w.marks[i] = timestamp.Min
		if s.Kind != plan.SDK {
			continue
		}
		if w.programs[i], err = newProgram(w.pipe, w.plan, s); err != nil {
			return err
		}
	}
	return nil
}

// open makes what does not outlive the process: workers, executor and core. A
// durable job goes on where the store has it.
func (w *world) open() error {
	all := map[string]job.Workers{}
	slots := map[string]int{}
	for env := range w.plan.Environments {
		ws := &workers{w: w, size: w.cfg.workers}
		for range w.cfg.workers {
			ws.all = append(ws.all, &worker{cache: map[string][]byte{}})
		}
		all[env], slots[env] = ws, w.cfg.slots
	}
	var err error
	w.exec, err = job.NewExecutor(job.ExecutorOptions{
		Job: w.job, Log: slog.New(logged{w}), Plan: w.plan, Store: w.store, Spool: w.spool, Workers: all, Shards: w.cfg.shards,
		GroupMemory: w.cfg.groupMemory, SideMemory: w.cfg.sideMemory, TempDir: w.dir, Now: func() int64 { return w.now }, BlockBytes: w.cfg.blockBytes, Durable: w.cfg.durable,
	})
	if err != nil {
		return err
	}
	cfg := core.Config{
		Shards: w.cfg.shards, MaxAttempts: 1 << 20, Slots: slots, RunnerSlots: w.cfg.runnerSlots, BundleElements: w.cfg.elements,
		BundleMS: w.cfg.bundleMS, IdleSplitMS: w.cfg.idleMS, QueueBytes: w.cfg.queueBytes,
	}
	if !w.cfg.durable {
		w.core = core.New(w.plan, cfg)
		return nil
	}
	w.records = table.NewRecords(w.job)
	r := w.store.Snapshot()
	defer r.Close()
	saved, err := w.records.Load(r)
	if err != nil {
		return err
	}
	keep := map[uint64]bool{}
	for _, id := range w.exec.Adopt(saved) {
		keep[id] = true
	}
	w.spool.Retain(keep)
	w.core = core.Recover(w.plan, cfg, core.Saved{
		Items: saved.Items, Shards: saved.Shards, Marks: saved.Marks, Sides: saved.Sides, Bundle: saved.Bundle, Seq: saved.Seq,
	})
	return nil
}

// logged takes what the product logs: an error there is a broken invariant.
type logged struct{ w *world }

func (logged) Enabled(context.Context, slog.Level) bool { return true }
func (l logged) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l logged) WithGroup(string) slog.Handler          { return l }
func (l logged) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		text := r.Message
		r.Attrs(func(a slog.Attr) bool {
			text += " " + a.String()
			return true
		})
		l.w.fail("the log says: %s", text)
	}
	return nil
}

// fail notes the first thing that is wrong.
func (w *world) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
		w.tracef("FAILURE %s", w.failure)
	}
}

func (w *world) tracef(format string, args ...any) {
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf("%d ", w.now)+fmt.Sprintf(format, args...))
	}
}

// run drives the job to its end.
func (w *world) run() {
	defer func() {
		if p := recover(); p != nil {
			w.fail("panic: %v\n%s", p, debug.Stack())
		}
		w.close()
	}()
	w.step(core.Start{NowMS: w.now})
	for n := 0; w.end == nil && w.failure == ""; n++ {
		if n > maxSteps {
			w.fail("the job does not end")
			return
		}
		w.act()
	}
	if w.failure == "" {
		w.checkEnd()
	}
}

// close ends the attempts that still run.
func (w *world) close() {
	for _, t := range w.tasks {
		t.cancel()
		t.stop()
	}
	if err := w.spool.Close(); err != nil {
		w.fail("close the spool: %v", err)
	}
}

// action is something that may happen next.
type action struct {
	weight int
	do     func()
}

// act lets one thing happen.
func (w *world) act() {
	weight := func(n int, able bool) int {
		if able {
			return n
		}
		return 0
	}
	actions := [...]action{
		{weight(12, len(w.tasks) > 0), w.resume},
		{weight(8, len(w.answers) > 0), w.answer},
		{weight(6, len(w.splits) > 0), w.split},
		{weight(5, len(w.commits) > 0), w.apply},
		{weight(5, len(w.applied) > 0), w.acknowledge},
		{weight(2, w.wakeAt > 0), w.clock},
		{weight(1, w.faults > 0 && len(w.tasks) > 0), w.fault},
		{weight(1, w.chances > 0 && len(w.tasks) > 0), w.splitByChance},
		{weight(1, len(w.stale) > 0), w.repeat},
		{weight(w.rng.IntN(2), w.restarts > 0 && w.started > 3), w.restart},
		{weight(w.rng.IntN(2), w.moves > 0 && w.started > 3 && !w.drained), w.move},
		{weight(w.rng.IntN(2), w.drains > 0 && w.started > 3), w.drain},
	}
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	if total == 0 {
		w.fail("nothing is under way, and the core has not asked for the clock")
		return
	}
	n := w.rng.IntN(total)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			a.do()
			return
		}
	}
}

// step tells the core and carries out what it wants.
func (w *world) step(ev core.Event) {
	w.core.Tick(w.now)
	for _, eff := range w.core.Step(ev) {
		switch e := eff.(type) {
		case core.StartBundle:
			w.start(e)
		case core.Commit:
			w.tracef("core: commit bundle %d", e.Record.Bundle)
			w.commits = append(w.commits, e.Record)
		case core.SplitBundle:
			w.tracef("core: split bundle %d at %v, share %v", e.Bundle, e.Fraction, e.Share)
			w.splits = append(w.splits, e)
		case core.AbortBundle:
			if t := w.last[e.Bundle]; t != nil {
				t.cancel()
			}
		case core.Finalize:
			w.wanted++
			if err := w.last[e.Bundle].a.Finalize(context.Background()); err != nil {
				w.fail("finalize bundle %d: %v", e.Bundle, err)
			}
		case core.SidesDone:
			w.finishSides(e.Stage)
		case core.DropBlocks:
			w.exec.Drop(e.IDs...)
		case core.WakeAt:
			w.wakeAt = e.AtMS
		case core.Finish:
			w.tracef("core: finish %+v", e)
			w.end = &e
		}
	}
	w.checkMarks()
}

// answer tells the core the next thing of some attempt. Some of it is told
// again later.
func (w *world) answer() {
	i := w.rng.IntN(len(w.answers))
	t := w.answers[i]
	ev := t.inbox[0]
	if t.inbox = t.inbox[1:]; len(t.inbox) == 0 {
		w.answers = append(w.answers[:i], w.answers[i+1:]...)
	}
	w.tracef("core hears of bundle %d: %T", t.ev.Bundle, ev)
	w.step(ev)
	if _, split := ev.(core.Split); !split && w.rng.IntN(6) == 0 {
		w.stale = append(w.stale, ev)
	}
}

// finishSides gives back the side inputs of a stage that is done.
func (w *world) finishSides(stage int) {
	w.tracef("core: the side inputs of stage %d are done", stage)
	rec, err := w.exec.FinishSides(stage)
	if err == nil && rec != nil {
		err = w.store.Apply(w.records.Append(nil, rec), false)
		w.exec.Durable(rec)
	}
	if err != nil {
		w.fail("finish side inputs: %v", err)
	}
}

// apply commits some records in one batch.
func (w *world) apply() {
	n := 1 + w.rng.IntN(len(w.commits))
	var batch []*commit.Record
	batch, w.commits = w.commits[:n:n], append([]*commit.Record(nil), w.commits[n:]...)
	var ops []keyspace.Op
	for _, r := range batch {
		if w.records != nil {
			ops = w.records.Append(ops, r)
		} else {
			ops = append(ops, r.Ops...)
		}
		if !r.Split {
			w.durable(w.last[r.Bundle])
		}
	}
	if err := w.store.Apply(ops, false); err != nil {
		w.fail("apply: %v", err)
	}
	w.applied = append(w.applied, batch...)
}

// acknowledge tells the core of some records that are durable.
func (w *world) acknowledge() {
	n := 1 + w.rng.IntN(len(w.applied))
	var batch []*commit.Record
	batch, w.applied = w.applied[:n:n], append([]*commit.Record(nil), w.applied[n:]...)
	ack := core.CommitDurable{}
	for _, r := range batch {
		w.exec.Durable(r)
		ack.Bundles = append(ack.Bundles, r.Bundle)
	}
	w.tracef("core hears of commits %v", ack.Bundles)
	w.step(ack)
	for _, r := range batch {
		delete(w.last, r.Bundle)
	}
	if w.rng.IntN(6) == 0 {
		w.stale = append(w.stale, ack)
	}
}

// clock moves the time. If nothing else is under way, it must be to where the
// core wants it.
func (w *world) clock() {
	idle := len(w.tasks)+len(w.answers)+len(w.commits)+len(w.applied) == 0
	if idle {
		w.now = max(w.now, w.wakeAt)
		if w.rng.IntN(4) == 0 {
			w.now-- // a little early
		}
	} else {
		w.now += w.rng.Int64N(1 + w.cfg.jumpMS)
	}
	if w.now >= w.wakeAt || idle {
		w.wakeAt = 0
		w.tracef("core hears the time")
		w.step(core.ClockAdvanced{NowMS: w.now})
	}
}
