package job

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/memory"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
	"github.com/pharos-beam/pharos/internal/storage/logbook"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// Artifacts knows what has been staged for jobs.
type Artifacts interface {
	// Dependencies are the staged artifacts of an environment, as a worker
	// can retrieve them; nil when nothing was staged.
	Dependencies(token, envID string) []*pipepb.ArtifactInformation
	// Drop forgets what was staged for a job.
	Drop(token string)
}

// Options of a Manager.
type Options struct {
	Log   *slog.Logger
	Store store.Store
	Spool *spool.Spool
	FnAPI *fnapi.Server
	// Endpoint is the address at which workers reach this process.
	Endpoint  string
	Artifacts Artifacts
	// Overrides replaces environments: see package environment.
	Overrides map[string]string
	// Containers runs DOCKER environments; may be nil.
	Containers environment.Containers
	// WorkersPerEnvironment is the number of harnesses for each environment; 0
	// lets the environment decide.
	WorkersPerEnvironment int
	// MaxAttempts of a bundle; 0 is the default.
	MaxAttempts int
	// StartTimeout is how long a harness may take to start; 0 is the default.
	StartTimeout time.Duration
	// WorkerMemory is how many bytes a worker may hold; 0: any number.
	WorkerMemory int64
	// StuckAfter is how long a bundle may make no progress before its job is
	// told; 0 is the default.
	StuckAfter time.Duration
	// BundleTimeout is how long a bundle may make no progress before its worker
	// is replaced and the bundle tried again; 0: as long as it likes.
	BundleTimeout time.Duration
	// TempDir is for grouping that does not fit in memory.
	TempDir string
	// Durable: Store and Spool outlive the process, and so do jobs: see Recover.
	Durable bool
	// ClientTimeout is how long a job that goes on after a restart waits for the
	// worker services that it had; 0 is the default.
	ClientTimeout time.Duration
	// StopTimeout is how long Close lets the bundles of durable jobs run on, to
	// commit what they do; 0: it aborts them.
	StopTimeout time.Duration
	// KeepJobs is how many jobs that have ended are kept; 0 is the default.
	KeepJobs int
	// KeepFor is for how long they are kept at most; 0 is no limit.
	KeepFor time.Duration
	// ClockOffset is what the clock of processing time is off by: the crash suite
	// lets it jump with it.
	ClockOffset time.Duration
	// Snapshots is the folder of the snapshots; empty: there are none.
	Snapshots string
	// Origin, if not nil, is the snapshot that the first job begins from that is
	// run and does not name one itself.
	Origin *Origin
	// Memory is who may hold how much; the shares of DefaultMemory if there are
	// none.
	Memory memory.Shares
	// MachineMemory is what there is for workers and all others, bytes; 0: not
	// known.
	MachineMemory int64
	// Tracer is told what jobs do; may be nil.
	Tracer Tracer
	// Logs keeps what the jobs' workers log; nil: in memory.
	Logs *logbook.Book
	// WorkerLog gets what workers log, too, as far as its level goes; may be nil.
	WorkerLog *slog.Logger
	// Scratch opens a store for what does not fit in memory and need not survive
	// the process; nil: it is in memory.
	Scratch func() (store.Store, error)
	// Core and Plan override what the scheduler and the planner do; tests use
	// them to force strategies, shard counts and bundle shapes.
	Core core.Config
	Plan plan.Options
}

// DefaultMemory is the memory budget in bytes when none is given.
const DefaultMemory = 4 << 30

// ErrNotFound says that there is no such job.
var ErrNotFound = errors.New("no such job")

// ErrState says that a job is not in the state that a request needs.
var ErrState = errors.New("not possible in this state of the job")

// errStopping is the answer to those who come too late.
var errStopping = fmt.Errorf("%w: the server is shutting down", ErrState)

// Manager holds the jobs of one server.
type Manager struct {
	opts  Options
	mu    sync.Mutex
	jobs  map[string]*Job
	turns turns
	wg    sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context
	// journal of a durable manager, else nil.
	journal *journal
	sides   *sideRoom
	clock   *clock
	// origin is Options.Origin until a job has begun from it.
	origin *Origin
}

