package environment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Limits of a pool.
const (
	// DefaultStartTimeout is how long a worker may take from its start to its
	// control stream. A boot program may install packages in that time.
	DefaultStartTimeout = 3 * time.Minute
	// failuresMax is how many starts and deaths in a row, without a bundle
	// that a worker came back from, a pool takes before it gives up.
	failuresMax = 5
	// backoffMin and backoffMax bound the wait before another start, which
	// doubles with each failure.
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
	// slowStart is how often a job is told that a worker is still starting: that,
	// or a quarter of the time that it has.
	slowStart = 30 * time.Second
	// exitWait is how long a broken control stream waits for its process to
	// end, so that the error can say how it ended.
	exitWait = time.Second
	// outputLogMax is how much of a dead process' output goes into the log.
	outputLogMax = 4 << 10
)

// errPoolClosed is returned by Get after Close.
var errPoolClosed = errors.New("the pool is closed")

// Artifacts says where workers fetch staged artifacts.
type Artifacts struct {
	// Endpoint is the retrieval service; the Fn API's address when empty.
	Endpoint string
	// Token is the retrieval token.
	Token string
}

// Options configures a Pool.
type Options struct {
	// Endpoint is where workers reach the Fn API; the server's own endpoint
	// when empty.
	Endpoint string
	// Overrides replace environments, see Resolve.
	Overrides map[string]string
	// WorkersPerEnvironment is how many workers to run; a default that fits
	// the environment when zero.
	WorkersPerEnvironment int
	// BundlesPerWorker is how many bundles a worker gets while there may be
	// more workers; a default that fits the environment when zero.
	BundlesPerWorker int
	// StartTimeout bounds a worker's start; DefaultStartTimeout when zero.
	StartTimeout time.Duration
	// Log gets the pool's own messages; slog.Default() when nil.
	Log *slog.Logger
	// OnLog gets the workers' log entries.
	OnLog func(*fnapi.Harness, *fnpb.LogEntry)
	// OnStartFailure hears of workers that did not start; nil: nobody does.
	OnStartFailure func(error)
	// Artifacts says where workers fetch artifacts.
	Artifacts Artifacts
	// Containers runs DOCKER environments; they cannot run when it is nil.
	Containers Containers
	// Job is the job's name for those who look at containers.
	Job string
	// MemoryMax is how many bytes a worker may hold before it is replaced; zero
	// is no limit. Workers of other machines are not measured.
	MemoryMax int64
	// Notice gets messages about a worker that its job should know; may be nil.
	Notice func(h *fnapi.Harness, text string)
	// PipelineOptions are the job's.
	PipelineOptions *structpb.Struct
	// Metadata is told to workers in their provision info.
	Metadata map[string]string
}

// worker is what a launcher started.
type worker interface {
	stop()                   // ends it; returns when that is done
	exited() <-chan struct{} // closed at its end; nil if that is not known
	exitError() error        // why, once exited
	output() string          // the end of what it has written, if that is known
	// memory is how many bytes it holds; an error if that is not known.
	memory(ctx context.Context) (int64, error)
}

// provision is what a worker without a boot program is told.
type provision struct {
	options      *structpb.Struct
	capabilities []string
	status       string // where the runner takes status reports; "" if it does not
	secrets      secrets
}

// member is a live worker of a pool.
type member struct {
	h       *fnapi.Harness
	w       worker
	load    int  // bundles on it
	retired bool // gets no more bundles, and ends with the last
}

// Pool is the workers of one environment of one job. Its methods may be called
// concurrently.
type Pool struct {
	srv    *fnapi.Server
	envID  string
	opts   Options
	target *Target
	broken error // the environment cannot run
	// services of an External target
	services *services

	ctx    context.Context // ends with the pool
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	live     []*member
	starting int
	getters  int // callers in Get
	failures int
	lastErr  error
	changed  chan struct{} // closed and replaced at each change
}

// NewPool returns a pool that starts workers once Get asks for them. An
// environment that cannot run is reported by Get and by Err.
func NewPool(srv *fnapi.Server, envID string, env *pipepb.Environment, o Options) *Pool {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = DefaultStartTimeout
	}
	if o.Endpoint == "" {
		o.Endpoint = srv.Endpoint()
	}
	p := &Pool{srv: srv, envID: envID, opts: o, changed: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	t, err := ResolveID(envID, env, o.Overrides)
	if err == nil {
		err = p.prepare(t)
	}
	if err != nil {
		p.broken = fmt.Errorf("environment %q: %w", envID, err)
	}
	p.target = t
	return p
}

