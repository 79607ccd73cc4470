package sim

import (
	"math"
	"math/rand/v2"

	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/spool"
)

// config is everything about a run but the pipeline and its input.
type config struct {
	plan        plan.Options
	shards      int
	slots       int // of each environment
	workers     int // of each environment
	elements    int64
	maxInput    int64
	blockBytes  int
	groupMemory int64
	spoolMemory int64
	sideMemory  int64
	rowMemory   int64
	faults      int // failures, deaths and lost answers, at most
	splits      int // beside those that the core asks for
	bundleMS    int64
	durable     bool
	restarts    int  // of durable jobs
	moves       int  // of durable jobs to other ones, by snapshots
	drains      int  // 1: the job is drained at some time
	frozen      bool // a TestStream job that restarts does not see that time has passed
	idleMS      int64
	queueBytes  int64
	jumpMS      int64 // how far the clock may jump
	runnerSlots int
}

// anyConfig makes up a configuration.
func anyConfig(rng *rand.Rand) config {
	pick := func(n int) int { return rng.IntN(n) }
	c := config{
		plan:        plan.Options{NoFusion: pick(3) == 0, NoLifting: pick(3) == 0},
		shards:      []int{1, 2, 4, 16}[pick(4)],
		slots:       1 + pick(4),
		workers:     1 + pick(3),
		elements:    []int64{1, 3, 10, 1 << 20, 1 << 20}[pick(5)],
		blockBytes:  []int{1, 30, 200, 1 << 20, 1 << 20}[pick(5)],
		groupMemory: []int64{0, math.MaxInt64}[pick(2)],
		spoolMemory: []int64{0, 1000, spool.Unlimited, spool.Unlimited}[pick(4)],
		bundleMS:    []int64{10, 200, 1000}[pick(3)],
		idleMS:      []int64{10, 100, 500}[pick(3)],
		queueBytes:  []int64{0, 1, 300}[pick(3)],
		jumpMS:      []int64{0, 20, 300, 5000}[pick(4)],
		runnerSlots: 1 + pick(3),
	}
	if pick(3) > 0 {
		c.faults = pick(20)
	}
	if pick(3) > 0 {
		c.splits = pick(30)
	}
	if pick(3) == 0 {
		c.plan.Strategy = plan.Reduce
	}
	if c.durable = pick(2) == 0; c.durable {
		c.restarts, c.moves = pick(4), pick(3)
	}
	if pick(6) == 0 {
		c.drains = 1
	}
	if pick(6) == 0 {
		c.maxInput = int64(20 + pick(200))
	}
	c.rowMemory = []int64{1000, 100_000, math.MaxInt64}[pick(3)]
	c.sideMemory = []int64{0, 1000, math.MaxInt64}[pick(3)]
	return c
}
