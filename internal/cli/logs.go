package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/pharos-beam/pharos/internal/server/api"
)

type logsCmd struct {
	Job    string `arg:"" help:"Job id."`
	Follow bool   `short:"f" help:"Go on until the job has ended."`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*logsCmd) Help() string {
	return "With -o json each line is a JSON object.\n\nExample:\n\n    pharos logs -f wordcount-1f6b1d52a4c09e37"
}

// Run prints a job's log.
func (c *logsCmd) Run(env *Env) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	path := jobPath(c.Job, "/logs")
	if c.Follow {
		path += "?follow=true"
	}
	for raw, err := range newClient(c.Server).lines(ctx, path) {
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if err := c.print(env.Stdout, raw); err != nil {
			return err
		}
	}
	return nil
}

func (c *logsCmd) print(w io.Writer, raw json.RawMessage) error {
	if c.Output == "json" {
		_, err := fmt.Fprintf(w, "%s\n", raw)
		return err
	}
	var l api.LogLine
	if err := json.Unmarshal(raw, &l); err != nil {
		return fmt.Errorf("log line: %w", err)
	}
	var where []string
	for _, s := range []string{l.Worker, l.Transform, l.Instruction} {
		if s != "" {
			where = append(where, s)
		}
	}
	_, err := fmt.Fprintf(w, "%s  %-8s  [%s]  %s\n", l.At.Local().Format("15:04:05.000"), l.Severity, strings.Join(where, " "), l.Message)
	return err
}
