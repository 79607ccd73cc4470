package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/internal/failpoint"
	"github.com/pharos-beam/pharos/internal/storage/datadir"
)

// runnerFlags are the flags of `serve` and `run` that shape the runner.
type runnerFlags struct {
	Memory                byteSize          `help:"Memory that the runner may take, like 512MiB or 4GiB; what does not fit goes to disk. By default half of the machine's." placeholder:"SIZE"`
	Disk                  byteSize          `help:"Element data kept on disk; bundles that would exceed it fail. By default there is no limit." placeholder:"SIZE"`
	Env                   map[string]string `help:"Replace the environment of a language or of an environment id, like java=process:/opt/boot. May be repeated." placeholder:"NAME=SPEC" mapsep:"none"`
	WorkersPerEnvironment int               `help:"Worker processes for each environment. By default as many as make sense: the number of cores for Python." placeholder:"N"`
	MaxAttempts           int               `help:"How often a failing bundle is tried before its job fails." default:"4"`
	Limits                workerLimits      `embed:"" group:"Limits of workers"`
	Docker                dockerFlags       `embed:"" prefix:"docker-" group:"Containers of DOCKER environments"`
	LogLevel              slog.Level        `help:"Least severe messages of the runner itself: debug, info, warn or error." default:"${level}" placeholder:"LEVEL"`
	LogFormat             string            `help:"Form of the runner's own output: ${enum}." enum:"text,json" default:"text"`
	WorkerLogs            string            `help:"Least severe messages of workers that the runner prints, too: ${enum}. All are in pharos logs." enum:"debug,info,warn,error,off" default:"${workerlogs}" placeholder:"LEVEL"`
	TraceEndpoint         string            `help:"Send traces of jobs and bundles to this OpenTelemetry collector (OTLP over HTTP), like http://localhost:4318." placeholder:"URL"`
	LogSpace              byteSize          `help:"How much of the workers' logs is kept, of all jobs together. By default 1GiB with --data; else, in memory, 128MiB or less." placeholder:"SIZE"`
}

func (f *runnerFlags) validate() error {
	if f.MaxAttempts < 1 {
		return &exitError{exitUsage, fmt.Errorf("--max-attempts %d: there is at least one attempt", f.MaxAttempts)}
	}
	if f.WorkersPerEnvironment < 0 {
		return &exitError{exitUsage, fmt.Errorf("--workers-per-environment %d: not a number of workers", f.WorkersPerEnvironment)}
	}
	if err := f.Limits.validate(); err != nil {
		return err
	}
	containers := f.Docker.options()
	if err := containers.Check(); err != nil {
		return &exitError{exitUsage, fmt.Errorf("--docker: %w", err)}
	}
	return nil
}

func (f *runnerFlags) config(env *Env) Config {
	memory := int64(f.Memory)
	if memory == 0 {
		memory = defaultMemory()
	}
	return Config{
		WorkerLog: f.workerLog(env), LogSpace: int64(f.LogSpace), TraceEndpoint: f.TraceEndpoint,
		Memory: memory, Disk: int64(f.Disk), Overrides: f.Env, WorkersPerEnvironment: f.WorkersPerEnvironment, MaxAttempts: f.MaxAttempts,
		Docker:  f.Docker.options(),
		Limits:  f.Limits,
		Log:     f.logger(env, f.LogLevel),
		Version: env.Version,
	}
}

// logger writes the runner's own output.
func (f *runnerFlags) logger(env *Env, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(env.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(env.Stderr, o))
}

// workerLog writes what workers log; nil if nobody wants that.
func (f *runnerFlags) workerLog(env *Env) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(f.WorkerLogs)) != nil {
		return nil // off
	}
	return f.logger(env, level)
}

type serveCmd struct {
	Host          string        `help:"Address to listen on. Jobs run code: listen only where everybody may." default:"127.0.0.1"`
	Port          int           `help:"Port for SDKs and workers (gRPC); 0 picks a free one." default:"8073"`
	HTTPPort      int           `name:"http-port" help:"Port for people and for the command line (HTTP); 0 picks a free one." default:"8074"`
	Data          string        `help:"Folder that makes jobs durable: after a restart they go on where they were. Without it they end with the server." placeholder:"DIR"`
	ClientTimeout time.Duration `help:"How long a job that goes on after a restart waits for the worker service that it had, as LOOPBACK jobs do." default:"5m" placeholder:"TIME"`
	KeepJobs      int           `help:"How many jobs that have ended are kept to be looked at; the oldest are forgotten." default:"1000" placeholder:"N"`
	KeepFor       time.Duration `help:"Forget jobs that ended longer ago than this, like 72h. By default only their number counts." placeholder:"TIME"`
	StopTimeout   time.Duration `help:"How long a stop lets bundles of durable jobs run on, to commit what they do." default:"30s" placeholder:"TIME"`
	Advertise     string        `help:"Address at which workers reach the runner, as HOST or HOST:PORT, if that is another one: workers of other machines, with --host 0.0.0.0." placeholder:"ADDRESS"`
	Pprof         bool          `help:"Serve Go profiles of the runner under /debug/pprof/ at the HTTP port." hidden:""`
	ReadyFile     string        `help:"Write the addresses, as JSON, to this file once the server serves." placeholder:"FILE"`
	originFlags   `embed:""`
	UntilEOF      bool `name:"until-eof" help:"End when standard input ends, too: for a program that starts a runner of its own and may die."`
	//lint:ignore SA5008 kong takes several of them
	runnerFlags `embed:"" set:"level=info" set:"workerlogs=warn"`
}

