package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/internal/server/api"
)

type logsCmd struct {
	Job       string        `arg:"" help:"Job id."`
	Follow    bool          `short:"f" help:"Go on until the job has ended."`
	Tail      int           `short:"n" help:"Begin with the last N of the lines that are there." placeholder:"N"`
	Severity  string        `help:"Least severity: ${enum}." enum:"trace,debug,info,notice,warn,error,critical" default:"trace" placeholder:"LEVEL"`
	Transform string        `help:"Only lines of a transform: its id, or a part of its name." placeholder:"NAME"`
	Worker    string        `help:"Only lines of workers with this in their name." placeholder:"NAME"`
	Text      string        `help:"Only lines with this in their message." placeholder:"TEXT"`
	Since     time.Duration `help:"Only lines of the last so much time, like 10m." placeholder:"TIME"`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*logsCmd) Help() string {
	return "With -o json each line is a JSON object.\n\nExample:\n\n    pharos logs -f --severity warn --transform Parse wordcount-1f6b1d52a4c09e37"
}

// Run prints a job's log.
func (c *logsCmd) Run(env *Env) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	path := jobPath(c.Job, "/logs?") + c.query().Encode()
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

// query is what the API is asked for.
func (c *logsCmd) query() url.Values {
	q := url.Values{"severity": {c.Severity}, "transform": {c.Transform}, "worker": {c.Worker}, "text": {c.Text}}
	if c.Follow {
		q.Set("follow", "true")
	}
	if c.Tail != 0 {
		q.Set("tail", strconv.Itoa(c.Tail))
	}
	if c.Since > 0 {
		q.Set("since", time.Now().Add(-c.Since).Format(time.RFC3339Nano))
	}
	return q
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
	transform := l.TransformName
	if transform == "" {
		transform = l.Transform
	}
	for _, s := range []string{l.Worker, transform, l.Instruction} {
		if s != "" {
			where = append(where, s)
		}
	}
	_, err := fmt.Fprintf(w, "%s  %-8s  [%s]  %s\n", l.At.Local().Format("15:04:05.000"), l.Severity, strings.Join(where, " "), l.Message)
	return err
}
