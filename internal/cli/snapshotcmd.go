package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/pharos-beam/pharos/internal/server/api"
)

type snapshotCmd struct {
	Create   snapshotCreateCmd   `cmd:"" help:"Write down where a job stands, while it runs."`
	List     snapshotListCmd     `cmd:"" help:"List all snapshots, oldest first."`
	Describe snapshotDescribeCmd `cmd:"" help:"Show what a snapshot has."`
	Delete   snapshotDeleteCmd   `cmd:"" help:"Delete a snapshot."`
}

type snapshotCreateCmd struct {
	Job   string `arg:"" help:"Job id."`
	Name  string `help:"Name of the snapshot. By default the job's name and the time." placeholder:"NAME"`
	Stop  bool   `help:"End the job at the snapshot: it does nothing that is not in it." xor:"after"`
	Drain bool   `help:"Drain the job after the snapshot. What it puts out then, a job that begins from the snapshot puts out again." xor:"after"`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*snapshotCreateCmd) Help() string {
	return `The snapshot is of the job's last commit: state, timers, elements on their way, restrictions of sources, side inputs, watermarks. The command returns when it is durable. The server must have been started with --data.

Examples:

    pharos snapshot create --stop clicks-1f6b1d52a4c09e37
    python clicks.py --from_snapshot=clicks-20261127-101500 …`
}

// Run takes a snapshot.
func (c *snapshotCreateCmd) Run(env *Env) error {
	q := url.Values{}
	if c.Name != "" {
		q.Set("name", c.Name)
	}
	switch {
	case c.Stop:
		q.Set("after", "stop")
	case c.Drain:
		q.Set("after", "drain")
	}
	var v api.Snapshot
	if err := newClient(c.Server).wait(context.Background(), http.MethodPost, jobPath(c.Job, "/snapshots?"+q.Encode()), &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	_, err := fmt.Fprintln(env.Stdout, v.Name)
	return err
}

type snapshotListCmd struct {
	clientFlags
	outputFlags
}

// Run lists snapshots.
func (c *snapshotListCmd) Run(env *Env) error {
	var v struct {
		Snapshots []api.Snapshot `json:"snapshots"`
	}
	if err := newClient(c.Server).get(context.Background(), "/api/snapshots", &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	t := newTable(env.Stdout, "NAME", "JOB", "CREATED", "BYTES")
	for _, s := range v.Snapshots {
		t.row(s.Name, s.Job, s.Created.Local().Format(time.DateTime), s.Bytes)
	}
	return t.flush()
}

type snapshotDescribeCmd struct {
	Name string `arg:"" help:"Name of the snapshot."`
	clientFlags
	outputFlags
}

// Run shows what a snapshot has.
func (c *snapshotDescribeCmd) Run(env *Env) error {
	var v api.Snapshot
	if err := newClient(c.Server).get(context.Background(), snapshotPath(c.Name), &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	fmt.Fprintf(env.Stdout, "Name:     %s\nFile:     %s\nBytes:    %d\nJob:      %s (%s)\nCreated:  %s\n\n",
		v.Name, v.Path, v.Bytes, v.JobName, v.Job, v.Created.Local().Format(time.DateTime))
	t := newTable(env.Stdout, "TRANSFORM", "HAS", "NAME", "COUNT", "BYTES")
	for _, p := range v.Parts {
		t.row(p.Transform, p.Kind, p.Name, p.Count, p.Bytes)
	}
	return t.flush()
}

type snapshotDeleteCmd struct {
	Name string `arg:"" help:"Name of the snapshot."`
	clientFlags
}

// Run deletes a snapshot.
func (c *snapshotDeleteCmd) Run(*Env) error {
	if c.Name == "" {
		return &exitError{exitUsage, errors.New("which snapshot?")}
	}
	var v struct{}
	return newClient(c.Server).ask(context.Background(), http.MethodDelete, snapshotPath(c.Name), &v)
}

func snapshotPath(name string) string { return "/api/snapshots/" + url.PathEscape(name) }
