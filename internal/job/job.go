package job

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/failpoint"
	"github.com/pharos-beam/pharos/internal/model/secret"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/layout"
	"github.com/pharos-beam/pharos/internal/storage/logbook"
)

// Job is one job, from Prepare on.
type Job struct {
	id       string
	name     string
	created  time.Time
	pipeline *pipepb.Pipeline
	options  *structpb.Struct
	plan     *plan.Plan
	m        *Manager

	events  *history[Event]
	logs    *logbook.Log
	samples samples
	// secrets masks the secret ones among the options.
	secrets *strings.Replacer
	cancel  chan struct{} // closed by Cancel
	once    sync.Once
	// drain is closed by Drain.
	drain     chan struct{}
	drainOnce sync.Once

	mu       sync.Mutex
	state    jobpb.JobState_Enum
	since    time.Time
	metrics  jobMetrics
	settings settings
	driver   *driver         // while it runs
	progress []StageProgress // the last
	stats    Stats           // the last
	messages int
	happened int // events so far
	buried   bool
	resting  bool    // suspended until the runner is started again
	why      string  // it is suspended, if not because the runner stops
	origin   *Origin // the snapshot that it begins from; nil: none
	laidOut  *layout.Layout
	found    *found // what the store had of it when the runner was started
}

func newJob(m *Manager, id string, req *jobpb.PrepareJobRequest, p *plan.Plan) *Job {
	j := blankJob(m, id, req)
	j.plan = p
	j.setState(jobpb.JobState_STOPPED)
	return j
}

func blankJob(m *Manager, id string, req *jobpb.PrepareJobRequest) *Job {
	return &Job{
		id: id, name: req.GetJobName(), created: time.Now(), pipeline: req.GetPipeline(), options: req.GetPipelineOptions(), m: m,
		events: newHistory(eventBytes), logs: m.opts.Logs.Log(id), secrets: secret.Replacer(req.GetPipelineOptions()), cancel: make(chan struct{}), drain: make(chan struct{}),
	}
}

// ID is the job's id, which is also its preparation id and staging token.
func (j *Job) ID() string { return j.id }

// PreparationID is the same as ID.
func (j *Job) PreparationID() string { return j.id }

// Name is what the client called the job.
func (j *Job) Name() string { return j.name }

// Created is when the job was prepared.
func (j *Job) Created() time.Time { return j.created }

// Pipeline is the pipeline as the client sent it.
func (j *Job) Pipeline() *pipepb.Pipeline { return j.pipeline }

// Options are the client's pipeline options.
func (j *Job) Options() *structpb.Struct { return j.options }

// Plan is the execution plan.
func (j *Job) Plan() *plan.Plan { return j.plan }

// State is the job's state and when it came to it.
func (j *Job) State() (jobpb.JobState_Enum, time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state, j.since
}

// isTerminal says whether a job in the state has ended.
func isTerminal(s jobpb.JobState_Enum) bool {
	switch s {
	case jobpb.JobState_DONE, jobpb.JobState_FAILED, jobpb.JobState_CANCELLED, jobpb.JobState_DRAINED, jobpb.JobState_UPDATED:
		return true
	}
	return false
}

func (j *Job) terminal() bool {
	s, _ := j.State()
	return isTerminal(s)
}

func (j *Job) setState(s jobpb.JobState_Enum) {
	j.mu.Lock()
	if isTerminal(j.state) || j.state == s && !j.since.IsZero() {
		j.mu.Unlock()
		return
	}
	j.state, j.since = s, time.Now()
	at := j.since
	j.mu.Unlock()
	j.happen(Event{State: s, At: at})
	if err := j.save(false); err != nil {
		j.m.opts.Log.Warn("the state of a job cannot be written down", "job", j.id, "err", err)
	}
	if isTerminal(s) {
		j.bury()
	}
}

// bury closes the history of a job that has ended, and of which everything has
// been written down.
func (j *Job) bury() {
	j.events.close()
	j.logs.End()
	j.mu.Lock()
	j.buried = true
	j.mu.Unlock()
}

func (j *Job) isBuried() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buried
}

