package job

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/failpoint"
	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/harness/teststream"
	"github.com/pharos-beam/pharos/internal/model/monitoring"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// Limits of a driver.
const (
	// inboxSize is how many answers may wait for the driver.
	inboxSize = 1024
	// progressEvery is how often long bundles are asked for their progress.
	progressEvery = time.Second
	// finalizeTimeout is how long the SDK has for finalization callbacks.
	finalizeTimeout = time.Minute
)

// driver owns the core of a running job: it is the one goroutine that steps it
// and carries out the effects.
type driver struct {
	j         *Job
	r         *runner
	log       *slog.Logger
	core      *core.Core
	ctx       context.Context // of everything the job runs
	stop      context.CancelFunc
	inbox     chan any
	pools     map[string]*environment.Pool // by environment
	committer *committer
	records   *table.Records // of a durable job, else nil
	kept      keptPages
	unfolded  []uint64              // bundles whose metrics are in the store one by one
	suspended bool                  // the runner stops and the job does not
	resting   bool                  // no bundle begins any more: the runner is about to stop
	updated   bool                  // stopped at a snapshot
	cuts      map[*cut]bool         // snapshots of which there is no view yet
	running   map[uint64]*execution // by bundle
	results   map[uint64]*result    // finished, not yet durable
	clock     *time.Timer
	counts    []stageCount
	stats     Stats                      // without Workers
	streams   map[int]*teststream.Stream // TestStream services, by stage
	wg        sync.WaitGroup
	callbacks sync.WaitGroup // finalizations on their way, also in wg
	end       *core.Finish
}

// stageCount is what the bundles of a stage have done: elements in and out, and
// bundles, of those that are committed; and attempts that failed.
type stageCount struct{ in, out, bundles, failed int64 }

// execution is an attempt that runs.
type execution struct {
	attempt *attempt
	cancel  context.CancelFunc
	started time.Time
	pace    pace
}

// What the driver is told, besides core events.
type (
	attemptDone struct {
		ev  core.StartBundle
		res *result
		err error
	}
	commitDone struct {
		*batch
		took time.Duration // since the first of the records was ready
		err  error
	}
	reportWant struct{ done chan struct{} }
	progressed struct {
		bundle uint64
		ex     *execution
		infos  []*pipepb.MonitoringInfo // all that the worker told
		set    *monitoring.Set          // what the job counts of it
	}
)

