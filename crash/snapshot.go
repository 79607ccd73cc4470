package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/pharos-beam/pharos/internal/failpoint"
)

// moveOn has the streaming job stopped at a snapshot, and a changed pipeline go on from it. Both together must come to what
// one of them would have.
func (s *suite) moveOn(ctx context.Context) error {
	t, err := s.streamTask(python, 0)
	if err != nil {
		return err
	}
	if err := s.submit(ctx, t); err != nil {
		return err
	}
	s.tasks = []*task{t}
	for n := int64(0); n < t.inputs/10; { // some state, windows and timers
		if err := s.progress(ctx); err != nil {
			return fmt.Errorf("before the snapshot: %w", err)
		}
		if n, err = s.r.counter(ctx, t.id, t.counter); err != nil {
			return err
		}
	}
	if err := s.r.snapshot(ctx, t.id, "running", ""); err != nil {
		return err
	}
	if err := s.progress(ctx); err != nil {
		return fmt.Errorf("after a snapshot that stops nothing: %w", err)
	}
	if err := s.r.snapshot(ctx, t.id, "last", "stop"); err != nil {
		return err
	}
	if j, err := s.r.job(ctx, t.id); err != nil || j.State != "UPDATED" {
		return fmt.Errorf("the job that was to stop is %s (%v)", j.State, err)
	}
	before, err := s.r.counter(ctx, t.id, t.counter)
	if err != nil {
		return err
	}
	s.restart(fmt.Sprintf("%s:1", failpoint.Restore)) // a snapshot outlives the runner, which dies again while it reads it
	next := *t
	next.name, next.id = t.name+"-changed", ""
	next.argv = append(append([]string{}, t.argv...), "--job_name="+next.name, "--changed", "--from_snapshot=last")
	next.inputs -= before
	s.tasks = nil
	if err := s.submit(ctx, &next); err != nil {
		return err
	}
	s.tasks = []*task{&next}
	if err := s.up(ctx); err != nil { // after the failpoint
		return err
	}
	s.report.note("The first job has put out %d of %d ids, and the changed one the others.", before, t.inputs)
	if err := s.finish(ctx); err != nil {
		return fmt.Errorf("from the snapshot: %w", err)
	}
	if before == 0 || next.inputs == 0 {
		return fmt.Errorf("the snapshot came too early or too late: %d of %d ids were before it", before, t.inputs)
	}
	if err := s.verify(ctx, &next); err != nil {
		return err
	}
	return s.checkStore(ctx)
}

// snapshot has one taken.
func (r *runner) snapshot(ctx context.Context, job, name, after string) error {
	path := fmt.Sprintf("/api/jobs/%s/snapshots?%s", job, url.Values{"name": {name}, "after": {after}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", r.http, path), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var v struct{ Error string }
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("snapshot %s: %s %s (%v)", name, resp.Status, v.Error, err)
	}
	return nil
}