// start moves a prepared job on, once.
func (j *Job) start() bool {
	j.mu.Lock()
	ok := j.state == jobpb.JobState_STOPPED
	if ok {
		j.state = jobpb.JobState_STARTING
		j.since = time.Now()
	}
	at := j.since
	j.mu.Unlock()
	if ok {
		j.happen(Event{State: jobpb.JobState_STARTING, At: at})
	}
	return ok
}

// happen adds an event to the job's history, and to what outlives the runner.
func (j *Job) happen(e Event) {
	j.mu.Lock()
	n, run := j.happened, j.state != jobpb.JobState_STOPPED
	j.happened++
	j.mu.Unlock()
	j.events.add(e)
	if !run {
		return // a job that is never run leaves nothing
	}
	if err := j.m.journal.event(j.id, n, e); err != nil {
		j.m.opts.Log.Warn("an event of a job cannot be written down", "job", j.id, "err", err)
	}
}

// save writes down where the job stands, unless it has never been run.
func (j *Job) save(sync bool) error {
	state := j.stateNow()
	if j.m.journal == nil || state == jobpb.JobState_STOPPED {
		return nil
	}
	return j.write(state, sync)
}

// seal writes down that the job has ended, before what it has in the store is
// dropped.
func (j *Job) seal(end jobpb.JobState_Enum) error {
	if j.m.journal == nil {
		return nil
	}
	failpoint.Hit(failpoint.Seal)
	if err := j.write(end, true); err != nil {
		return err
	}
	failpoint.Hit(failpoint.Sealed)
	return nil
}

// write writes the entry of the job. What it has counted in all belongs to its
// end; until then that is in the records of its bundles.
func (j *Job) write(state jobpb.JobState_Enum, sync bool) error {
	var metrics []byte
	if isTerminal(state) {
		j.mu.Lock()
		infos := j.metrics.committed.Infos()
		j.mu.Unlock()
		var err error
		if metrics, err = encodeInfos(infos); err != nil {
			return err
		}
	}
	p, err := proto.Marshal(j.pipeline)
	if err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	o, err := proto.Marshal(j.options)
	if err != nil {
		return fmt.Errorf("pipeline options: %w", err)
	}
	e := &entry{
		Name: j.name, Created: j.created, Pipeline: p, Options: o, State: state, Since: time.Now(), Draining: j.drains(),
		Shards: j.m.opts.Core.Shards, Plan: j.plan.Fingerprint(), Metrics: metrics, Layout: j.layout(), Origin: j.origins(),
	}
	return j.m.journal.save(j.id, e, sync)
}

// layout says what the rows of the job mean.
func (j *Job) layout() *layout.Layout {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.laidOut == nil && !j.resting {
		j.laidOut = layout.Of(j.pipeline, j.plan)
	}
	return j.laidOut
}

// origins is a copy of where the job begins.
func (j *Job) origins() *Origin {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.origin == nil {
		return nil
	}
	o := *j.origin
	return &o
}

// drains says whether the job has been asked to drain.
func (j *Job) drains() bool {
	select {
	case <-j.drain:
		return true
	default:
		return false
	}
}

func (j *Job) stateNow() jobpb.JobState_Enum {
	s, _ := j.State()
	return s
}

// Cancel ends the job. A job that has ended stays as it is.
func (j *Job) Cancel() {
	j.once.Do(func() { close(j.cancel) })
	if j.idle() {
		j.setState(jobpb.JobState_CANCELLED)
		j.m.dropArtifacts(j.id)
	}
}

// idle says that the job has been prepared and not run.
func (j *Job) idle() bool {
	s, _ := j.State()
	return s == jobpb.JobState_STOPPED
}

// Drain has the job end with what it has read, as DRAINED: see core.Drain. A
// job that has not been run yet is drained from its first moment on; one that
// has ended stays as it is.
func (j *Job) Drain() {
	j.drainOnce.Do(func() { close(j.drain) })
	if s, _ := j.State(); s == jobpb.JobState_RUNNING {
		j.setState(jobpb.JobState_DRAINING)
	}
}

