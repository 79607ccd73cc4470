package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/spool"
)

// axis is a way to run a job that must not change what comes out.
type axis struct {
	name string
	set  func(*config)
}

// axes are those that Compare runs, one after another.
var axes = []axis{
	{"fusion off", func(c *config) { c.plan.NoFusion = true }},
	{"lifting off", func(c *config) { c.plan.NoLifting = true }},
	{"all by reduce", func(c *config) { c.plan.Strategy = plan.Reduce }},
	{"by shuffle where that is right", func(c *config) { c.plan.Strategy = plan.Shuffle }},
	{"1 shard", func(c *config) { c.shards = 1 }},
	{"16 shards", func(c *config) { c.shards = 16 }},
	{"bundles of one element", func(c *config) { c.elements, c.blockBytes = 1, 1 }},
	{"one worker, one bundle at a time", func(c *config) { c.slots, c.workers, c.runnerSlots = 1, 1, 1 }},
	{"nothing in memory", func(c *config) { c.spoolMemory, c.groupMemory, c.sideMemory, c.rowMemory = 0, 0, 0, 0 }},
	{"failures", func(c *config) { c.faults = 20 }},
	{"splits", func(c *config) { c.splits = 30 }},
	{"snapshots", func(c *config) { c.durable, c.moves = true, 3 }},
	{"restarts", func(c *config) { c.durable, c.restarts, c.frozen = true, 5, true }},
}

// plainConfig is what the others are compared to.
func plainConfig() config {
	return config{
		shards: 4, slots: 4, workers: 2, elements: 1 << 20, blockBytes: 1 << 20, groupMemory: math.MaxInt64, spoolMemory: spool.Unlimited, sideMemory: math.MaxInt64, rowMemory: math.MaxInt64,
		bundleMS: 1000, idleMS: 500, jumpMS: 20, runnerSlots: 2,
	}
}

// Compare runs the job of a seed, one whose panes do not depend on the order of
// bundles, in one configuration after another: the same elements and panes must
// come out, with the same windows, timestamps, timings and numbers.
func Compare(seed uint64, dir string) *Report {
	r := &Report{Seed: seed}
	want := r.runAs(axis{"plain", func(*config) {}}, dir)
	for _, a := range axes {
		if r.Failure != "" {
			break
		}
		got := r.runAs(a, dir)
		if diff := difference(want, got); diff != "" && r.Failure == "" {
			r.Failure = fmt.Sprintf("with %s: %s", a.name, diff)
			r.Trace = r.traceAs(a, dir)
		}
	}
	return r
}

// runAs runs the job in one configuration and returns what came out.
func (r *Report) runAs(a axis, dir string) map[string]int {
	w, err := prepareAs(r.Seed, a, dir)
	if err != nil {
		r.Failure = fmt.Sprintf("with %s: prepare the job: %v", a.name, err)
		return nil
	}
	w.run()
	r.Had.Add(w.had())
	if w.failure != "" {
		r.Failure = fmt.Sprintf("with %s: %s", a.name, w.failure)
		r.Trace = r.traceAs(a, dir)
	}
	return w.checks.seen
}

// traceAs runs it again with a trace.
func (r *Report) traceAs(a axis, dir string) []string {
	w, err := prepareAs(r.Seed, a, dir)
	if err != nil {
		return nil
	}
	return w.traced()
}

func prepareAs(seed uint64, a axis, dir string) (*world, error) {
	rng := rand.New(rand.NewPCG(seed, 0x3e7a))
	p := generate(rng, true)
	c := plainConfig()
	a.set(&c)
	return newWorld(p, c, rng, dir)
}

// difference says what is in one and not in the other.
func difference(want, got map[string]int) string {
	var lines []string
	for text, n := range want {
		if d := n - got[text]; d > 0 {
			lines = append(lines, fmt.Sprintf("missing %d of %q", d, text))
		}
	}
	for text, n := range got {
		if d := n - want[text]; d > 0 {
			lines = append(lines, fmt.Sprintf("%d too many of %q", d, text))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}