// NewManager returns a manager without jobs.
func NewManager(o Options) *Manager {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Core.RunnerSlots == 0 {
		o.Core.RunnerSlots = runtime.GOMAXPROCS(0)
	}
	if o.StuckAfter <= 0 {
		o.StuckAfter = DefaultStuckAfter
	}
	if o.Memory == (memory.Shares{}) {
		o.Memory = memory.Divide(DefaultMemory)
	}
	if o.MaxAttempts > 0 {
		o.Core.MaxAttempts = o.MaxAttempts
	}
	if o.Logs == nil {
		o.Logs, _ = logbook.Open(logbook.Options{Log: o.Log}) // nothing to fail in memory
	}
	m := &Manager{opts: o, turns: newTurns(o.Core.RunnerSlots), jobs: map[string]*Job{}, sides: newSideRoom(o.Memory.SideIndex(), o.Scratch), origin: o.Origin, clock: newClock(o.ClockOffset)}
	if o.Durable {
		m.journal = &journal{store: o.Store}
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if o.KeepFor > 0 {
		m.wg.Add(1)
		go m.trimInTime()
	}
	return m
}

// Prepare validates and plans a pipeline. A *pipeline.Rejection says all that
// is wrong with it.
func (m *Manager) Prepare(_ context.Context, req *jobpb.PrepareJobRequest) (*Job, error) {
	if m.ctx.Err() != nil {
		return nil, errStopping
	}
	view, err := pipeline.Validate(req.GetPipeline())
	if err != nil {
		return nil, err
	}
	p, err := plan.Build(view, m.opts.Plan)
	if err != nil {
		return nil, err
	}
	set, err := readSettings(req.GetPipelineOptions())
	if err != nil {
		return nil, err
	}
	j := newJob(m, newID(req.GetJobName()), req, p)
	j.settings = set
	if j.origin, err = m.originOf(set); err != nil {
		return nil, err
	}
	if j.origin != nil {
		if err := j.origin.check(j); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	m.jobs[j.id] = j
	m.mu.Unlock()
	m.trim()
	return j, nil
}

var notInID = regexp.MustCompile(`[^a-z0-9]+`)

// newID makes a readable id that cannot be guessed: it is also the token with
// which workers and clients name the job's artifacts.
func newID(name string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return readable(name) + "-" + hex.EncodeToString(b[:])
}

// readable is a job's name as a part of other names.
func readable(name string) string {
	name = strings.Trim(notInID.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(name) > 40 {
		name = name[:40]
	}
	if name == "" {
		name = "job"
	}
	return name
}

// shards is the number of shards of keyed stages.
func (m *Manager) shards() int {
	if n := m.opts.Core.Shards; n > 0 {
		return n
	}
	return core.DefaultShards
}

// dropArtifacts forgets what was staged for a job.
func (m *Manager) dropArtifacts(id string) {
	if m.opts.Artifacts != nil {
		m.opts.Artifacts.Drop(id)
	}
}

// Run starts a prepared job.
func (m *Manager) Run(_ context.Context, preparationID string) (*Job, error) {
	j, ok := m.Job(preparationID)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, preparationID)
	}
	if err := m.ctx.Err(); err != nil {
		return nil, errStopping
	}
	if err := m.claim(j); err != nil {
		return nil, err
	}
	if !j.start() {
		return nil, fmt.Errorf("%w: job %s has been run already", ErrState, preparationID)
	}
	if err := j.save(true); err != nil {
		j.fail(fmt.Errorf("the job cannot be written down: %w", err))
		return nil, err
	}
	m.launch(j)
	return j, nil
}

// launch runs a job on a goroutine of its own.
func (m *Manager) launch(j *Job) {
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		j.run(m.ctx)
		m.trim()
	}()
}

// Job finds a job by its id, which is also its preparation id.
func (m *Manager) Job(id string) (*Job, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, ok := m.jobs[id]
	return j, ok
}

// Jobs returns all jobs, oldest first.
func (m *Manager) Jobs() []*Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*Job, 0, len(m.jobs))
	for _, j := range m.jobs {
		all = append(all, j)
	}
	sort.Slice(all, func(a, b int) bool {
		if !all[a].created.Equal(all[b].created) {
			return all[a].created.Before(all[b].created)
		}
		return all[a].id < all[b].id
	})
	return all
}

// Close takes no more jobs and cancels all that there are, or suspends them if
// they are durable: see Options.StopTimeout. It waits for that, or for ctx.
func (m *Manager) Close(ctx context.Context) error {
	m.stop()
	done := make(chan struct{})
	go func() {
		m.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return m.sides.close()
	case <-ctx.Done():
		return ctx.Err()
	}
}
