package sim

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds = flag.Int("seeds", 300, "how many fresh seeds to run")
	seed  = flag.Uint64("seed", 0, "run this seed alone, and print its trace")
)

// TestSeeds runs seeds that nobody has seen before. One that fails is printed
// with its trace, and with the command that runs it again.
func TestSeeds(t *testing.T) { runAll(t, Run, *seeds) }

// TestMetamorphic runs the jobs of other seeds in all configurations, and
// compares the outcomes.
func TestMetamorphic(t *testing.T) { runAll(t, Compare, *seeds/len(axes)+1) }

// TestSameSeed: a seed is enough to see a run again.
func TestSameSeed(t *testing.T) {
	for i := range int64(10) {
		var traces [2][]string
		for n := range traces {
			w, err := prepare(mix(1, i), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			traces[n] = w.traced()
		}
		for n := range min(len(traces[0]), len(traces[1])) {
			if a, b := traces[0][n], traces[1][n]; a != b {
				t.Fatalf("seed %d: line %d of the trace is %q, then %q", mix(1, i), n, a, b)
			}
		}
		if len(traces[0]) != len(traces[1]) {
			t.Fatalf("seed %d: traces of %d and %d lines", mix(1, i), len(traces[0]), len(traces[1]))
		}
	}
}

func runAll(t *testing.T, run func(seed uint64, dir string) *Report, n int) {
	if *seed != 0 {
		report(t, run(*seed, t.TempDir()))
		return
	}
	base := uint64(time.Now().UnixNano())
	t.Logf("%d seeds from %d on", n, base)
	t.Logf("%v", runMany(t, run, base, n))
}

// runMany runs n seeds on all processors and adds up what they had.
func runMany(t *testing.T, run func(seed uint64, dir string) *Report, base uint64, n int) (all Had) {
	dir := t.TempDir()
	var (
		next atomic.Int64
		mu   sync.Mutex
		wg   sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				r := run(mix(base, i), dir)
				mu.Lock()
				all.Add(r.Had)
				if r.Failure != "" {
					report(t, r)
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return all
}

// mix makes seed number i of a run; never 0.
func mix(base uint64, i int64) uint64 {
	return rand.New(rand.NewPCG(base, uint64(i))).Uint64()>>16 | 1
}

// maxTrace is how many of the last lines of a trace are printed, unless a seed
// was asked for.
const maxTrace = 40

func report(t *testing.T, r *Report) {
	if r.Failure == "" {
		t.Logf("seed %d: %v", r.Seed, r.Had)
		return
	}
	if len(r.Trace) > maxTrace && *seed == 0 {
		r.Trace = r.Trace[len(r.Trace)-maxTrace:]
	}
	t.Errorf("%s\nseed %d: %s\nagain: go test ./internal/sim -run %s -seed %d", r, r.Seed, r.Failure, t.Name(), r.Seed)
}