func newDriver(j *Job, log *slog.Logger) (*driver, error) {
	o := j.m.opts
	cfg := o.Core
	d := &driver{
		j: j, log: log, inbox: make(chan any, inboxSize),
		running: map[uint64]*execution{}, results: map[uint64]*result{}, streams: map[int]*teststream.Stream{},
		pools: map[string]*environment.Pool{}, cuts: map[*cut]bool{},
		counts: make([]stageCount, len(j.plan.Stages)),
		clock:  time.NewTimer(math.MaxInt64),
	}
	if n := j.settings.maxAttempts; n > 0 {
		cfg.MaxAttempts = n
	}
	if cfg.HeldBytes <= 0 {
		cfg.HeldBytes = o.Memory.Bundle()
	}
	if cfg.QueueBytes <= 0 {
		cfg.QueueBytes = o.Memory.Spool
	}
	if cfg.Shards <= 0 {
		cfg.Shards = core.DefaultShards
	}
	d.r = &runner{
		job: j.id, log: log, plan: j.plan, shards: cfg.Shards, blocks: newBlocks(o.Spool, o.Memory.Block()), store: o.Store,
		workers: map[string]Workers{}, now: wallNow, tempDir: o.TempDir, memory: o.Memory.Group(cfg.RunnerSlots), turns: j.m.turns, sides: j.m.sides,
		streaming: j.settings.streaming,
	}
	if err := d.r.prepare(j.id); err != nil {
		return nil, err
	}
	cfg.Slots, cfg.ComputeSlots, cfg.InputBytes = map[string]int{}, map[string]int{}, map[string]int64{}
	if err := d.startPools(); err != nil {
		return nil, err
	}
	for id, pool := range d.pools {
		cfg.Slots[id], cfg.ComputeSlots[id] = pool.Slots(), pool.ComputeSlots()
		cfg.InputBytes[id] = pool.MaxInput()
	}
	j.settings.shape(&cfg)
	if err := d.restore(cfg); err != nil {
		return nil, err
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d, nil
}

// tell puts something in the driver's inbox; after the end it does nothing.
func (d *driver) tell(x any) {
	select {
	case d.inbox <- x:
	case <-d.ctx.Done():
	}
}

// run drives the job to its end and returns its final state.
func (d *driver) run(ctx context.Context) jobpb.JobState_Enum {
	defer d.close()
	d.j.mu.Lock()
	d.j.driver = d
	d.j.mu.Unlock()
	go d.committer.run(d.ctx)
	cancelled, drain := d.j.cancel, d.j.drain
	d.j.setState(jobpb.JobState_RUNNING)
	select {
	case <-drain:
		drain = d.drain()
	default:
	}
	d.step(core.Start{NowMS: d.j.m.clock.now()})
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	stop, deadline := ctx.Done(), (<-chan time.Time)(nil)
	for d.end == nil {
		if d.resting && len(d.running) == 0 && len(d.results) == 0 {
			d.suspend()
			break
		}
		select {
		case x := <-d.inbox:
			d.handle(x)
		case <-d.clock.C:
			d.step(core.ClockAdvanced{NowMS: d.j.m.clock.now()})
		case <-ticker.C:
			d.poll()
			d.watchPace(time.Now())
		case <-drain:
			drain = d.drain()
		case <-cancelled:
			cancelled = nil
			d.step(core.Cancel{})
		case <-stop:
			stop, deadline = nil, d.rest()
		case <-deadline:
			d.suspend()
		}
	}
	end := d.outcome()
	if d.suspended {
		return end
	}
	if err := d.j.seal(end); err != nil {
		d.log.Warn("the end of the job cannot be written down", "err", err)
	}
	return end
}

// rest begins to stop because the runner does. A durable job begins no bundle
// any more, and those that run have until the returned channel has something;
// they give back what they have not begun. Other jobs end at once: what they
// have done goes with the runner.
func (d *driver) rest() <-chan time.Time {
	if d.records == nil || d.j.m.opts.StopTimeout <= 0 {
		d.suspend()
		return nil
	}
	d.resting = true
	for _, ex := range d.running {
		d.shorten(ex)
	}
	return time.After(d.j.m.opts.StopTimeout)
}

// suspend ends the job's run; a durable job goes on when the runner is started
// again.
func (d *driver) suspend() {
	d.suspended = d.records != nil
	d.step(core.Cancel{})
}

// drain begins to drain the job. It returns the channel to wait on from now on.
func (d *driver) drain() chan struct{} {
	d.j.setState(jobpb.JobState_DRAINING)
	d.step(core.Drain{})
	return nil
}

// handle turns what the driver is told into an event of the core.
func (d *driver) handle(x any) {
	switch x := x.(type) {
	case attemptDone:
		d.attempted(x)
	case core.Event:
		d.step(x)
	case commitDone:
		d.committed(x)
	case *cut:
		d.cut(x)
	case cutMade:
		d.cutMade(x.cut)
	case cutWritten:
		d.cutWritten(x)
	case pagesFound:
		d.pagesFound(x)
	case progressed:
		if d.running[x.bundle] == x.ex { // else it counts, if at all, in what is committed
			d.setLive(x.bundle, x.set)
			x.ex.pace.progressed(x.infos, time.Now())
		}
	case workerNotice:
		d.workerNotice(x)
	case reportWant:
		d.saveProgress()
		close(x.done)
	}
}

// attempted: an attempt has ended.
func (d *driver) attempted(x attemptDone) {
	if ex := d.running[x.ev.Bundle]; ex != nil && ex.attempt.ev.Attempt == x.ev.Attempt {
		ex.cancel()
		d.stats.Attempts.add(time.Since(ex.started))
		d.trace(ex, x)
		d.noteAttempt(ex, x)
		delete(d.running, x.ev.Bundle)
		d.attemptMetrics(x)
	}
	if x.err != nil {
		d.counts[x.ev.Stage].failed++
		d.reportFailure(x)
		d.log.Debug("attempt failed", "stage", d.j.plan.Stages[x.ev.Stage].Name, "bundle", x.ev.Bundle, "attempt", x.ev.Attempt, "err", x.err)
		var kind interface{ Permanent() bool }
		permanent := errors.As(x.err, &kind) && kind.Permanent()
		if (permanent || x.ev.Attempt >= d.core.MaxAttempts()) && d.suspendForRoom(x.err) {
			return // else the job would fail, and with it go all that it has
		}
		d.step(core.BundleFailed{Bundle: x.ev.Bundle, Attempt: x.ev.Attempt, Err: x.err.Error(), Permanent: permanent})
		return
	}
	d.results[x.ev.Bundle] = x.res
	d.step(core.BundleFinished{Record: x.res.record})
}

// trace logs how long an attempt took, for those who look for where the time
// of a job goes.
func (d *driver) trace(ex *execution, x attemptDone) {
	if !d.log.Enabled(d.ctx, slog.LevelDebug) {
		return
	}
	d.log.Debug("attempt ended", "stage", x.ev.Stage, "name", d.j.plan.Stages[x.ev.Stage].Name, "bundle", x.ev.Bundle,
		"attempt", x.ev.Attempt, "shards", len(x.ev.Leases), "elements", ex.attempt.total(), "took", time.Since(ex.started))
}

// committed: records are durable, so their outputs exist from now on.
func (d *driver) committed(x commitDone) {
	if x.err != nil {
		d.uncommitted(x.err)
		return
	}
	if d.log.Enabled(d.ctx, slog.LevelDebug) {
		d.log.Debug("commit", "records", len(x.bundles), "bytes", x.bytes(), "took", x.took)
	}
	d.stats.Commits.add(x.took)
	for _, id := range x.bundles {
		if res := d.results[id]; res != nil { // else it was a split
			d.r.routeSides(res.record)
			d.count(res)
			d.fold(id)
			d.tellCommitted(res)
		}
	}
	d.r.blocks.drop(x.freed...)
	d.step(core.CommitDurable{Bundles: x.bundles})
	for _, id := range x.bundles {
		if res := d.results[id]; res != nil {
			d.kept.add(res.pages)
		}
		delete(d.results, id)
	}
	d.sweepPages()
}

// step tells the core and carries out what it wants.
func (d *driver) step(ev core.Event) {
	d.core.Tick(d.j.m.clock.now())
	for _, eff := range d.core.Step(ev) {
		switch e := eff.(type) {
		case core.StartBundle:
			if !d.resting { // else it is as if it had been aborted at once
				d.start(e)
			}
		case core.Commit:
			d.committer.add(e.Record)
		case core.SplitBundle:
			d.split(e)
		case core.NextTestEvent:
			d.nextTestEvent(e.Stage)
		case core.AbortBundle:
			if ex := d.running[e.Bundle]; ex != nil {
				ex.cancel()
			}
		case core.Finalize:
			d.finalize(e.Bundle)
		case core.SidesDone:
			d.finishSides(e.Stage)
		case core.DropBlocks:
			failpoint.Hit(failpoint.Drop)
			d.r.blocks.drop(e.IDs...)
		case core.WakeAt:
			d.clock.Reset(d.j.m.clock.until(e.AtMS))
		case core.Finish:
			d.end = &e
		}
	}
}

// finishSides gives back the side inputs of a stage that is done.
func (d *driver) finishSides(stage int) {
	rec, err := d.r.finishSides(stage)
	if err != nil {
		d.log.Warn("side inputs cannot be dropped", "stage", d.j.plan.Stages[stage].Name, "err", err)
	}
	if rec != nil {
		d.committer.add(rec)
	}
}

// start runs an attempt on a goroutine of its own.
func (d *driver) start(e core.StartBundle) {
	ctx, cancel := context.WithCancel(d.ctx)
	a := d.r.newAttempt(e)
	a.split.tell = func(ev core.Event) { d.tell(ev) }
	d.running[e.Bundle] = &execution{attempt: a, cancel: cancel, started: time.Now(), pace: pace{last: time.Now()}}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		res, err := a.runSafely(ctx)
		d.tell(attemptDone{ev: e, res: res, err: err})
	}()
}

// split asks a running bundle to give back a part.
func (d *driver) split(e core.SplitBundle) {
	ex := d.running[e.Bundle]
	if ex == nil || ex.attempt.ev.Attempt != e.Attempt {
		return
	}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		ex.attempt.split.split(d.ctx, e.Fraction, e.Share)
	}()
}

// finalize tells the SDK of a durable commit. A failure is logged: the commit
// stands.
func (d *driver) finalize(id uint64) {
	res := d.results[id]
	if res == nil || res.finalize == nil {
		return
	}
	d.wg.Add(1)
	d.callbacks.Add(1)
	go func() {
		defer d.wg.Done()
		defer d.callbacks.Done()
		ctx, cancel := context.WithTimeout(context.Background(), finalizeTimeout)
		defer cancel()
		if err := res.finalize(ctx); err != nil {
			d.log.Warn("bundle finalization failed", "bundle", id, "err", err)
		}
	}()
}
