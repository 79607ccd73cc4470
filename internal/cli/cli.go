// Package cli is the pharos command.
//
// Each command is a file; cli.go has the grammar, frontdoor.go starts the
// servers that `serve` and `run` share, and serve.go alone knows how an engine
// is put together. Everything else talks to a server over its JSON API
// (client.go), also when that server is in the same process.
//
// Rules for commands: stdout is data and nothing else, everything else goes to
// stderr; `-o json` prints what the API answers; no colour and no cursor
// movement unless stderr is a terminal.
//
// Exit codes:
//
//	0    it worked
//	1    it did not: a job failed, the server refused or cannot be reached
//	2    the command line is wrong
//	125  run: the embedded runner cannot start
//	126  run: the command cannot be executed
//	127  run: the command does not exist
//
// run otherwise exits with the command's own code, and with 1 if that is 0 but
// a job failed.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// Exit codes, see the package comment.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitNoRunner = 125
	exitNotExec  = 126
	exitNoSuch   = 127
)

// Env is what commands get from outside.
type Env struct {
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Version string
	// NewEngine makes what runs the jobs.
	NewEngine NewEngine
}

type grammar struct {
	Serve    serveCmd    `cmd:"" help:"Run the job server."`
	Run      runCmd      `cmd:"" help:"Run a pipeline: start a runner, add the SDK's flags to a command, wait for the result."`
	Jobs     jobsCmd     `cmd:"" help:"List, describe and cancel jobs."`
	Logs     logsCmd     `cmd:"" help:"Print what a job's workers logged."`
	Workers  workersCmd  `cmd:"" help:"List a job's workers, or print what one of them does."`
	Sample   sampleCmd   `cmd:"" help:"Print elements that a job's workers have seen."`
	Metrics  metricsCmd  `cmd:"" help:"Print a job's metrics."`
	Plan     planCmd     `cmd:"" help:"Print the execution plan of a job or of a pipeline file."`
	Snapshot snapshotCmd `cmd:"" help:"Take snapshots of jobs, from which others begin."`
	Store    storeCmd    `cmd:"" help:"Look into a data directory that no server uses."`
	Worker   workerCmd   `cmd:"" help:"Offer slots for workers to runners, also of other machines."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// clientFlags are the flags of every command that asks a server.
type clientFlags struct {
	Server string `help:"HTTP address of the server." default:"http://127.0.0.1:8074" env:"PHAROS_SERVER" placeholder:"URL"`
}

// outputFlags choose how data is printed.
type outputFlags struct {
	Output string `short:"o" help:"Output format: ${enum}." enum:"table,json" default:"table"`
}

const description = `Pharos runs Apache Beam pipelines from any SDK on this machine.

Exit codes: 0 success; 1 failure (a job failed, the server refused or cannot be reached); 2 wrong usage; "run" exits with the command's own code, 125 if the runner cannot start, 126 or 127 if the command cannot be started.`

// exitError ends the program with a code. A nil err prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Main runs the command line args (without the program's name) and returns the
// exit code.
func Main(args []string, env *Env) int {
	var g grammar
	parser, err := kong.New(&g,
		kong.Name("pharos"), kong.Description(description), kong.Bind(env),
		kong.Writers(env.Stdout, env.Stderr), kong.Exit(os.Exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil { // the grammar above is wrong
		fmt.Fprintln(env.Stderr, "pharos:", err)
		return exitUsage
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(env.Stderr, "pharos: %v\nTry: pharos --help\n", err)
		return exitUsage
	}
	return report(env, ctx.Run())
}

func report(env *Env, err error) int {
	if err == nil {
		return 0
	}
	var exit *exitError
	if errors.As(err, &exit) {
		if exit.err != nil {
			fmt.Fprintln(env.Stderr, "pharos:", exit.err)
		}
		return exit.code
	}
	fmt.Fprintln(env.Stderr, "pharos:", err)
	return exitFailed
}

type versionCmd struct{ outputFlags }

// Run prints the version.
func (c *versionCmd) Run(env *Env) error {
	if c.Output == "json" {
		return printJSON(env.Stdout, map[string]string{"version": env.Version})
	}
	_, err := fmt.Fprintln(env.Stdout, env.Version)
	return err
}
