package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/pharos-beam/pharos/internal/server/api"
)

type jobsCmd struct {
	List     jobsListCmd     `cmd:"" help:"List all jobs, newest first."`
	Describe jobsDescribeCmd `cmd:"" help:"Show a job: its stages, how far they are, and what was said."`
	Cancel   jobsCancelCmd   `cmd:"" help:"Stop a job at once."`
	Drain    jobsDrainCmd    `cmd:"" help:"Let a job finish what it has read: sources end, windows close."`
}

type jobsListCmd struct {
	clientFlags
	outputFlags
}

// Help is the long help.
func (*jobsListCmd) Help() string {
	return "Example:\n\n    pharos jobs list -o json | jq -r '.jobs[] | select(.state == \"FAILED\") | .id'"
}

// Run lists jobs.
func (c *jobsListCmd) Run(env *Env) error {
	var v struct {
		Jobs []api.Summary `json:"jobs"`
	}
	if err := newClient(c.Server).get(context.Background(), "/api/jobs", &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	t := newTable(env.Stdout, "ID", "NAME", "STATE", "CREATED", "ELAPSED")
	for _, j := range v.Jobs {
		t.row(j.ID, j.Name, j.Shown(), j.Created.Local().Format(time.DateTime), j.Elapsed(time.Now()))
	}
	return t.flush()
}

type jobsDescribeCmd struct {
	Job     string `arg:"" help:"Job id."`
	Options bool   `help:"Show the job's pipeline options, too; secret ones are masked."`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*jobsDescribeCmd) Help() string {
	return "Example:\n\n    pharos jobs describe wordcount-1f6b1d52a4c09e37"
}

// Run describes a job.
func (c *jobsDescribeCmd) Run(env *Env) error {
	var v api.JobView
	if err := newClient(c.Server).get(context.Background(), jobPath(c.Job, ""), &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	if err := describe(env.Stdout, v); err != nil || !c.Options {
		return err
	}
	return writeOptions(env.Stdout, v.Options)
}

// writeOptions writes pipeline options by name, as JSON values.
func writeOptions(w io.Writer, options map[string]any) error {
	fmt.Fprintln(w)
	t := newTable(w, "OPTION", "VALUE")
	for _, name := range slices.Sorted(maps.Keys(options)) {
		b, err := json.Marshal(options[name])
		if err != nil {
			return err
		}
		t.row(name, string(b))
	}
	return t.flush()
}

func describe(w io.Writer, v api.JobView) error {
	fmt.Fprintf(w, "Id:       %s\nName:     %s\nState:    %s\nCreated:  %s\nElapsed:  %s\n",
		v.ID, v.Name, v.Shown(), v.Created.Local().Format(time.DateTime), v.Elapsed(time.Now()))
	if v.Suspended != "" {
		fmt.Fprintf(w, "Why:      %s\n", v.Suspended)
	}
	if len(v.Stages) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "STAGE", "STATE", "IN", "OUT", "PENDING", "BUNDLES", "WATERMARK", "NAME", "WAITING FOR")
		for _, s := range v.Stages {
			t.row(s.Stage, s.State, s.Input, s.Output, s.Pending, s.InFlight, s.Watermark, shorten(s.Name, 60), s.Waiting)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(v.Messages) > 0 {
		fmt.Fprintln(w)
	}
	for _, m := range v.Messages {
		writeMessage(w, m)
	}
	return nil
}

func writeMessage(w io.Writer, m api.Message) {
	at := m.At.Local().Format("15:04:05.000")
	if m.State != "" {
		fmt.Fprintf(w, "%s  STATE    %s\n", at, m.State)
		return
	}
	fmt.Fprintf(w, "%s  %-7s  %s\n", at, m.Importance, m.Text)
}

// shorten cuts out the middle of a name: its ends say more.
func shorten(s string, limit int) string {
	r := []rune(s)
	if len(r) <= limit {
		return s
	}
	head := (limit - 1) / 2
	return string(r[:head]) + "…" + string(r[len(r)-(limit-1-head):])
}

type jobsCancelCmd struct {
	Job string `arg:"" help:"Job id."`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*jobsCancelCmd) Help() string {
	return "Cancelling a job that has ended changes nothing and is no error.\n\nExample:\n\n    pharos jobs cancel wordcount-1f6b1d52a4c09e37"
}

// Run cancels a job.
func (c *jobsCancelCmd) Run(env *Env) error {
	return c.post(env, c.Job, "/cancel", c.Output)
}

type jobsDrainCmd struct {
	Job string `arg:"" help:"Job id."`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*jobsDrainCmd) Help() string {
	return "Sources put out no more than they must, the watermark goes to the end, all windows and timers fire, and the job " +
		"ends as DRAINED. The command does not wait for that.\n\nExample:\n\n    pharos jobs drain clicks-1f6b1d52a4c09e37"
}

// Run drains a job.
func (c *jobsDrainCmd) Run(env *Env) error {
	return c.post(env, c.Job, "/drain", c.Output)
}

// post asks something of a job, and prints the state that it is in then.
func (c *clientFlags) post(env *Env, job, path, output string) error {
	var v api.Summary
	if err := newClient(c.Server).post(context.Background(), jobPath(job, path), &v); err != nil {
		return err
	}
	if output == "json" {
		return printJSON(env.Stdout, v)
	}
	_, err := fmt.Fprintln(env.Stdout, v.ID, v.State)
	return err
}
