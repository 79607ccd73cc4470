package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// PoolOptions configures a Pool. The zero value is usable.
type PoolOptions struct {
	// Workers is how many workers there are at most; one when zero.
	Workers int
	// Listen is the address at which workers reach this process, such as
	// "127.0.0.1:0", which is the default.
	Listen string
	// StartTimeout bounds the start of a worker; 3 minutes when zero.
	StartTimeout time.Duration
	// StateCache is how much state workers may keep between bundles, in MiB;
	// 100 when zero, none when negative.
	StateCache int
	// Experiments are further experiments for the harness.
	Experiments []string
	// Log gets the pool's own messages; slog.Default() when nil.
	Log *slog.Logger
	// OnLog gets what functions and harnesses log; Log when nil.
	OnLog func(LogEntry)
}

// LogEntry is a line that a harness logged.
type LogEntry struct {
	// Worker is the name of the worker.
	Worker string
	Level  slog.Level
	Time   time.Time
	// Logger is the name of the logger, often a module.
	Logger  string
	Message string
	// Trace is the traceback that was logged with the message, if any.
	Trace string
}

// defaultStateCache is the default of PoolOptions.StateCache, in MiB.
const defaultStateCache = 100

// Pool is a number of workers that the operators of a process share. Its
// methods may be called concurrently.
type Pool struct {
	opts   PoolOptions
	fn     *fnapi.Server
	grpc   *grpc.Server
	served chan struct{}
	pool   *environment.Pool
	engine ContainerEngine // nil unless workers are containers
	opened atomic.Int64

	mu     sync.Mutex
	open   map[*Operator]struct{}
	closed bool

	ctx        context.Context // ends with the pool
	cancel     context.CancelFunc
	background sync.WaitGroup
}

// NewPool returns a pool that starts workers when they are needed. The caller
// must Close it. The error is what is wrong with the environment or the options;
// whether workers start is seen by Open.
func NewPool(e Environment, o PoolOptions) (*Pool, error) {
	if o.Workers < 0 {
		return nil, fmt.Errorf("a pool of %d workers", o.Workers)
	}
	orElse(&o.Workers, 1)
	if o.StateCache == 0 {
		o.StateCache = defaultStateCache
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	env, err := e.proto()
	if err != nil {
		return nil, err
	}
	options, err := o.pipelineOptions()
	if err != nil {
		return nil, err
	}
	lis, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("serve the Fn API: %w", err)
	}
	p := &Pool{opts: o, served: make(chan struct{}), open: map[*Operator]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.fn = fnapi.NewServer(fnapi.Options{Log: o.Log})
	p.fn.SetEndpoint(lis.Addr().String())
	p.grpc = grpc.NewServer(fnapi.ServerOptions()...)
	p.fn.Register(p.grpc)
	if e.engine != nil {
		p.engine = e.engine(o.Log) // it connects when it is first needed
	}
	go func() {
		defer close(p.served)
		_ = p.grpc.Serve(lis) // its only error is that the listener was closed
	}()
	p.pool = environment.NewPool(p.fn, "operator", env, environment.Options{
		WorkersPerEnvironment: o.Workers,
		BundlesPerWorker:      1,    // so that operators spread over all workers
		CallerCounts:          true, // see Limits.Attempts
		StartTimeout:          o.StartTimeout,
		Log:                   o.Log,
		OnLog:                 p.log,
		PipelineOptions:       options,
		Containers:            p.engine,
	})
	if err := p.pool.Err(); err != nil {
		p.Close()
		return nil, err
	}
	if p.engine != nil {
		p.background.Go(p.sweep)
	}
	return p, nil
}

// sweep removes the containers of processes of this machine that have ended
// without doing so, for an engine keeps a container that has ended.
func (p *Pool) sweep() {
	if _, err := p.engine.Sweep(p.ctx); err != nil {
		p.opts.Log.Debug("containers of earlier processes are not looked for", "err", err)
	}
}

// pipelineOptions are told to the harnesses.
func (o *PoolOptions) pipelineOptions() (*structpb.Struct, error) {
	experiments := make([]any, 0, len(o.Experiments)+1)
	if o.StateCache > 0 {
		experiments = append(experiments, "state_cache_size="+strconv.Itoa(o.StateCache))
	}
	for _, e := range o.Experiments {
		experiments = append(experiments, e)
	}
	return structpb.NewStruct(map[string]any{"beam:option:experiments:v1": experiments})
}

// log hands a worker's line on.
func (p *Pool) log(h *fnapi.Harness, e *fnpb.LogEntry) {
	entry := LogEntry{
		Worker: h.Name(), Level: level(e.GetSeverity()), Time: e.GetTimestamp().AsTime(),
		Logger: e.GetLogLocation(), Message: e.GetMessage(), Trace: e.GetTrace(),
	}
	if p.opts.OnLog != nil {
		p.opts.OnLog(entry)
		return
	}
	args := []any{"worker", entry.Worker, "logger", entry.Logger}
	if entry.Trace != "" {
		args = append(args, "trace", entry.Trace)
	}
	p.opts.Log.Log(context.Background(), entry.Level, entry.Message, args...)
}

// level translates Beam's severities.
func level(s fnpb.LogEntry_Severity_Enum) slog.Level {
	switch {
	case s >= fnpb.LogEntry_Severity_ERROR:
		return slog.LevelError
	case s >= fnpb.LogEntry_Severity_WARN:
		return slog.LevelWarn
	case s >= fnpb.LogEntry_Severity_INFO:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Open prepares to run f, which keeps its state, if it has any, in memory; see
// OpenState. It returns when a worker is there. The caller must Close the
// operator.
func (p *Pool) Open(ctx context.Context, f Function, l Limits) (*Operator, error) {
	return p.OpenState(ctx, f, l, NewMemory())
}

// OpenState is like Open for a function that keeps its state and timers in b.
// After workers have failed to start five times in a row, batches get that as their
// error; workers are tried again with the next call of Open.
func (p *Pool) OpenState(ctx context.Context, f Function, l Limits, b Backend) (*Operator, error) {
	if err := errors.Join(f.check(), l.check()); err != nil {
		return nil, err
	}
	d, err := describe("f"+strconv.FormatInt(p.opened.Add(1), 10), &f)
	if err != nil {
		return nil, err
	}
	o, err := newOperator(p, f, d, l.complete(&f, p.pool.Size()), b)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.open[o] = struct{}{}
	}
	p.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	p.pool.Retry()
	if err := o.start(ctx); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// forget takes a closed operator off the list.
func (p *Pool) forget(o *Operator) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, o)
}

// Close closes the operators that are open, and stops all workers.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	open := p.open
	p.open = map[*Operator]struct{}{}
	p.mu.Unlock()
	for o := range open {
		o.Close()
	}
	p.pool.Close()
	p.cancel()
	p.background.Wait()
	if p.engine != nil {
		_ = p.engine.Close() // of connections; nothing is lost
	}
	p.grpc.Stop()
	<-p.served
}