// Help is the long help.
func (*serveCmd) Help() string {
	return `Serves Beam's Jobs API until SIGINT or SIGTERM, and prints the options that each SDK needs. A second signal ends it without waiting for anything.

The ready file has the keys job_endpoint, http and pid.

Example:

    pharos serve --port 8073 --env java=process:/opt/apache/beam/boot`
}

// ready is what the ready file says.
type ready struct {
	JobEndpoint string `json:"job_endpoint"`
	HTTP        string `json:"http"`
	PID         int    `json:"pid"`
	Version     string `json:"version"`
}

// Run serves until a signal.
func (c *serveCmd) Run(env *Env) error {
	if err := errors.Join(c.validate(), c.validateKeeping()); err != nil {
		return err
	}
	if err := failpoint.Arm(os.Getenv(failpoint.Variable)); err != nil {
		return &exitError{exitUsage, err}
	}
	offset, err := failpoint.ClockOffset(os.Getenv(failpoint.ClockVariable))
	if err != nil {
		return &exitError{exitUsage, err}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if c.UntilEOF {
		ctx = untilEOF(ctx, env.Stdin)
	}
	cfg := c.config(env)
	cfg.Host, cfg.Port, cfg.HTTPPort = c.Host, c.Port, c.HTTPPort
	cfg.Profile, cfg.Durable, cfg.ClientTimeout = c.Pprof, c.Data != "", c.ClientTimeout
	cfg.KeepJobs, cfg.KeepFor, cfg.ClockOffset = c.KeepJobs, c.KeepFor, offset
	cfg.StopTimeout, cfg.Advertise = c.StopTimeout, c.Advertise
	dir, release, err := c.dir()
	if err != nil {
		return err
	}
	defer release()
	cfg.Dir, cfg.Origin = dir, c.origin(dir)
	d, err := open(cfg, env.NewEngine)
	if err != nil {
		return err
	}
	printWelcome(env.Stderr, d, env.Version)
	if c.ReadyFile != "" {
		defer os.Remove(c.ReadyFile)
		if err := writeReady(c.ReadyFile, ready{d.jobEndpoint, d.httpURL, os.Getpid(), env.Version}); err != nil {
			d.close()
			return err
		}
	}
	select {
	case <-ctx.Done():
		stop() // the next signal kills
		fmt.Fprintln(env.Stderr, "stopping")
		return d.close()
	case err := <-d.failed:
		d.close()
		return fmt.Errorf("the server ended: %w", err)
	}
}

func (c *serveCmd) validateKeeping() error {
	switch {
	case c.KeepJobs < 1:
		return &exitError{exitUsage, fmt.Errorf("--keep-jobs %d: a client asks for the end of its job, which must be there then", c.KeepJobs)}
	case c.KeepFor < 0:
		return &exitError{exitUsage, fmt.Errorf("--keep-for %v: not a time", c.KeepFor)}
	}
	return nil
}

// A server that has been killed keeps its directory locked until the system has
// cleared it away, which is what its successor waits for.
const (
	lockTimeout  = 3 * time.Second
	lockInterval = 100 * time.Millisecond
)

// dir is where the server keeps what goes to disk, and how to give it back.
func (c *serveCmd) dir() (path string, release func(), err error) {
	if c.Data == "" {
		return tempDir()
	}
	d, err := datadir.Open(c.Data, nil)
	for end := time.Now().Add(lockTimeout); errors.Is(err, datadir.ErrInUse) && time.Now().Before(end); {
		time.Sleep(lockInterval)
		d, err = datadir.Open(c.Data, nil)
	}
	if err != nil {
		return "", nil, err
	}
	return d.Path(), func() { d.Close() }, nil
}

// untilEOF is a context that also ends when r does, or breaks. A pipe does that
// when the process at its other end is gone, however that came about. The
// reading goroutine outlives the context until r ends.
func untilEOF(ctx context.Context, r io.Reader) context.Context {
	ctx, end := context.WithCancel(ctx)
	go func() {
		defer end()
		io.Copy(io.Discard, r)
	}()
	return ctx
}

// writeReady writes the file in one step: whoever sees it sees it whole.
func writeReady(path string, r ready) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ready-*")
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(b, '\n'))
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}

func printWelcome(w io.Writer, d *frontDoor, version string) {
	fmt.Fprintf(w, "Pharos %s serves at %s; jobs are shown at %s\n\nAdd to your pipeline's command, with our package for its SDK:\n", version, d.jobEndpoint, d.httpURL)
	for _, s := range sdks {
		fmt.Fprintf(w, "  %-7s %s\n", s.title, strings.Join(s.runner(d.jobEndpoint), " "))
	}
	fmt.Fprintf(w, "or with what the SDK has itself:\n")
	for _, s := range sdks {
		fmt.Fprintf(w, "  %-7s %s\n", s.title, strings.Join(s.flags(d.jobEndpoint), " "))
		for _, e := range s.environ(d.jobEndpoint) {
			fmt.Fprintf(w, "  %-7s with %s\n", "", shellQuote(e))
		}
	}
	fmt.Fprintln(w)
}

// shellQuote quotes a NAME=VALUE for a shell.
func shellQuote(assignment string) string {
	name, value, _ := strings.Cut(assignment, "=")
	return name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