// prepare finds out how the workers of a target reach the runner.
func (p *Pool) prepare(t *Target) (err error) {
	switch t.Kind {
	case External:
		p.services = newServices(t.Services)
		return nil
	case Process:
		return nil
	}
	if p.opts.Containers == nil {
		return fmt.Errorf("%w for image %s", ErrNoEngine, t.Image)
	}
	if p.opts.Endpoint, err = p.opts.Containers.Endpoint(p.opts.Endpoint); err != nil {
		return err
	}
	p.opts.Artifacts.Endpoint, err = p.opts.Containers.Endpoint(p.artifactEndpoint())
	return err
}

// artifactEndpoint is where workers fetch artifacts.
func (p *Pool) artifactEndpoint() string {
	if p.opts.Artifacts.Endpoint != "" {
		return p.opts.Artifacts.Endpoint
	}
	return p.opts.Endpoint
}

// Err returns why the environment cannot run, or nil.
func (p *Pool) Err() error { return p.broken }

// Target returns how the workers are started; nil if Err is not.
func (p *Pool) Target() *Target { return p.target }

// Harnesses returns the live workers.
func (p *Pool) Harnesses() []*fnapi.Harness {
	p.mu.Lock()
	defer p.mu.Unlock()
	hs := make([]*fnapi.Harness, len(p.live))
	for i, m := range p.live {
		hs[i] = m.h
	}
	return hs
}

// Size returns how many workers the pool runs at most.
func (p *Pool) Size() int {
	switch {
	case p.opts.WorkersPerEnvironment > 0:
		return p.opts.WorkersPerEnvironment
	case p.broken == nil && p.target.Kind != External && p.target.Language == Python:
		return runtime.GOMAXPROCS(0) // one interpreter uses one core
	}
	if p.services != nil {
		return p.services.slots()
	}
	return 1
}

// perWorker returns how many bundles a worker should get at a time: enough to
// keep it busy while a bundle waits for the runner.
func (p *Pool) perWorker() int {
	n := p.perWorkerDefault()
	if hint, err := strconv.Atoi(string(p.target.Env.GetResourceHints()[urn.ResourceMaxBundlesPerWorker])); err == nil && hint > 0 {
		n = min(n, hint)
	}
	return n
}

func (p *Pool) perWorkerDefault() int {
	if p.opts.BundlesPerWorker > 0 {
		return p.opts.BundlesPerWorker
	}
	switch p.target.Language {
	case Python:
		if p.target.Kind != External || p.Size() > 1 {
			return 2
		}
		return 4
	case TypeScript:
		return 2
	}
	// With threads for all cores and some that wait for answers to state
	// requests; those that come together travel together.
	return min(16, max(8, 2*runtime.GOMAXPROCS(0)))
}

// Slots returns how many bundles the environment should get at a time.
func (p *Pool) Slots() int {
	if p.broken != nil {
		return 1 // so that someone asks and gets the error
	}
	return p.Size() * p.perWorker()
}

// ComputeSlots returns how many bundles keep the environment busy if they do
// not wait for the runner. More take turns on the cores, and are slower.
func (p *Pool) ComputeSlots() int {
	if p.broken != nil || p.target.Language == Python || p.target.Language == TypeScript {
		return p.Slots()
	}
	return min(p.Slots(), p.Size()*max(2, runtime.GOMAXPROCS(0)))
}

// MaxInput returns how many bytes of input a bundle of the environment may
// have: zero if any. Its SDK is given all of a bundle's input in one message,
// and takes no larger ones.
func (p *Pool) MaxInput() int64 {
	if p.broken != nil {
		return 0
	}
	t := traitsOf(p.target.Language)
	if !t.SingleMessage || t.MaxMessageBytes == 0 {
		return 0
	}
	return int64(t.MaxMessageBytes) - singleMessageRoom
}

// Get returns the least loaded live worker; the caller must Put it back. It
// starts workers while all are busy and there are fewer than there may be, and
// waits only if none has room. After too many failures in a row it returns the
// last one.
func (p *Pool) Get(ctx context.Context) (*fnapi.Harness, error) {
	if p.broken != nil {
		return nil, p.broken
	}
	p.getting(1)
	defer p.getting(-1)
	for {
		h, changed, err := p.tryGet()
		if h != nil || err != nil {
			return h, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a worker of environment %q: %w", p.envID, context.Cause(ctx))
		}
	}
}

// getting counts who is in Get.
func (p *Pool) getting(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.getters += n
}

