package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// examplesMax is how many wrong lines a report shows.
const examplesMax = 20

// coverageKills is the number of kills from which each failpoint and a worker in each language must have been reached.
const coverageKills = 100

// report is what a run has found.
type report struct {
	c     config
	began time.Time

	mu         sync.Mutex
	deaths     map[string]int // by what died, or by the failpoint
	frozen     map[string]int
	faulted    time.Time
	toProgress []time.Duration
	commits    []time.Duration
	committed  int64 // bytes of records and of the blocks that they name
	written    int64 // bytes by runners
	lines      int
	duplicates int
	losses     int
	hangs      int
	examples   []string
	notes      []string
}

func newReport(c config) *report {
	return &report{c: c, began: time.Now(), deaths: map[string]int{}, frozen: map[string]int{}}
}

func (r *report) killed(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaths[what]++
}

// killsOf is how often something has been killed.
func (r *report) killsOf(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deaths[what]
}

func (r *report) kills() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, k := range r.deaths {
		n += k
	}
	return n
}

func (r *report) froze(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen[what]++
}

// fault notes the time of one.
func (r *report) fault() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faulted = time.Now()
}

// lastFault returns the time of the last fault, once; then now.
func (r *report) lastFault() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.faulted
}

// progressed notes how long it took from a fault to the first commit after it.
func (r *report) progressed(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.faulted.IsZero() {
		r.toProgress = append(r.toProgress, d)
		r.faulted = time.Time{}
	}
}

func (r *report) commit(c commit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commits = append(r.commits, c.took)
	r.committed += c.bytes
}

func (r *report) wrote(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written += bytes
}

// note adds a line to the report.
func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// wrong notes something that is a loss or a duplicate and no line.
func (r *report) wrong(format string, args ...any) {
	r.losses++
	r.examples = append(r.examples, fmt.Sprintf(format, args...))
}

// compare counts what is missing and what is too much, as multisets.
func (r *report) compare(job string, got, want []string) {
	r.lines += len(want)
	count := map[string]int{}
	for _, line := range want {
		count[line]--
	}
	for _, line := range got {
		count[line]++
	}
	for _, line := range slices.Sorted(maps.Keys(count)) {
		n := count[line]
		r.duplicates += max(n, 0)
		r.losses += max(-n, 0)
		if n != 0 && len(r.examples) < examplesMax {
			r.examples = append(r.examples, fmt.Sprintf("job %s: %+d of %q", job, n, line))
		}
	}
}

// quantile of durations; 0 without any.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)-1, int(q*float64(len(all))))].Round(10 * time.Microsecond)
}

func (r *report) print(w io.Writer) {
	kills := r.kills()
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(w, "\nseed %d, %v\n", r.c.seed, time.Since(r.began).Round(time.Second))
	fmt.Fprintf(w, "%-28s %d\n", "kills", kills)
	for _, what := range slices.Sorted(maps.Keys(r.deaths)) {
		fmt.Fprintf(w, "  %-26s %d\n", what, r.deaths[what])
	}
	fmt.Fprintf(w, "%-28s %d runner, %d worker\n", "frozen for a while", r.frozen["runner"], r.frozen["worker"])
	fmt.Fprintf(w, "%-28s %d\n", "lines of output checked", r.lines)
	fmt.Fprintf(w, "%-28s %d\n%-28s %d\n%-28s %d\n", "duplicates", r.duplicates, "losses", r.losses, "hangs", r.hangs)
	fmt.Fprintf(w, "%-28s p50 %v, p99 %v, max %v\n", "time to progress", quantile(r.toProgress, 0.5).Round(time.Millisecond),
		quantile(r.toProgress, 0.99).Round(time.Millisecond), quantile(r.toProgress, 1).Round(time.Millisecond))
	fmt.Fprintf(w, "%-28s p50 %v, p99 %v of %d\n", "commit latency", quantile(r.commits, 0.5), quantile(r.commits, 0.99), len(r.commits))
	if r.committed > 0 {
		fmt.Fprintf(w, "%-28s %.2f (%d MiB written for %d MiB committed)\n", "write amplification",
			float64(r.written)/float64(r.committed), r.written>>20, r.committed>>20)
	}
	for _, line := range append(slices.Clone(r.notes), r.examples...) {
		fmt.Fprintln(w, line)
	}
}

// verdict is an error unless everything was as it has to be.
func (r *report) verdict() error {
	var errs []error
	if r.duplicates+r.losses > 0 {
		errs = append(errs, fmt.Errorf("%d duplicates and %d losses", r.duplicates, r.losses))
	}
	if r.kills() >= coverageKills {
		for _, name := range roundPoints {
			if r.deaths[string(name)] == 0 {
				errs = append(errs, fmt.Errorf("failpoint %s was never reached", name))
			}
		}
		for _, l := range []language{python, java, golang} {
			if r.deaths[workerIn(l)] == 0 {
				errs = append(errs, fmt.Errorf("no %s was ever killed", workerIn(l)))
			}
		}
	}
	return errors.Join(errs...)
}