// Events yields the job's history and what comes after it, until the job has
// ended or ctx is done.
func (j *Job) Events(ctx context.Context) iter.Seq[Event] { return j.events.all(ctx, true) }

// Metrics returns what has been attempted, and what has been committed.
func (j *Job) Metrics() (attempted, committed []*pipepb.MonitoringInfo) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.metrics.infos()
}

// Progress says how far each stage is.
func (j *Job) Progress() []StageProgress {
	j.mu.Lock()
	d := j.driver
	j.mu.Unlock()
	if d != nil {
		d.report()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress
}

// message adds a message to the job's stream.
func (j *Job) message(importance jobpb.JobMessage_MessageImportance, text string) {
	j.happen(j.newMessage(importance, text))
}

// relay adds a message that is in the logs, and so need not be kept elsewhere.
func (j *Job) relay(importance jobpb.JobMessage_MessageImportance, text string) {
	j.events.add(j.newMessage(importance, text))
}

func (j *Job) newMessage(importance jobpb.JobMessage_MessageImportance, text string) Event {
	j.mu.Lock()
	j.messages++
	id := strconv.Itoa(j.messages)
	state := j.state
	j.mu.Unlock()
	now := time.Now()
	return Event{State: state, At: now, Message: &jobpb.JobMessage{
		MessageId: id, Time: now.UTC().Format(time.RFC3339Nano), Importance: importance, MessageText: j.secrets.Replace(text),
	}}
}

// suspend says why the job is suspended.
func (j *Job) suspend(why string) {
	j.mu.Lock()
	j.why = why
	j.mu.Unlock()
	j.message(jobpb.JobMessage_JOB_MESSAGE_ERROR, "the job is suspended: "+why)
}

// Suspended is why the job does nothing until the runner is started again, or ends;
// "" if it is not so.
func (j *Job) Suspended() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if isTerminal(j.state) {
		return ""
	}
	return j.why
}

// cancelledWhileSuspended waits with a suspended job for the end of the runner,
// and says whether it was cancelled before. What it has in store and spool is
// then removed at the next start.
func (j *Job) cancelledWhileSuspended(ctx context.Context) bool {
	j.mu.Lock()
	j.resting = true
	j.mu.Unlock()
	select {
	case <-ctx.Done():
		return false
	default:
	}
	select {
	case <-ctx.Done():
		return false
	case <-j.cancel:
		return true
	}
}

// run drives the job to its end. A broken invariant ends the job, not the
// server.
func (j *Job) run(ctx context.Context) {
	log := j.m.opts.Log.With("job", j.id)
	defer func() {
		if p := recover(); p != nil {
			log.Error("internal error", "panic", p, "stack", string(debug.Stack()))
			j.message(jobpb.JobMessage_JOB_MESSAGE_ERROR, fmt.Sprintf("internal error of the runner: %v", p))
			j.setState(jobpb.JobState_FAILED)
		}
	}()
	again := j.found != nil
	if ended := j.restoreFirst(ctx, log); ended {
		return
	}
	d, err := newDriver(j, log)
	if err != nil {
		log.Warn("job cannot start", "err", err)
		j.fail(err)
		return
	}
	if again {
		log.Info("job goes on after a restart of the runner", "name", j.name)
		j.message(jobpb.JobMessage_JOB_MESSAGE_BASIC, "the runner was started again: the job goes on from its last commit")
		if err := d.awaitServices(ctx); err != nil {
			d.giveUp(ctx, err)
			return
		}
	}
	log.Info("job starts", "name", j.name, "stages", len(j.plan.Stages))
	end := d.run(ctx)
	if d.suspended {
		log.Info("job suspended until the runner is started again")
		if !j.cancelledWhileSuspended(ctx) {
			j.events.close()
			j.logs.End()
			return
		}
		end = jobpb.JobState_CANCELLED
		if err := j.seal(end); err != nil {
			log.Warn("the end of the job cannot be written down", "err", err)
		}
	}
	log.Info("job ended", "state", end.String(), "seconds", time.Since(j.created).Seconds())
	if t := j.m.opts.Tracer; t != nil {
		t.JobEnded(j.id, j.name, end.String(), j.created, time.Now())
	}
	j.setState(end)
}