// tryGet returns a worker, an error, or what to wait for.
func (p *Pool) tryGet() (*fnapi.Harness, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, p.describe(errPoolClosed)
	}
	var best *member
	for _, m := range p.live {
		if alive(m.h) && !m.retired && (best == nil || m.load < best.load) {
			best = m
		}
	}
	busy := best == nil || best.load > 0
	if busy && p.starting < p.getters && p.staying()+p.starting < p.Size() && p.failures < p.failuresMax() {
		p.starting++
		p.wg.Add(1)
		go p.start(backoff(p.failures))
	}
	switch {
	case best != nil && (best.load < p.perWorker() || p.starting == 0):
		best.load++
		return best.h, nil, nil
	case best == nil && p.starting == 0 && p.failures >= p.failuresMax():
		return nil, nil, p.describe(gaveUpError{fmt.Errorf("gave up after %d failures in a row: %w", p.failures, p.lastErr)})
	}
	return nil, p.changed, nil
}

// staying counts the workers that get more bundles; p.mu is held.
func (p *Pool) staying() (n int) {
	for _, m := range p.live {
		if !m.retired {
			n++
		}
	}
	return n
}

// failuresMax is how many failures in a row the pool takes: a service that is
// away costs some, and must not use up those of the others.
func (p *Pool) failuresMax() int {
	if p.services != nil {
		return failuresMax * len(p.services.list)
	}
	return failuresMax
}

// gaveUpError is the error of a pool that starts no more workers.
type gaveUpError struct{ error }

func (e gaveUpError) Unwrap() error { return e.error }

// Permanent says that to try again is of no use.
func (gaveUpError) Permanent() bool { return true }

// alive reports whether h is not dead.
func alive(h *fnapi.Harness) bool {
	select {
	case <-h.Done():
		return false
	default:
		return true
	}
}

// backoff returns how long to wait before a start after n failures.
func backoff(n int) time.Duration {
	if n == 0 {
		return 0
	}
	return min(backoffMax, backoffMin<<min(n-1, 16))
}

// Put gives back a worker from Get.
func (p *Pool) Put(h *fnapi.Harness) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.live {
		if m.h == h {
			if m.load--; m.load == 0 && m.retired {
				go h.Close(nil) // its watcher does the rest
			}
			if alive(h) {
				p.failures = 0
			}
			p.notify()
			return
		}
	}
}

// Succeeded says that a worker which is kept has done a bundle: the failures
// before that do not count any more.
func (p *Pool) Succeeded(h *fnapi.Harness) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if alive(h) {
		p.failures = 0
	}
}

