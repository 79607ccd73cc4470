package environment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
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
	// CommandLine says that errors and notices may name the options of pharos's
	// command line that help.
	CommandLine bool
	// CallerCounts says that the caller bounds how often workers die of what it
	// has them do: only those that do not start are counted as failures.
	CallerCounts bool
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
			return nil, p.waited(context.Cause(ctx))
		}
	}
}

// waited is the error of a Get that has been given up because of cause. It says
// why there is no worker, if that is known.
func (p *Pool) waited(cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures > 0 && p.lastErr != nil {
		return fmt.Errorf("wait for a worker of environment %q (%v): %w (%d failures before, the last: %v)",
			p.envID, p.target, cause, p.failures, p.lastErr)
	}
	return fmt.Errorf("wait for a worker of environment %q: %w", p.envID, cause)
}

// Retry has a pool that has given up start workers again.
func (p *Pool) Retry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures >= p.failuresMax() {
		p.failures = 0
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
