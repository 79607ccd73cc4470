package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/failpoint"
	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/harness/teststream"
	"github.com/pharos-beam/pharos/internal/model/monitoring"
	"github.com/pharos-beam/pharos/internal/storage/spool"
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
	records   *table.Records        // of a durable job, else nil
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
		set    *monitoring.Set
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
	if cfg.Shards <= 0 {
		cfg.Shards = core.DefaultShards
	}
	d.r = &runner{
		job: j.id, log: log, plan: j.plan, shards: cfg.Shards, blocks: newBlocks(o.Spool, o.Memory.Block()), store: o.Store,
		workers: map[string]Workers{}, now: now, tempDir: o.TempDir, memory: o.Memory.Group(cfg.RunnerSlots), turns: j.m.turns, sides: j.m.sides,
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

// restore makes the core: a new one, or one that goes on where the records of a
// durable job have left it.
func (d *driver) restore(cfg core.Config) error {
	o := &d.j.m.opts
	f := d.j.found
	d.j.found = nil
	if f == nil {
		f = &found{records: table.NewRecords(d.j.id), saved: &table.Saved{}}
	}
	d.committer = newCommitter(o.Store, d.tell, nil, nil)
	if o.Durable {
		d.r.durable, d.records = true, f.records
		d.committer = newCommitter(o.Store, d.tell, f.records, o.Spool.Sync)
	}
	saved := f.saved
	d.core = core.Recover(d.j.plan, cfg, core.Saved{
		Items: saved.Items, Shards: saved.Shards, Marks: saved.Marks, Sides: saved.Sides, Bundle: saved.Bundle, Seq: saved.Seq,
	})
	d.r.blocks.adopt(f.blocks(), saved.Aliases)
	slices.SortFunc(saved.Sides, func(a, b commit.Side) int { return cmp.Compare(a.Seq, b.Seq) })
	d.r.routeSides(&commit.Record{Sides: saved.Sides})
	return d.restoreMetrics(saved.Metrics)
}

// restoreMetrics adds up the committed metrics.
func (d *driver) restoreMetrics(all map[uint64][]byte) error {
	for bundle, b := range all {
		infos, err := decodeInfos(b)
		if err != nil {
			return fmt.Errorf("metrics of bundle %d: %w", bundle, err)
		}
		for _, mi := range infos {
			if err := d.j.metrics.committed.Add(mi); err != nil {
				return fmt.Errorf("metrics of bundle %d: %w", bundle, err)
			}
		}
		if bundle != 0 {
			d.unfolded = append(d.unfolded, bundle)
		}
	}
	return nil
}

// maxUnfolded is how many bundles have metrics of their own in the store.
const maxUnfolded = 1000

// fold puts the metrics of many bundles into one row.
func (d *driver) fold(bundle uint64) {
	if d.records == nil {
		return
	}
	if d.unfolded = append(d.unfolded, bundle); len(d.unfolded) < maxUnfolded {
		return
	}
	d.j.mu.Lock()
	sum, err := encodeInfos(d.j.metrics.committed.Infos())
	d.j.mu.Unlock()
	if err != nil {
		d.log.Warn("metrics cannot be written down", "err", err)
		return
	}
	d.committer.add(&commit.Record{Ops: d.records.Fold(nil, sum, d.unfolded)})
	d.unfolded = nil
}

// startPools prepares the workers of all environments that have something to
// do. Those that can never run are all named, one line each, with a transform
// that needs them: the job ends before it does anything.
func (d *driver) startPools() error {
	var errs []error
	envs := d.r.environments()
	for _, id := range slices.Sorted(maps.Keys(envs)) {
		pool := d.pool(id, envs[id])
		if err := pool.Err(); err != nil {
			errs = append(errs, fmt.Errorf("transform %s: %w", d.r.userOf(id), err))
		}
		d.pools[id], d.r.workers[id] = pool, harnesses{pool}
	}
	return errors.Join(errs...)
}

// pool prepares the workers of an environment; they start when needed.
func (d *driver) pool(id string, env *pipepb.Environment) *environment.Pool {
	o := d.j.m.opts
	env = proto.Clone(env).(*pipepb.Environment)
	if o.Artifacts != nil {
		if deps := o.Artifacts.Dependencies(d.j.id, id); deps != nil {
			env.Dependencies = deps
		}
	}
	workers := o.WorkersPerEnvironment
	if n := d.j.settings.workersPerEnvironment; n > 0 {
		workers = n
	}
	of := func(workers int) *environment.Pool {
		return environment.NewPool(o.FnAPI, id, env, environment.Options{
			Endpoint: o.Endpoint, Overrides: o.Overrides, WorkersPerEnvironment: workers,
			StartTimeout: o.StartTimeout, Log: d.log, PipelineOptions: d.j.options, Containers: o.Containers, Job: d.j.id,
			MemoryMax: o.WorkerMemory, Notice: func(h *fnapi.Harness, text string) { d.tell(workerNotice{id, h.Name(), text}) },
			Artifacts: environment.Artifacts{Token: d.j.id}, OnLog: func(h *fnapi.Harness, e *fnpb.LogEntry) { d.j.workerLog(h.Name(), e) },
			OnStartFailure: func(err error) {
				d.j.message(jobpb.JobMessage_JOB_MESSAGE_WARNING, fmt.Sprintf("a worker did not start: %v", err))
			},
		})
	}
	if workers > 0 { // somebody has decided
		return of(workers)
	}
	return d.heed(id, env, of(0), of)
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
	d.step(core.Start{NowMS: now()})
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
			d.step(core.ClockAdvanced{NowMS: now()})
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

// outcome is the state in which the job ends.
func (d *driver) outcome() jobpb.JobState_Enum {
	switch {
	case d.suspended:
		return d.j.stateNow()
	case d.updated:
		return jobpb.JobState_UPDATED
	case d.end.Cancelled:
		return jobpb.JobState_CANCELLED
	case d.end.Err != "":
		text := d.failure(d.end)
		d.j.message(jobpb.JobMessage_JOB_MESSAGE_ERROR, text)
		d.log.Warn("job failed", "err", d.j.secrets.Replace(gist(d.end.Err)))
		return jobpb.JobState_FAILED
	case d.end.Drained:
		return jobpb.JobState_DRAINED
	}
	return jobpb.JobState_DONE
}

// drain begins to drain the job. It returns the channel to wait on from now on.
func (d *driver) drain() chan struct{} {
	d.j.setState(jobpb.JobState_DRAINING)
	d.step(core.Drain{})
	return nil
}

// gist is the last line of an SDK's error, where Python has the exception, or
// the first, where Java and Go have it: what fits a line of the server's log.
func gist(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if strings.HasPrefix(lines[0], "Traceback") {
		return lines[len(lines)-1]
	}
	return lines[0]
}

// failure is the text of a failed job: the SDK's own words first and whole,
// and the transforms it may be about, unless the SDK has said which one it is.
func (d *driver) failure(f *core.Finish) string {
	if f.Stage == nil {
		return f.Err
	}
	text := f.Err
	var names []string
	for _, id := range f.Stage.Transforms {
		name := d.j.pipeline.GetComponents().GetTransforms()[id].GetUniqueName()
		if name == "" {
			name = id
		}
		if strings.Contains(f.Err, name) || strings.Contains(f.Err, id) {
			names = nil
			break
		}
		names = append(names, name)
	}
	switch {
	case len(names) == 1:
		text = fmt.Sprintf("transform %s: %s", names[0], text)
	case len(names) > 1:
		text = fmt.Sprintf("%s\n(in one of the transforms %s)", text, strings.Join(names, ", "))
	}
	if f.Attempts > 1 {
		text += separator(text) + fmt.Sprintf("(the bundle failed in %d attempts)", f.Attempts)
	}
	return text
}

// separator keeps a remark on the line of a text that has only one.
func separator(text string) string {
	if strings.Contains(text, "\n") {
		return "\n"
	}
	return " "
}

func now() int64 { return time.Now().UnixMilli() }

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
	case progressed:
		if d.running[x.bundle] == x.ex { // else it counts, if at all, in what is committed
			d.setLive(x.bundle, x.set)
			x.ex.pace.progressed(x.set.Infos(), time.Now())
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
		var permanent interface{ Permanent() bool }
		d.step(core.BundleFailed{
			Bundle: x.ev.Bundle, Attempt: x.ev.Attempt, Err: x.err.Error(),
			Permanent: errors.As(x.err, &permanent) && permanent.Permanent(),
		})
		return
	}
	d.results[x.ev.Bundle] = x.res
	d.step(core.BundleFinished{Record: x.res.record})
}

// reportEvery is after how many failed attempts of a bundle the job's messages
// tell of it again.
const reportEvery = 10

// reportFailure tells of a bundle that keeps failing: whoever waits for the job
// would take it for one that hangs, if many attempts are allowed. The last
// attempt is told of as the end of the job.
func (d *driver) reportFailure(x attemptDone) {
	limit := d.core.MaxAttempts()
	if n := x.ev.Attempt; n >= limit || n != 2 && n%reportEvery != 0 {
		return
	}
	d.j.message(jobpb.JobMessage_JOB_MESSAGE_WARNING, fmt.Sprintf("attempt %d of %d of a bundle of %s has failed: %s",
		x.ev.Attempt, limit, d.j.plan.Stages[x.ev.Stage].Name, gist(x.err.Error())))
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

// uncommitted: a batch of records cannot be made durable, and so nothing can go
// on. A durable job for whose blocks there is no room has lost nothing: it is
// suspended, and goes on when there is room and the runner is started again.
func (d *driver) uncommitted(err error) {
	d.end = &core.Finish{Err: fmt.Sprintf("the store failed: %v", err)}
	if d.records == nil || !errors.Is(err, spool.ErrDiskFull) && !errors.Is(err, spool.ErrDiskBudget) {
		return
	}
	d.suspended = true
	d.log.Warn("there is no room for what a job puts out", "err", err)
	d.j.message(jobpb.JobMessage_JOB_MESSAGE_ERROR, fmt.Sprintf(
		"the job is suspended: make room on the disk and start the runner again, then it goes on from its last commit: %v", err))
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
		delete(d.results, id)
	}
}

// step tells the core and carries out what it wants.
func (d *driver) step(ev core.Event) {
	d.core.Tick(now())
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
			d.clock.Reset(time.Until(time.UnixMilli(e.AtMS)))
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

// close ends everything that the job started and gives its space back.
func (d *driver) close() {
	defer d.release() // even if the core is broken
	d.saveProgress()
	if d.j.settings.sampling {
		d.j.collectSamples(context.Background()) // the last chance
	}
}

func (d *driver) release() {
	d.j.mu.Lock()
	d.j.driver = nil
	d.j.metrics.live = nil
	d.j.mu.Unlock()
	d.clock.Stop()
	if d.end == nil || !d.end.Cancelled || d.updated {
		d.callbacks.Wait() // they need the workers; what is committed is to be finalized
	}
	d.stop()
	var wg sync.WaitGroup
	for _, p := range d.pools {
		wg.Add(1)
		go func() {
			defer wg.Done()
			p.Close()
		}()
	}
	wg.Wait()
	d.wg.Wait()
	d.closeTestStreams()
	d.committer.wait()
	d.dropCuts()
	if d.suspended {
		return // it goes on when the runner is started again
	}
	d.r.dropSides()
	d.r.blocks.dropAll()
	tx := d.j.m.opts.Store
	if err := dropJob(tx, d.j.id); err != nil {
		d.log.Warn("the job's state cannot be dropped", "err", err)
	}
	d.j.m.dropArtifacts(d.j.id)
}
