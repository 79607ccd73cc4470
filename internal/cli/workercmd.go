package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"

	"github.com/pharos-beam/pharos/internal/harness/environment"
)

type workerCmd struct {
	Pool  string   `help:"Address to listen on. Whoever reaches it can start workers: listen only where everybody may." default:"127.0.0.1:50000" placeholder:"HOST:PORT"`
	Slots int      `help:"Workers at a time. By default as many as there are cores." placeholder:"N"`
	Cmd   []string `arg:"" passthrough:"" name:"command" help:"What starts a worker, like a boot program of Beam's."`
}

// Help is the long help.
func (*workerCmd) Help() string {
	return `Offers this machine's slots to runners, until SIGINT or SIGTERM. A runner names it with external:HOST:PORT, or several of them with commas; it is a worker pool service of Beam, and serves other runners, too.

Example:

    pharos worker --pool 10.0.0.7:50000 --slots 4 -- python -m apache_beam.runners.worker.sdk_worker_main
    pharos serve --host 10.0.0.1 --env 'external=external:10.0.0.7:50000*4,10.0.0.8:50000*4'`
}

// Run serves until a signal.
func (c *workerCmd) Run(env *Env) error {
	command := c.Cmd
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return &exitError{exitUsage, fmt.Errorf("there is no command that starts a worker")}
	}
	if c.Slots < 0 {
		return &exitError{exitUsage, fmt.Errorf("--slots %d: not a number of workers", c.Slots)}
	}
	if c.Slots == 0 {
		c.Slots = runtime.NumCPU()
	}
	lis, err := listenAt(c.Pool)
	if err != nil {
		return fmt.Errorf("worker pool: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(env.Stderr, nil))
	pool := environment.NewWorkerPool(quoteWords(command), c.Slots, log)
	g := grpc.NewServer()
	fnpb.RegisterBeamFnExternalWorkerPoolServer(g, pool)
	failed := make(chan error, 1)
	go func() { failed <- g.Serve(lis) }()
	log.Info("worker pool serves", "address", lis.Addr().String(), "slots", c.Slots)
	select {
	case <-ctx.Done():
		stop() // the next signal kills
	case err = <-failed:
	}
	pool.Close()
	g.Stop()
	return err
}

// quoteWords makes a command line of words that splits into the same words.
func quoteWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
