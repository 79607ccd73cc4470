package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// dyingMax is how long a process takes to die at most.
const dyingMax = time.Minute

// suite is a run of the crash suite.
type suite struct {
	c      config
	dir    string
	r      *runner
	report *report
	rng    *rand.Rand
	points *failpoints
	tasks  []*task // of this round
}

func newSuite(c config, dir string) (*suite, error) {
	s := &suite{c: c, dir: dir, report: newReport(c), rng: rand.New(rand.NewPCG(c.seed, 0))}
	s.points = newFailpoints(s.rng, s.report.killsOf)
	var err error
	s.r, err = newRunner(c.pharos, filepath.Join(dir, "data"), filepath.Join(dir, "runner.log"), s.report)
	if err != nil {
		return nil, err
	}
	// Workers that are killed cost their bundles an attempt each, by design.
	s.r.flags = []string{"--max-attempts", "100", "--workers-per-environment", fmt.Sprint(c.workers), "--memory", "64MiB"}
	return s, nil
}

func (s *suite) close() {
	s.r.kill()
}

// rounds runs rounds until enough has been killed.
func (s *suite) rounds(ctx context.Context) error {
	for round := 0; s.report.kills() < s.c.kills; round++ {
		if err := s.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		fmt.Printf("round %d: %d kills so far, %d duplicates, %d losses\n", round, s.report.kills(), s.report.duplicates, s.report.losses)
	}
	return nil
}

// round runs all jobs to their end while things die.
func (s *suite) round(ctx context.Context, round int) error {
	tasks, err := s.roundTasks(round)
	if err != nil {
		return err
	}
	s.tasks = nil
	// While the entry of a job is written:
	s.restart(s.points.entry(round))
	for _, t := range tasks {
		if err := s.submit(ctx, t); err != nil {
			return err
		}
		s.tasks = append(s.tasks, t)
	}
	// While the job runs that will be the first to end:
	if err := s.advance(ctx, tasks[len(tasks)-1]); err != nil {
		return err
	}
	if err := s.killWorker(ctx); err != nil {
		return err
	}
	if err := s.chaos(ctx, s.report.kills()+s.c.quota); err != nil {
		return err
	}
	// While the end of a job is written:
	s.restart(s.points.end(round))
	if err := s.finish(ctx); err != nil {
		return err
	}
	for _, t := range s.tasks {
		if err := s.verify(ctx, t); err != nil {
			return err
		}
	}
	return s.checkStore(ctx)
}

// roundTasks are the jobs of a round. The batch job is the last, for it would end while the clients of the others start.
func (s *suite) roundTasks(round int) ([]*task, error) {
	var tasks []*task
	for _, l := range []language{python, java} {
		t, err := s.streamTask(l, round)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	batch, err := s.batchTask(round)
	return append(tasks, batch), err
}

// checkStore kills the runner and looks into what it has left.
func (s *suite) checkStore(ctx context.Context) error {
	s.r.kill()
	s.report.killed("runner")
	return s.look(ctx)
}

// look looks into what a runner has left that is dead.
func (s *suite) look(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, s.r.binary, "store", "check", s.r.data).CombinedOutput()
	if err != nil {
		return fmt.Errorf("what the runner has left is damaged: %w\n%s", err, out)
	}
	return nil
}

// chaos lets faults happen until there have been so many kills, or the jobs have ended.
func (s *suite) chaos(ctx context.Context, kills int) error {
	for s.report.kills() < kills {
		if err := s.up(ctx); err != nil {
			return err
		}
		ended, err := s.ended(ctx)
		if ended {
			return nil
		}
		if err == nil {
			err = s.fault(ctx)
		}
		if err == nil {
			err = s.progress(ctx)
		}
		if err != nil && !s.died() {
			return err
		}
	}
	return nil
}

// died says whether a request has failed because a failpoint has ended the runner. Its connections end before it does.
func (s *suite) died() bool {
	if s.r.armed == "" {
		return false
	}
	select {
	case <-s.r.done:
		return true
	case <-time.After(dyingMax):
		return false
	}
}

