package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/pharos-beam/pharos/internal/harness/docker"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/server"
	"github.com/pharos-beam/pharos/internal/server/api"
	"github.com/pharos-beam/pharos/internal/server/artifact"
	"github.com/pharos-beam/pharos/internal/server/jobserver"
	"github.com/pharos-beam/pharos/internal/server/scrape"
	"github.com/pharos-beam/pharos/internal/server/webui"
	"google.golang.org/grpc"
)

// stopTimeout is how long a stop waits for jobs and connections to end, besides
// what bundles get, before it cuts them off.
const stopTimeout = 10 * time.Second

// Config is what the flags of `serve` and `run` say.
type Config struct {
	Host                  string
	Port                  int           // 0 picks a free one
	HTTPPort              int           // 0 picks a free one
	Dir                   string        // for everything that goes to disk
	Durable               bool          // jobs in Dir outlive the process
	ClientTimeout         time.Duration // how long such jobs wait for their worker services
	KeepJobs              int           // how many jobs that have ended are kept; 0 is the default
	KeepFor               time.Duration // and for how long at most; 0 is no limit
	ClockOffset           time.Duration // of processing time, for tests
	Origin                *job.Origin   // the snapshot that the first job begins from; nil: none
	Memory                int64         // bytes of memory that the process may take
	Disk                  int64         // bytes of element data kept on disk; 0 is no limit
	Overrides             map[string]string
	WorkersPerEnvironment int
	MaxAttempts           int
	Docker                docker.Options
	Limits                workerLimits
	StopTimeout           time.Duration // how long bundles of durable jobs may run on after a stop
	Advertise             string        // where workers reach this process, if not where it listens
	Profile               bool          // serve profiles of this process
	Log                   *slog.Logger
	WorkerLog             *slog.Logger // gets what workers log, too; nil: nobody does
	TraceEndpoint         string       // URL of an OpenTelemetry collector; empty: none
	LogSpace              int64        // bytes of workers' logs that are kept; 0 is the default
	Version               string
}

// EngineConfig is what an engine is made with.
type EngineConfig struct {
	Config
	Endpoint  string // where workers reach this process, host:port
	Artifacts *artifact.Store
}

// Engine runs jobs. Server options and Register let it add its services for
// workers to the gRPC server of the front door.
type Engine struct {
	Jobs          server.Jobs
	ServerOptions []grpc.ServerOption
	Register      func(*grpc.Server)
	// WorkersJob finds the artifact token of the job for which the worker that
	// makes a call works.
	WorkersJob func(context.Context) (string, error)
	// Options are the pipeline options that the engine looks at.
	Options []*jobpb.PipelineOptionDescriptor
	// Start lets the jobs of a durable engine go on, before the first request is
	// answered; may be nil.
	Start func() error
	// Close ends or suspends all jobs, and ends their workers.
	Close func(context.Context) error
	// Stats says what the engine uses; may be nil.
	Stats func() server.RunnerStats
}

// NewEngine makes an engine.
type NewEngine func(EngineConfig) (*Engine, error)

// frontDoor is a runner that serves: gRPC for SDKs and workers on one address,
// HTTP for people and the command line on another.
type frontDoor struct {
	jobEndpoint string // host:port
	httpURL     string
	jobs        server.Jobs

	engine *Engine
	grpc   *grpc.Server
	http   *http.Server
	health *health
	failed chan error    // a server ended that should not
	stop   time.Duration // how long a stop may take
}

// open starts everything. When it returns, both addresses serve.
func open(cfg Config, newEngine NewEngine) (*frontDoor, error) {
	lis, err := listen(cfg.Host, cfg.Port)
	if err != nil {
		return nil, err
	}
	httpLis, err := listen(cfg.Host, cfg.HTTPPort)
	if err != nil {
		lis.Close()
		return nil, err
	}
	d, err := build(cfg, newEngine, lis.Addr(), httpLis.Addr())
	if err != nil {
		lis.Close()
		httpLis.Close()
		return nil, err
	}
	// Whoever asks for a job of before is not to be told that there is none: until
	// then, HTTP answers only whether the server is alive. Workers that are
	// started now can connect, and are answered in a moment.
	go func() { d.failed <- d.http.Serve(httpLis) }()
	if d.engine.Start != nil {
		if err := d.engine.Start(); err != nil {
			lis.Close()
			return nil, errors.Join(err, d.close())
		}
	}
	go func() { d.failed <- d.grpc.Serve(lis) }()
	d.health.start()
	return d, nil
}

