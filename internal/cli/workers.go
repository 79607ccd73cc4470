package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/pharos-beam/pharos/internal/server/api"
)

type workersCmd struct {
	Job    string `arg:"" help:"Job id."`
	Worker string `arg:"" optional:"" help:"Name of a worker: print what it says of itself, threads and memory among it."`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*workersCmd) Help() string {
	return "Lists the live workers of a job, or prints the status of one as its SDK words it: stacks of its threads, caches, and, of " +
		"Python with the pipeline option --experiments=enable_heap_dump, its heap.\n\nExample:\n\n    pharos workers wordcount-1f6b1d52a4c09e37 python-3fa81c"
}

// Run lists workers or prints the status of one.
func (c *workersCmd) Run(env *Env) error {
	if c.Worker != "" {
		return c.status(env)
	}
	var v struct {
		Workers []api.Worker `json:"workers"`
	}
	if err := newClient(c.Server).get(context.Background(), jobPath(c.Job, "/workers"), &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	t := newTable(env.Stdout, "WORKER", "ENVIRONMENT", "TARGET")
	for _, w := range v.Workers {
		t.row(w.Name, w.Environment, w.Target)
	}
	return t.flush()
}

func (c *workersCmd) status(env *Env) error {
	var v api.WorkerStatus
	if err := newClient(c.Server).get(context.Background(), jobPath(c.Job, "/workers/"+url.PathEscape(c.Worker)+"/status"), &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	_, err := fmt.Fprintln(env.Stdout, v.Status)
	return err
}

type sampleCmd struct {
	Job         string `arg:"" help:"Job id."`
	PCollection string `arg:"" optional:"" name:"pcollection" help:"Only of PCollections with this id, or with this in their name or in that of the transform that puts them out."`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*sampleCmd) Help() string {
	return "Prints elements that the job's workers have seen lately, and those that led to exceptions. The pipeline has to be run with " +
		"--experiments=enable_data_sampling.\n\nExample:\n\n    pharos sample wordcount-1f6b1d52a4c09e37 Split"
}

// Run prints samples.
func (c *sampleCmd) Run(env *Env) error {
	var v struct {
		Samples []api.Sample `json:"samples"`
	}
	path := jobPath(c.Job, "/samples?") + url.Values{"pcollection": {c.PCollection}}.Encode()
	if err := newClient(c.Server).get(context.Background(), path, &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	return writeSamples(env.Stdout, v.Samples)
}

// writeSamples writes the samples of each PCollection below its name.
func writeSamples(w io.Writer, samples []api.Sample) error {
	last := ""
	for _, s := range samples {
		if s.PCollection != last {
			last = s.PCollection
			fmt.Fprintf(w, "%s (%s, of %s)\n", s.PCollectionName, s.PCollection, s.Producer)
		}
		value, err := json.Marshal(s.Value)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "  %s  %s\n", s.At.Local().Format(time.TimeOnly), value); err != nil {
			return err
		}
		if x := s.Exception; x != nil {
			fmt.Fprintf(w, "    led to an exception in %s:\n%s\n", x.TransformName, "      "+strings.ReplaceAll(strings.TrimSpace(x.Error), "\n", "\n      "))
		}
	}
	return nil
}
