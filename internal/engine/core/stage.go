package core

import (
	"math"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/plan"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// never is a processing time that does not come.
const never = int64(math.MaxInt64)

// item is a block in a queue.
type item = commit.Item

// shard is the part of a stage that one bundle can lease. A stage without keys
// has one, of which a bundle takes blocks without a lease.
type shard struct {
	queue     []item
	leased    bool
	nextEvent timestamp.Time
	nextProc  int64
	hold      timestamp.Time
	grouped   amount // see stage.group
}

// due says whether timers are, at an input watermark and a processing time.
func (sh *shard) due(mark timestamp.Time, proc int64) bool {
	return sh.nextEvent <= mark || sh.nextProc <= proc
}

// stage is the state of one stage.
type stage struct {
	plan   *plan.Stage
	shards []shard
	sides  []side
	// sidesDone: they have been told to be.
	sidesDone bool
	// producers are the stages that the main input comes from.
	producers []int
	queued    int64 // elements in queues
	bytes     int64 // of blocks in queues
	blocks    int   // blocks in queues
	inflight  int   // bundles
	// flight counts the holds of leased items, so that their minimum is known.
	flight map[timestamp.Time]int
	// unbounded: some collection of the stage is, so its output may be waited
	// for while a bundle runs.
	unbounded bool
	// gathering is the processing time until which little input waits for more;
	// 0 if it does not.
	gathering int64
	// pace is how many elements a bundle processes in a millisecond, lately; 0
	// when it is not known.
	pace float64
	// event is how many events of a TestStream have been; came is the next one,
	// if its service has sent it; over says that no more are wanted or to come.
	event int
	came  *pipepb.TestStreamPayload_Event
	over  bool
	// replay is how many of the events were before the core was recovered.
	replay int
	// turn is the shard that has the next turn, where not all fit in a bundle.
	turn int
	// impulse: an Impulse stage has yet to fire.
	impulse bool
	// What records have said of the stage: that the impulse has fired, how many
	// TestStream events have passed, and the last mark.
	fired  bool
	passed int
	marked commit.Mark
}

func newStage(p *plan.Stage, shards int, windowings map[string]*window.Strategy) *stage {
	n := 1
	if p.Keyed {
		n = shards
	}
	s := &stage{plan: p, shards: make([]shard, n), flight: map[timestamp.Time]int{}}
	for i := range s.shards {
		s.shards[i] = shard{nextEvent: commit.None, nextProc: never, hold: commit.None}
	}
	for _, si := range p.SideInputs {
		s.sides = append(s.sides, newSide(si, windowings))
	}
	for _, pc := range p.Descriptor.GetPcollections() {
		s.unbounded = s.unbounded || pc.GetIsBounded() == pipepb.IsBounded_UNBOUNDED
	}
	s.impulse = p.Kind == plan.Impulse
	return s
}

// paceFromMS is the duration from which a bundle says something about the pace
// of its stage: below, it is mostly the cost of a bundle. A short one still says
// that the pace is at least its own; else one slow bundle might make those after
// it so small that nothing is learnt any more.
const paceFromMS = 100

// observe notes how long a bundle took, recent ones counting half.
func (s *stage) observe(elements, ms int64) {
	if elements == 0 {
		return
	}
	pace := float64(elements) / float64(max(ms, 1))
	if ms < paceFromMS && (s.pace == 0 || pace <= s.pace) {
		return
	}
	if s.pace > 0 {
		pace = (s.pace + pace) / 2
	}
	s.pace = pace
}

// lastHold is the highest watermark of a stage with work left: at the end of
// time consumers take their input for complete.
const lastHold = timestamp.Max - 1

// push puts an item at the end of its shard's queue.
func (s *stage) push(it item) {
	s.shards[it.Shard].queue = append(s.shards[it.Shard].queue, it)
	s.queued += it.Block.Count
	s.bytes += it.Block.Bytes
	s.blocks++
}

// take removes the first n items of a shard's queue that are ready.
func (s *stage) take(shard, n int, ready func(*item) bool) []item {
	sh := &s.shards[shard]
	var taken, rest []item
	for i, it := range sh.queue {
		if len(taken) == n {
			rest = append(rest, sh.queue[i:]...)
			break
		}
		if !ready(&it) {
			rest = append(rest, it)
			continue
		}
		taken = append(taken, it)
		s.queued -= it.Block.Count
		s.bytes -= it.Block.Bytes
		s.blocks--
	}
	sh.queue = rest
	return taken
}

// pending says whether there is work that has not been committed.
func (s *stage) pending() bool {
	return s.blocks > 0 || s.inflight > 0 || s.impulse || s.eventsLeft()
}

// timersLeft says whether a timer is set that can still fire.
func (s *stage) timersLeft() bool {
	for i := range s.shards {
		if s.shards[i].nextEvent <= timestamp.Max || s.shards[i].nextProc != never {
			return true
		}
	}
	return false
}

// work is the smallest hold of everything queued or in flight.
func (s *stage) work() timestamp.Time {
	if s.impulse {
		return timestamp.Min
	}
	t := commit.None
	for i := range s.shards {
		for _, it := range s.shards[i].queue {
			t = min(t, it.Hold)
		}
	}
	for h := range s.flight {
		t = min(t, h)
	}
	return t
}

// hold is the smallest hold of state and timers. Timers that ask for none still
// keep the output from being complete.
func (s *stage) hold() timestamp.Time {
	t := commit.None
	if s.timersLeft() {
		t = lastHold
	}
	for i := range s.shards {
		t = min(t, s.shards[i].hold)
	}
	return t
}

// nextProc is when the stage next wants to be woken: a timer or a resting
// residual. What is due already waits for something else than the clock.
func (s *stage) nextProc(now int64) int64 {
	t := never
	for i := range s.shards {
		if sh := &s.shards[i]; !sh.leased && sh.nextProc > now {
			t = min(t, sh.nextProc)
		}
		for _, it := range s.shards[i].queue {
			if it.ReadyMS > now {
				t = min(t, it.ReadyMS)
			}
		}
	}
	return t
}