func listen(host string, port int) (net.Listener, error) {
	l, err := listenAt(net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("%w (port 0 picks a free one)", err)
	}
	return l, nil
}

// reachable is the address at which programs on this machine reach a listener:
// one that listens everywhere is reached here.
func reachable(host string, addr net.Addr) string {
	port := strconv.Itoa(addr.(*net.TCPAddr).Port)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// advertised is the address that workers are told.
func advertised(address, own string) string {
	if address == "" {
		return own
	}
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	_, port, _ := net.SplitHostPort(own) // which is one of ours
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}

func build(cfg Config, newEngine NewEngine, addr, httpAddr net.Addr) (*frontDoor, error) {
	d := &frontDoor{
		jobEndpoint: reachable(cfg.Host, addr),
		httpURL:     "http://" + reachable(cfg.Host, httpAddr),
		failed:      make(chan error, 2),
		stop:        cfg.StopTimeout + stopTimeout,
		health:      newHealth(),
	}
	artifacts, err := artifact.Open(artifact.Options{Dir: filepath.Join(cfg.Dir, "artifacts")})
	if err != nil {
		return nil, err
	}
	d.engine, err = newEngine(EngineConfig{Config: cfg, Endpoint: advertised(cfg.Advertise, d.jobEndpoint), Artifacts: artifacts})
	if err != nil {
		return nil, err
	}
	d.jobs = d.engine.Jobs
	d.grpc = grpc.NewServer(append(slices.Clone(d.engine.ServerOptions), jobserver.Announce(cfg.Version, d.httpURL))...)
	if d.engine.Register != nil {
		d.engine.Register(d.grpc)
	}
	jobserver.New(jobserver.Options{Jobs: d.jobs, Artifacts: artifacts, Describe: d.engine.Options, StagingEndpoint: d.jobEndpoint, Log: cfg.Log}).Register(d.grpc)
	jobpb.RegisterArtifactStagingServiceServer(d.grpc, &artifact.Staging{Store: artifacts})
	jobpb.RegisterArtifactRetrievalServiceServer(d.grpc, &artifact.Retrieval{Store: artifacts, Job: d.engine.WorkersJob})
	pages, err := webui.Handler(d.jobs, cfg.Version, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", api.Handler(d.jobs, cfg.Version))
	mux.Handle("GET /metrics", scrape.Handler(scrape.Options{Jobs: d.jobs, Runner: d.engine.Stats, Version: cfg.Version, Log: cfg.Log}))
	mux.Handle("/", pages)
	if cfg.Profile {
		profiles(mux)
	}
	d.http = &http.Server{Handler: localNames(cfg.Host, d.health.handler(mux)), ReadHeaderTimeout: 10 * time.Second}
	return d, nil
}

// profiles serves Go's profiles of this process. They tell strangers how the
// program works, and cost time to make: only on request.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
}

// localNames refuses requests that name another host when we listen on this
// machine only: they come from a page that had its own name resolved to us.
func localNames(host string, next http.Handler) http.Handler {
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this server answers under local names only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// close stops jobs first, so that clients hear of it, then the servers.
func (d *frontDoor) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), d.stop)
	defer cancel()
	d.health.stop()
	var err error
	if d.engine.Close != nil {
		err = d.engine.Close(ctx)
	}
	stopped := make(chan struct{})
	go func() {
		d.grpc.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(time.Second): // streams of clients that do not hang up
		d.grpc.Stop()
		<-stopped
	}
	httpErr := d.http.Shutdown(ctx)
	if errors.Is(httpErr, context.DeadlineExceeded) {
		httpErr = d.http.Close()
	}
	return errors.Join(err, httpErr)
}

// tempDir makes a folder for a run that keeps nothing, and says how to remove it.
func tempDir() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "pharos-")
	if err != nil {
		return "", nil, fmt.Errorf("folder for temporary files: %w", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}