// notify wakes everybody in Get; p.mu is held.
func (p *Pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// describe adds the environment to an error.
func (p *Pool) describe(err error) error {
	return fmt.Errorf("environment %q (%v): %w", p.envID, p.target, err)
}

// start starts one worker and watches it until its end.
func (p *Pool) start(wait time.Duration) {
	defer p.wg.Done()
	m, err := p.launch(wait)
	p.mu.Lock()
	p.starting--
	if err == nil && p.closed {
		err = errPoolClosed
	}
	if err != nil {
		p.failures++
		p.lastErr = err
		p.notify()
		p.mu.Unlock()
		if m != nil {
			p.stop(m)
		}
		if !errors.Is(err, context.Canceled) && !errors.Is(err, errPoolClosed) {
			p.opts.Log.Warn("SDK worker did not start", append(p.about(m), "error", err)...)
			if p.opts.OnStartFailure != nil {
				p.opts.OnStartFailure(p.describe(err))
			}
		}
		return
	}
	p.live = append(p.live, m)
	p.notify()
	p.mu.Unlock()
	p.opts.Log.Debug("SDK worker started", "environment", p.envID, "worker", m.h.Name())
	p.watch(m)
}

// about returns what a log line says of m, which may be nil.
func (p *Pool) about(m *member) []any {
	a := []any{"environment", p.envID, "target", p.target.String()}
	if m == nil {
		return a
	}
	a = append(a, "worker", m.h.Name())
	if m.w != nil {
		if out := m.w.output(); out != "" {
			a = append(a, "output", out[max(0, len(out)-outputLogMax):])
		}
	}
	return a
}

// watch waits for the worker's end and takes it out of the pool.
func (p *Pool) watch(m *member) {
	p.attend(m)
	p.mu.Lock()
	for i := range p.live {
		if p.live[i] == m {
			p.live = append(p.live[:i], p.live[i+1:]...)
			break
		}
	}
	if err := m.h.Err(); err != nil && !p.closed {
		p.failures++
		p.lastErr = err
		p.opts.Log.Warn("SDK worker died", append(p.about(m), "error", err)...)
	}
	p.notify()
	p.mu.Unlock()
	p.stop(m)
}

// launch starts a worker and waits until it is ready. A member that is
// returned with an error must be stopped.
func (p *Pool) launch(wait time.Duration) (*member, error) {
	if err := sleep(p.ctx, wait); err != nil {
		return nil, err
	}
	if p.target.Kind == Docker { // which may take longer than a start
		if err := p.fetch(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.StartTimeout)
	defer cancel()
	prefix := string(p.target.Language)
	if prefix == "" {
		prefix = "sdk"
	}
	id := fnapi.NewWorkerID(prefix)
	m := &member{}
	var mu sync.Mutex // m.w is set after the harness may already fail
	m.h = p.srv.Expect(fnapi.WorkerConfig{
		ID:           id,
		Name:         id[:len(prefix)+1+6], // enough to tell workers apart, not to speak for one
		Endpoint:     p.opts.Endpoint,
		Provision:    p.provisionInfo(),
		Capabilities: p.target.Env.GetCapabilities(),
		Traits:       traitsOf(p.target.Language),
		OnLog:        p.opts.OnLog,
		Explain: func(err error) error {
			mu.Lock()
			w := m.w
			mu.Unlock()
			if exit := waitExit(p.ctx, w, exitWait); exit != nil {
				return exit
			}
			return err
		},
	})
	w, err := p.launchWorker(ctx, m.h)
	if err != nil {
		m.h.Close(err)
		return nil, err
	}
	mu.Lock()
	m.w = w
	mu.Unlock()
	return m, p.await(ctx, m)
}

// await waits until a worker that has been started is ready.
func (p *Pool) await(ctx context.Context, m *member) error {
	slow := time.NewTicker(max(time.Millisecond, min(slowStart, p.opts.StartTimeout/4)))
	defer slow.Stop()
	began := time.Now()
	for {
		select {
		case <-m.h.Ready():
			return nil
		case <-m.h.Done():
			return m.h.Err()
		case <-m.w.exited():
			return m.w.exitError()
		case <-slow.C:
			p.notice(m.h, fmt.Sprintf("a worker of environment %q (%v) is starting for %v by now; it may take %v (--worker-start-timeout)",
				p.envID, p.target, time.Since(began).Round(time.Second), p.opts.StartTimeout))
		case <-ctx.Done():
			if p.ctx.Err() != nil {
				return errPoolClosed
			}
			return fmt.Errorf("worker did not connect to %s within %v (--worker-start-timeout)", p.opts.Endpoint, p.opts.StartTimeout)
		}
	}
}

// notice tells the job of a worker.
func (p *Pool) notice(h *fnapi.Harness, text string) {
	p.opts.Log.Warn(text, "worker", h.Name())
	if p.opts.Notice != nil {
		p.opts.Notice(h, text)
	}
}

// launchWorker starts the worker that h expects.
func (p *Pool) launchWorker(ctx context.Context, h *fnapi.Harness) (worker, error) {
	switch p.target.Kind {
	case External:
		return asWorker(p.services.start(ctx, p.target.Params, p.contact(h)))
	case Process:
		return asWorker(startProcess(p.target, p.contact(h), provision{
			options:      p.opts.PipelineOptions,
			capabilities: fnapi.DefaultCapabilities(),
			status:       p.statusEndpoint(),
			secrets:      p.secrets(h),
		}))
	case Docker:
		return asWorker(p.startContainer(ctx, h))
	}
	return nil, fmt.Errorf("cannot start workers of kind %v", p.target.Kind)
}

// asWorker keeps a nil pointer from becoming a worker that is not nil.
func asWorker[W worker](w W, err error) (worker, error) {
	if err != nil {
		return nil, err
	}
	return w, nil
}

// provisionInfo is what workers are told by GetProvisionInfo.
func (p *Pool) provisionInfo() *fnpb.ProvisionInfo {
	info := &fnpb.ProvisionInfo{
		PipelineOptions:  p.opts.PipelineOptions,
		RetrievalToken:   p.opts.Artifacts.Token,
		Dependencies:     p.target.Env.GetDependencies(),
		ArtifactEndpoint: &pipepb.ApiServiceDescriptor{Url: p.artifactEndpoint()},
		Metadata:         p.opts.Metadata,
	}
	if url := p.statusEndpoint(); url != "" {
		info.StatusEndpoint = &pipepb.ApiServiceDescriptor{Url: url}
	}
	return info
}

// statusEndpoint is where workers report their status; "" if they do not.
func (p *Pool) statusEndpoint() string {
	if !p.reportsStatus() {
		return ""
	}
	return p.opts.Endpoint
}

// stop ends a worker: its control stream first, so that it can end by itself.
func (p *Pool) stop(m *member) {
	m.h.Close(nil)
	if m.w != nil {
		m.w.stop()
	}
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops all workers and waits until they have ended.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	live := append([]*member(nil), p.live...)
	p.notify()
	p.mu.Unlock()
	p.cancel()
	for _, m := range live {
		m.h.Close(nil) // its watcher stops the rest
	}
	p.wg.Wait()
}
