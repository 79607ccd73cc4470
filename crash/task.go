package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// submitTries is how often a job is submitted at most, as runners die meanwhile.
	submitTries = 5
	submitLimit = 3 * time.Minute
)

// task is a job that has to come to the right result.
type task struct {
	name    string
	argv    []string
	env     []string
	out     string // folder of its result
	want    []string
	counter string // that counts each of its inputs
	inputs  int64
	id      string // once submitted
	// What the suite has seen of it:
	seen  int64 // progress, in this process of the runner
	moved bool
	ended bool
}

// streamTask is the streaming job in a language: an unbounded source, keyed counters, sessions and timers.
func (s *suite) streamTask(l language, round int) (*task, error) {
	seed := s.c.seed%1_000_000 + uint64(round)
	t := &task{
		name: fmt.Sprintf("crash-%s-%d-%d", l, s.c.seed, round), want: streamLines(s.c.ids, seed), counter: "ids", inputs: int64(s.c.ids),
	}
	program, err := s.streamProgram(l, t.name)
	if err != nil {
		return nil, err
	}
	t.out, err = s.folder(t.name)
	t.argv = append(program,
		fmt.Sprintf("--count=%d", s.c.ids), fmt.Sprintf("--seed=%d", seed), "--batch=10", "--pause=0.1", "--alarm=2", "--out="+t.out)
	return t, err
}

// batchTask is the batch job: Go, a shuffle.
func (s *suite) batchTask(round int) (*task, error) {
	binary := filepath.Join(absolute(s.c.cache), "bin", batchProgram)
	seed := s.c.seed%1_000_000 + uint64(round)
	t := &task{
		name: fmt.Sprintf("crash-batch-%d-%d", s.c.seed, round), want: batchLines(s.c.records, seed), counter: "records", inputs: int64(s.c.records),
	}
	config, err := json.Marshal(map[string]string{"command": binary + " --worker"})
	if err != nil {
		return nil, err
	}
	t.out, err = s.folder(t.name)
	t.argv = []string{
		binary, "--runner=universal", "--async", "--job_name=" + t.name, fmt.Sprintf("--endpoint=127.0.0.1:%d", s.r.port),
		"--environment_type=PROCESS", "--environment_config=" + string(config), "--worker_binary=" + absolute("crash/gopipeline/main.go"), // staged, and used by nobody
		fmt.Sprintf("--records=%d", s.c.records), fmt.Sprintf("--keys=%d", batchKeys), fmt.Sprintf("--size=%d", recordBytes),
		fmt.Sprintf("--seed=%d", seed), "--out=" + t.out,
	}
	return t, err
}

func (s *suite) folder(name string) (string, error) {
	dir := filepath.Join(s.dir, "out", name)
	return dir, os.MkdirAll(dir, 0o700)
}

// submit hands the job to the runner, which may die meanwhile: then it has the job, or it is asked again.
func (s *suite) submit(ctx context.Context, t *task) error {
	var last error
	for range submitTries {
		if err := s.up(ctx); err != nil {
			return err
		}
		out, err := s.client(ctx, t)
		if err := s.up(ctx); err != nil {
			return err
		}
		refused := err
		if t.id, err = s.find(ctx, t.name); err != nil {
			return err
		}
		switch {
		case t.id != "":
			return nil
		case refused == nil:
			return fmt.Errorf("the runner has accepted job %s and does not know it any more", t.name)
		}
		last = fmt.Errorf("submit %s: %w: %s", t.name, refused, out)
	}
	return last
}

// client runs the program that submits the job, and returns what it said.
func (s *suite) client(ctx context.Context, t *task) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, submitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.argv[0], t.argv[1:]...)
	cmd.Env = append(os.Environ(), t.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	fmt.Fprintf(s.r.log, "--- client of %s: %v\n%s\n", t.name, err, out.String())
	return out.String(), err
}

// find returns the id of the job that has been started under a name, or "".
func (s *suite) find(ctx context.Context, name string) (string, error) {
	jobs, err := s.r.jobs(ctx)
	for _, j := range jobs {
		if j.Name == name && j.State != "STOPPED" {
			return j.ID, nil
		}
	}
	return "", err
}

// verify compares what the job has done with what it should have.
func (s *suite) verify(ctx context.Context, t *task) error {
	j, err := s.r.job(ctx, t.id)
	if err != nil {
		return err
	}
	if j.State != "DONE" {
		return fmt.Errorf("the job did not come to its end: %s", j.text())
	}
	n, err := s.r.counter(ctx, t.id, t.counter)
	if err != nil {
		return err
	}
	if n != t.inputs {
		s.report.wrong("job %s: the committed counter %q is %d, not %d", t.name, t.counter, n, t.inputs)
	}
	got, err := results(t.out)
	if err != nil {
		return err
	}
	s.report.compare(t.name, got, t.want)
	return nil
}

// results reads the lines of all files of a job.
func results(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, f := range files {
		if strings.Contains(f.Name(), ".tmp") {
			continue // of a worker that died
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(f.Name(), ".differs") {
			lines = append(lines, "a file that was written twice with different lines: "+f.Name())
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
	}
	return lines, nil
}
