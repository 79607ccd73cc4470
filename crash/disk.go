package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// smallDisk is too small for what the batch job of fullDisk has to keep, and largeDisk is not.
	smallDisk = "40m"
	largeDisk = "1g"
	fullJob   = 80_000 // records of a KiB
	// stuckMax is how long the runner may make no progress before more space is given to it.
	stuckMax = 15 * time.Second
)

// fullDisk runs a batch job whose data do not fit on the disk. It has to be suspended, or the runner has to end; with more
// space, the runner that is started again has to go on with it. It needs the right to mount a file system of limited size.
func (s *suite) fullDisk(ctx context.Context) error {
	dir := filepath.Join(s.dir, "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+smallDisk, "none", dir).CombinedOutput(); err != nil {
		s.report.note("full disk: not tried, for no file system of limited size can be mounted: %s", strings.TrimSpace(string(out)))
		return nil
	}
	defer func() {
		s.r.kill()
		_ = exec.Command("umount", dir).Run() // its data are in memory
	}()
	s.r.kill()
	before := s.r.data
	s.r.data = filepath.Join(dir, "data")
	defer func() { s.r.data = before }()
	records := s.c.records
	s.c.records = fullJob
	t, err := s.batchTask(-1)
	s.c.records = records
	if err != nil {
		return err
	}
	s.tasks = nil
	s.start("")
	if err := s.submit(ctx, t); err != nil {
		return fmt.Errorf("full disk: %w", err)
	}
	s.tasks = []*task{t}
	end := s.fill(ctx)
	s.r.kill()
	if out, err := exec.Command("mount", "-o", "remount,size="+largeDisk, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("more space: %w: %s", err, out)
	}
	s.report.note("full disk: %s", end)
	return s.afterFull(ctx, t)
}

// fill waits until the disk is full and has had its effect, and says which.
func (s *suite) fill(ctx context.Context) string {
	best, at := int64(0), time.Now()
	for time.Since(at) < stuckMax {
		views, err := s.views(ctx)
		switch {
		case err != nil && !s.r.alive():
			return "the runner ended, to be started again"
		case err != nil:
		case views[0].suspended():
			return "the job was suspended, and said why"
		case views[0].Terminal:
			return fmt.Sprintf("the job ended as %s: %s", views[0].State, views[0].Error)
		case views[0].progress() > best:
			best, at = views[0].progress(), time.Now()
		}
		time.Sleep(pollEvery)
	}
	return fmt.Sprintf("the job made no more progress for %v, and waited", stuckMax)
}

// afterFull has the job go on with more space.
func (s *suite) afterFull(ctx context.Context, t *task) error {
	s.start("")
	if err := s.up(ctx); err != nil {
		return fmt.Errorf("after a full disk: %w", err)
	}
	if err := s.finish(ctx); err != nil {
		return fmt.Errorf("after a full disk: %w", err)
	}
	s.report.note("full disk: with more space the job went on after the restart, to its end")
	return s.verify(ctx, t)
}
