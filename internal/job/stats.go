package job

import (
	"time"
)

// latencyBounds are the upper ends of the buckets of Latencies, ascending.
var latencyBounds = [...]time.Duration{
	time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond,
	300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, 100 * time.Second,
}

// Latencies counts durations by size.
type Latencies struct {
	Count   int64
	Sum     time.Duration
	buckets [len(latencyBounds)]int64
}

func (l *Latencies) add(d time.Duration) {
	l.Count++
	l.Sum += d
	for i, bound := range latencyBounds {
		if d <= bound {
			l.buckets[i]++
			return
		}
	}
}

// Buckets are how many durations there are up to each bound, with those up to
// the bounds before it.
func (l *Latencies) Buckets() map[time.Duration]int64 {
	all, n := make(map[time.Duration]int64, len(latencyBounds)), int64(0)
	for i, bound := range latencyBounds {
		n += l.buckets[i]
		all[bound] = n
	}
	return all
}

// Stats are what the runner has done for a job since the runner was started,
// besides what Progress says of each stage.
type Stats struct {
	// Attempts are how long attempts of bundles took, failed ones too, and
	// Commits how long records waited until they were in the store.
	Attempts, Commits Latencies
	// Workers are how many live workers each environment of a running job has.
	Workers map[string]int
}

// Stats says what the runner has done for the job. It is as old as the last
// Progress.
func (j *Job) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stats
}

// liveWorkers counts the workers of each environment.
func (d *driver) liveWorkers() map[string]int {
	n := make(map[string]int, len(d.pools))
	for id, p := range d.pools {
		n[id] = len(p.Harnesses())
	}
	return n
}