// restart starts the runner, after it has killed the one that runs.
func (s *suite) restart(failpoint string) {
	if s.r.alive() {
		s.r.kill()
		s.report.killed("runner")
	}
	s.start(failpoint)
}

func (s *suite) start(failpoint string) {
	for _, t := range s.tasks {
		t.seen = 0
	}
	s.r.offset = s.clock()
	if err := s.r.start(failpoint); err != nil {
		panic(err) // the binary is not there
	}
}

// up waits until a runner serves. One that a failpoint has ended is started again.
func (s *suite) up(ctx context.Context) error {
	for {
		if s.r.alive() {
			err := s.r.ready(ctx)
			if !errors.Is(err, errDied) {
				return err
			}
		}
		switch {
		case s.r.armed == "" && s.r.done != nil:
			return errDied
		case s.r.armed != "":
			name, _, _ := strings.Cut(s.r.armed, ":")
			s.report.killed(name)
		}
		s.start("")
	}
}

// views describes the jobs of this round.
func (s *suite) views(ctx context.Context) ([]*jobView, error) {
	var views []*jobView
	for _, t := range s.tasks {
		j, err := s.r.job(ctx, t.id)
		if err != nil {
			return nil, err
		}
		views = append(views, j)
	}
	return views, nil
}

// ended says whether all jobs have ended.
func (s *suite) ended(ctx context.Context) (bool, error) {
	views, err := s.views(ctx)
	for _, j := range views {
		if !j.Terminal {
			return false, err
		}
	}
	return err == nil, err
}

// observe notes how far the jobs are, and which have advanced since it was last called or since the runner was started: they
// have committed something, or come to their end.
func (s *suite) observe(ctx context.Context) error {
	views, err := s.views(ctx)
	if err != nil {
		return err
	}
	for i, j := range views {
		t := s.tasks[i]
		t.moved = !t.ended && (j.Terminal || j.progress() > t.seen)
		t.seen, t.ended = j.progress(), j.Terminal
	}
	return nil
}

// anyRunning is one of the jobs that have not ended, nil if there is none.
func (s *suite) anyRunning() *task {
	var running []*task
	for _, t := range s.tasks {
		if !t.ended {
			running = append(running, t)
		}
	}
	if len(running) == 0 {
		return nil
	}
	return running[s.rng.IntN(len(running))]
}

// progress waits until one of the jobs, any of them, has advanced. It does not do with whichever is first: that would be the one
// with the quickest workers each time, and the others would never come far before the next fault.
func (s *suite) progress(ctx context.Context) error {
	t := s.anyRunning()
	if t == nil {
		return nil
	}
	return s.advance(ctx, t)
}

// advance waits until a job has advanced or ended, and notes how long that took since the last fault.
func (s *suite) advance(ctx context.Context, t *task) error {
	since := s.report.lastFault()
	deadline := time.Now().Add(s.c.hang)
	for {
		switch err := s.observe(ctx); {
		case err != nil:
			return err
		case t.moved || t.ended:
			s.report.progressed(time.Since(since))
			return nil
		case time.Now().After(deadline):
			return s.hung(ctx, t)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

func (s *suite) hung(ctx context.Context, t *task) error {
	views, err := s.views(ctx)
	if err != nil {
		return err
	}
	text := ""
	for _, j := range views {
		text += j.text()
	}
	s.report.hangs++
	return fmt.Errorf("no progress of %s within %v:\n%s", t.name, s.c.hang, text)
}

// finish waits for the end of the jobs, as long as they make progress.
func (s *suite) finish(ctx context.Context) error {
	for {
		if err := s.up(ctx); err != nil {
			return err
		}
		ended, err := s.ended(ctx)
		if ended {
			return nil
		}
		if err == nil {
			err = s.progress(ctx)
		}
		if err != nil && !s.died() {
			return err
		}
	}
}
