package main

import (
	"context"
	"fmt"
)

// upgrade has a streaming job started by one binary and ended by another.
func (s *suite) upgrade(ctx context.Context) error {
	t, err := s.streamTask(python, 0)
	if err != nil {
		return err
	}
	after := s.r.binary
	s.r.binary = absolute(s.c.before)
	if err := s.submit(ctx, t); err != nil {
		return err
	}
	s.tasks = []*task{t}
	if err := s.progress(ctx); err != nil {
		return fmt.Errorf("before the upgrade: %w", err)
	}
	if ended, err := s.ended(ctx); ended || err != nil {
		return fmt.Errorf("the job has ended before the upgrade (%v)", err)
	}
	s.r.kill()
	s.r.binary = after
	s.report.killed("runner")
	s.report.fault()
	s.start("")
	if err := s.up(ctx); err != nil {
		return err
	}
	if j, err := s.r.job(ctx, t.id); err == nil && j.says("plans the pipeline differently") {
		s.report.note("The job is suspended, for the two versions plan it differently: that is what is promised for this case.")
		return nil
	}
	if err := s.finish(ctx); err != nil {
		return fmt.Errorf("after the upgrade: %w", err)
	}
	return s.verify(ctx, t)
}
