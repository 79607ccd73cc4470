package job

import (
	"slices"
	"time"
)

// Jobs that have ended are kept to be looked at, and forgotten in time: the one
// that ended first goes first.

const (
	// DefaultKeepJobs is how many jobs that have ended are kept.
	DefaultKeepJobs = 1000
	// maxPrepared is how many jobs may be prepared and not run. The oldest is
	// cancelled when there is one more.
	maxPrepared = 1000
	// minTrimEvery and maxTrimEvery bound how often jobs are looked at that may
	// have become too old.
	minTrimEvery = 10 * time.Millisecond
	maxTrimEvery = time.Minute
)

// trim forgets the jobs that are not kept any longer.
func (m *Manager) trim() {
	m.mu.Lock()
	gone := m.expired(time.Now())
	for _, j := range gone {
		delete(m.jobs, j.id)
	}
	m.mu.Unlock()
	for _, j := range gone {
		m.forget(j)
	}
}

// forget gives back what a job has that is not among the others any more.
func (m *Manager) forget(j *Job) {
	j.Cancel() // one that was never run cannot be any more
	m.dropArtifacts(j.id)
	m.opts.Logs.Remove(j.id)
	if err := m.journal.forget(j.id); err != nil {
		m.opts.Log.Warn("a job that is forgotten stays in the store", "job", j.id, "err", err)
	}
}

// expired returns the jobs that are not to be kept.
func (m *Manager) expired(now time.Time) []*Job {
	var ended, idle []*Job
	for _, j := range m.jobs {
		switch {
		case j.isBuried():
			ended = append(ended, j)
		case j.idle():
			idle = append(idle, j)
		}
	}
	gone := oldest(idle, len(idle)-maxPrepared)
	gone = append(gone, oldest(ended, len(ended)-m.keepJobs())...)
	if m.opts.KeepFor <= 0 {
		return gone
	}
	for _, j := range ended {
		if _, since := j.State(); now.Sub(since) >= m.opts.KeepFor && !slices.Contains(gone, j) {
			gone = append(gone, j)
		}
	}
	return gone
}

func (m *Manager) keepJobs() int {
	if m.opts.KeepJobs > 0 {
		return m.opts.KeepJobs
	}
	return DefaultKeepJobs
}

// oldest returns the n jobs that have been in their state for the longest time.
func oldest(jobs []*Job, n int) []*Job {
	if n <= 0 {
		return nil
	}
	slices.SortFunc(jobs, func(a, b *Job) int {
		_, sinceA := a.State()
		_, sinceB := b.State()
		return sinceA.Compare(sinceB)
	})
	return slices.Clone(jobs[:n])
}

// trimInTime forgets jobs as they become too old, until the manager is closed.
func (m *Manager) trimInTime() {
	defer m.wg.Done()
	tick := time.NewTicker(min(max(m.opts.KeepFor/10, minTrimEvery), maxTrimEvery))
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
			m.trim()
		}
	}
}
