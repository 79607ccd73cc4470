package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/server"
)

type runCmd struct {
	SDK         string        `help:"SDK of the command: python, java, go or node. By default it is recognised." enum:",python,java,go,node" default:"" placeholder:"NAME"`
	Progress    string        `help:"Show progress: ${enum}. auto shows it on a terminal." enum:"auto,on,off" default:"auto"`
	DrainAfter  time.Duration `help:"Drain each job after it has run for so long, like 30s: sources end, windows close, and the job is DRAINED." placeholder:"TIME"`
	originFlags `embed:""`
	Cmd         []string `arg:"" name:"command" passthrough:"" help:"The command, after --."`
	//lint:ignore SA5008 kong takes several of them
	runnerFlags `embed:"" set:"level=warn" set:"workerlogs=off"`
}

// Help is the long help.
func (*runCmd) Help() string {
	return `Starts a runner on free ports, runs the command with the flags that make its SDK use it, and waits for the command and its jobs. Flags that the command has already stay as they are. Where the SDK cannot be told from the command, say --sdk, or write {endpoint} where the command takes the job endpoint; it then gets no other flags.

The command's process runs the pipeline's code itself (LOOPBACK), unless --env says where code of its language runs.

Exits with the command's code; with 1 if that is 0 but a job did not end as DONE or DRAINED; with 125 if the runner cannot start; with 126 or 127 if the command cannot be started.

Examples:

    pharos run -- python -m apache_beam.examples.wordcount --input in.txt --output counts
    pharos run -- go run ./wordcount --output counts.txt
    pharos run -- java -jar target/pipeline.jar
    pharos run --drain-after 1m -- python my_endless_pipeline.py
    pharos run --env python="process:python -m apache_beam.runners.worker.sdk_worker_main" -- python my_pipeline.py
    pharos run -- ./my-launcher --beam-server={endpoint}`
}

// interruptTimeout is how long a command may take to end after a signal.
const interruptTimeout = 10 * time.Second

// Run runs a pipeline's command on a runner of its own.
func (c *runCmd) Run(env *Env) error {
	if err := c.validate(); err != nil {
		return err
	}
	if len(c.Cmd) > 0 && c.Cmd[0] == "--" {
		c.Cmd = c.Cmd[1:]
	}
	if len(c.Cmd) == 0 {
		return &exitError{exitUsage, errors.New("run: no command; example: pharos run -- python my_pipeline.py")}
	}
	dir, remove, err := tempDir()
	if err != nil {
		return &exitError{exitNoRunner, err}
	}
	defer remove()
	out := newScreen(env.Stderr, c.Progress)
	cfg := c.config(&Env{Stderr: out, Version: env.Version})
	cfg.Host, cfg.Dir, cfg.Origin = "127.0.0.1", dir, c.origin("")
	d, err := open(cfg, env.NewEngine)
	if err != nil {
		return &exitError{exitNoRunner, fmt.Errorf("the runner cannot start: %w", err)}
	}
	p, err := prepare(c.Cmd, c.SDK, d.jobEndpoint, cfg.Overrides)
	if err != nil {
		d.close()
		return &exitError{exitUsage, err}
	}
	cfg.Log.Debug("command", "argv", p.argv, "environ", p.environ)
	err = c.execute(env, d, p, out)
	out.close()
	if closeErr := d.close(); closeErr != nil {
		cfg.Log.Warn("stop the runner", "err", closeErr)
	}
	return err
}

// execute runs the command and judges its end and that of its jobs.
func (c *runCmd) execute(env *Env, d *frontDoor, p *prepared, out *screen) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, p.argv[0], p.argv[1:]...)
	cmd.Env = slices.Concat([]string{environment.NoForkHandlers}, os.Environ(), p.environ) // the last counts
	cmd.Stdin = env.Stdin
	cmd.Stdout, cmd.Stderr = out.wrap(env.Stdout), out
	if !out.live { // the command may write directly
		cmd.Stdout, cmd.Stderr = env.Stdout, env.Stderr
	}
	// A terminal signals the whole group; anybody else only us.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = interruptTimeout
	if err := cmd.Start(); err != nil {
		return cannotStart(p.argv[0], err)
	}
	watch := out.watch(d.jobs)
	if c.DrainAfter > 0 {
		go drainAfter(ctx, d.jobs, c.DrainAfter)
	}
	exit := exitCode(cmd.Wait())
	if exit == 0 {
		waitForJobs(ctx, d.jobs, out)
	}
	watch()
	return judge(d.jobs, exit, out)
}

func cannotStart(name string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return &exitError{exitNoSuch, fmt.Errorf("run %s: there is no such command", name)}
	}
	return &exitError{exitNotExec, err}
}

// exitCode is the code of a command that has ended, 128+n for signal n.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return exit.ExitCode()
	}
	return exitFailed
}

// waitForJobs waits for jobs that the command started but did not wait for.
func waitForJobs(ctx context.Context, jobs server.Jobs, out io.Writer) {
	for _, j := range jobs.Jobs() {
		st, _ := j.State()
		if server.Terminal(st) || st == jobpb.JobState_STOPPED {
			continue
		}
		fmt.Fprintf(out, "pharos: the command has ended; waiting for job %s\n", j.Name())
		for range j.Events(ctx) { // until it ends, or the user has enough
		}
	}
}

// drainInterval is how often a job is looked at that may have to be drained.
const drainInterval = 100 * time.Millisecond

// drainAfter drains jobs that have run for some time, until ctx ends.
func drainAfter(ctx context.Context, jobs server.Jobs, limit time.Duration) {
	tick := time.NewTicker(drainInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, j := range jobs.Jobs() {
			if st, since := j.State(); st == jobpb.JobState_RUNNING && time.Since(since) >= limit {
				j.Drain()
			}
		}
	}
}

// judge says how each job ended, and decides the exit code.
func judge(jobs server.Jobs, exit int, out io.Writer) error {
	ran := false
	for _, j := range jobs.Jobs() {
		st, since := j.State()
		if st == jobpb.JobState_STOPPED {
			continue
		}
		ran = true
		fmt.Fprintf(out, "pharos: job %s %s after %s\n", j.Name(), st, since.Sub(j.Created()).Round(time.Millisecond))
		if st != jobpb.JobState_DONE && st != jobpb.JobState_DRAINED && exit == 0 {
			exit = exitFailed
		}
	}
	if !ran {
		fmt.Fprintln(out, "pharos: the command ran no pipeline on this runner; does it pass its arguments to the pipeline's options?")
	}
	if exit != 0 {
		return &exitError{code: exit}
	}
	return nil
}
