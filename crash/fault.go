package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/internal/failpoint"
)

// Limits of what is random.
const (
	aliveMax  = 2 * time.Second // before a kill
	frozenMax = 3 * time.Second
	burstMax  = 7
	clockMax  = 20 * time.Second // that the clock is off by
	armedMax  = 15 * time.Second // to wait for a failpoint
	hitsMax   = 20               // the hit at which a failpoint of the commit path ends the runner
)

// runningPoints come while jobs run.
var runningPoints = []failpoint.Name{
	failpoint.BlocksSync, failpoint.BlocksSynced, failpoint.Apply, failpoint.Applied, failpoint.Drop,
	failpoint.Recover, failpoint.Recovered, failpoint.EntryWrite, failpoint.EntryWritten,
}

// roundPoints come in a round. Those of snapshots come in the snapshot drill.
var roundPoints = append(slices.Clone(runningPoints), failpoint.Seal, failpoint.Sealed)

// failpoints chooses failpoints.
type failpoints struct {
	rng    *rand.Rand
	deaths func(name string) int // at a failpoint, so far
	names  []failpoint.Name
	chosen map[failpoint.Name]int
}

func newFailpoints(rng *rand.Rand, deaths func(string) int) *failpoints {
	f := &failpoints{rng: rng, deaths: deaths, names: slices.Clone(runningPoints), chosen: map[failpoint.Name]int{}}
	rng.Shuffle(len(f.names), func(i, j int) { f.names[i], f.names[j] = f.names[j], f.names[i] })
	return f
}

// any is a failpoint that comes while jobs run: each before any a second time, and then one that did not come in time
// three times as soon as one that did.
func (f *failpoints) any() string {
	had := func(n failpoint.Name) int { return f.chosen[n] + 2*f.deaths(string(n)) }
	name := slices.MinFunc(f.names, func(a, b failpoint.Name) int { return cmp.Compare(had(a), had(b)) })
	f.chosen[name]++
	switch name {
	case failpoint.Recover, failpoint.EntryWrite, failpoint.EntryWritten, failpoint.Recovered:
		return fmt.Sprintf("%s:1", name)
	}
	return fmt.Sprintf("%s:%d", name, 1+f.rng.IntN(hitsMax))
}

// entry is a failpoint while the first entry of a job is written.
func (f *failpoints) entry(round int) string {
	return fmt.Sprintf("%s:1", []failpoint.Name{failpoint.EntryWrite, failpoint.EntryWritten}[round%2])
}

// end is a failpoint while the end of a job is written.
func (f *failpoints) end(round int) string {
	return fmt.Sprintf("%s:1", []failpoint.Name{failpoint.Sealed, failpoint.Seal}[round%2])
}

// fault does something bad.
func (s *suite) fault(ctx context.Context) error {
	switch n := s.rng.IntN(20); {
	case n < 6:
		return s.killRunner(ctx)
	case n < 12:
		return s.killAtFailpoint(ctx)
	case n < 18:
		return s.killWorker(ctx)
	case n < 19:
		return s.freezeRunner(ctx)
	default:
		return s.freezeWorker(ctx)
	}
}

// killRunner kills the runner at random times, up to burstMax in a row: the ones after the first while it recovers, or while
// its workers start.
func (s *suite) killRunner(ctx context.Context) error {
	for range 1 + s.rng.IntN(burstMax) {
		s.pause(ctx, aliveMax)
		s.restart("")
		s.report.fault()
		if err := s.up(ctx); err != nil {
			return err
		}
	}
	return nil
}

// killAtFailpoint has the runner kill itself at a failpoint.
func (s *suite) killAtFailpoint(ctx context.Context) error {
	s.restart(s.points.any())
	select {
	case <-s.r.done:
		if err := s.look(ctx); err != nil {
			return err
		}
	case <-time.After(armedMax): // it may still come
	case <-ctx.Done():
	}
	s.report.fault()
	return s.up(ctx)
}

// killWorker kills a worker.
func (s *suite) killWorker(ctx context.Context) error {
	s.pause(ctx, aliveMax/3)
	w := s.worker()
	if w == nil {
		return nil
	}
	if syscall.Kill(w.pid, syscall.SIGKILL) == nil {
		s.report.killed(workerIn(w.language))
		s.report.fault()
	}
	return s.observe(ctx) // what has been committed so far is no progress
}

// worker is a worker of the language whose workers have been killed least, nil if there is no worker.
func (s *suite) worker() *worker {
	all := s.r.workers()
	if len(all) == 0 {
		return nil
	}
	s.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	w := slices.MinFunc(all, func(a, b worker) int {
		return cmp.Compare(s.report.killsOf(workerIn(a.language)), s.report.killsOf(workerIn(b.language)))
	})
	return &w
}

func (s *suite) freezeRunner(ctx context.Context) error {
	s.freeze(ctx, s.r.cmd.Process.Pid)
	s.report.froze("runner")
	return s.observe(ctx)
}

func (s *suite) freezeWorker(ctx context.Context) error {
	if w := s.worker(); w != nil {
		s.freeze(ctx, w.pid)
		s.report.froze("worker")
	}
	return s.observe(ctx)
}

// freeze stops a process and lets it go on.
func (s *suite) freeze(ctx context.Context, pid int) {
	if syscall.Kill(pid, syscall.SIGSTOP) != nil {
		return
	}
	s.pause(ctx, frozenMax)
	_ = syscall.Kill(pid, syscall.SIGCONT)
	s.report.fault()
}

// clock is what the clock of the next runner is off by: as if somebody had set the machine's while no runner was there.
func (s *suite) clock() time.Duration {
	if s.rng.IntN(2) == 0 {
		return 0
	}
	return time.Duration(s.rng.Int64N(int64(2*clockMax))) - clockMax
}

// pause waits for a random time.
func (s *suite) pause(ctx context.Context, limit time.Duration) {
	select {
	case <-time.After(time.Duration(s.rng.Int64N(int64(limit)))):
	case <-ctx.Done():
	}
}
