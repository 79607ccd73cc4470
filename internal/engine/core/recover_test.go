package core

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/plan"
)

// savedWorld is a store: what the records that were applied to it leave.
type savedWorld struct {
	items  map[uint64]commit.Item
	shards map[[2]int]commit.Shard
	marks  map[int]commit.Mark
	sides  []commit.Side
	bundle uint64
	seq    uint64
}

func newSavedWorld() *savedWorld {
	return &savedWorld{
		items: map[uint64]commit.Item{}, shards: map[[2]int]commit.Shard{}, marks: map[int]commit.Mark{},
	}
}

func (s *savedWorld) apply(r *commit.Record) error {
	for _, it := range r.Taken {
		if _, ok := s.items[it.Seq]; !ok {
			return fmt.Errorf("bundle %d of stage %d takes item %d, which is not there", r.Bundle, r.Stage, it.Seq)
		}
		delete(s.items, it.Seq)
	}
	for _, it := range r.Put {
		if _, ok := s.items[it.Seq]; ok {
			return fmt.Errorf("bundle %d of stage %d puts item %d, which is there", r.Bundle, r.Stage, it.Seq)
		}
		s.items[it.Seq] = it
		s.seq = max(s.seq, it.Seq)
	}
	for _, sh := range r.Shards {
		s.shards[[2]int{r.Stage, sh.Shard}] = sh
	}
	for _, m := range r.Marks {
		old := s.marks[m.Stage]
		if m.Event < old.Event || old.Fired && !m.Fired {
			return fmt.Errorf("the mark of stage %d falls from %+v to %+v", m.Stage, old, m)
		}
		s.marks[m.Stage] = m
	}
	for _, side := range r.Sides {
		s.sides = append(s.sides, side)
		s.seq = max(s.seq, side.Seq)
	}
	s.bundle = max(s.bundle, r.Bundle)
	return nil
}

func (s *savedWorld) saved() Saved {
	v := Saved{Shards: map[int][]commit.Shard{}, Sides: slices.Clone(s.sides), Bundle: s.bundle, Seq: s.seq}
	for _, it := range s.items {
		v.Items = append(v.Items, it)
	}
	slices.SortFunc(v.Items, func(a, b commit.Item) int { return cmp.Compare(a.Seq, b.Seq) })
	for k, sh := range s.shards {
		v.Shards[k[0]] = append(v.Shards[k[0]], sh)
	}
	for _, m := range s.marks {
		v.Marks = append(v.Marks, m)
	}
	return v
}

// die is the death of the process, and the start of the next one: some of the
// records on their way have got to the store, and nobody has heard of it.
func (w *world) die() {
	quiet := len(w.pending) == 0
	w.stored(w.rng.IntN(len(w.pending) + 1))
	old := w.core
	w.core = Recover(w.plan, old.cfg, w.store.saved())
	if quiet {
		w.same(old)
	}
	w.pending, w.events, w.wakeAt = nil, nil, 0
	w.splits, w.leased, w.live = map[Event]Split{}, map[[2]int]uint64{}, map[uint64]int{}
	for _, it := range w.store.items {
		w.live[it.Block.ID] = it.Stage
	}
	w.deaths++
	w.tell(Start{NowMS: w.now})
}

// same holds the recovered core against the one that has died: what was in
// flight there is queued here.
func (w *world) same(old *Core) {
	for i, s := range old.stages {
		pending := s.queued
		for _, b := range old.bundles {
			if b.stage == s {
				pending += b.elements
			}
		}
		got := w.core.stages[i]
		if got.queued != pending || got.impulse != (s.impulse || s.inflight > 0 && s.plan.Kind == plan.Impulse) {
			w.t.Fatalf("stage %d: recovered %d elements, impulse %v; there were %d, %v", i, got.queued, got.impulse, pending, s.impulse)
		}
		if now, then := w.core.Status(i).Output, old.Status(i).Output; now > then {
			w.t.Fatalf("stage %d: the watermark is recovered at %v and was at %v", i, now, then)
		}
	}
}

// A process that dies at any moment loses nothing that was durable, and does
// nothing twice.
func TestRecover(t *testing.T) {
	deaths := 0
	for seed := range uint64(2000) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cfg := Config{Shards: 4, MaxAttempts: 100, Slots: map[string]int{"e": 2}, RunnerSlots: 2}
			w := newWorld(t, seed, chain(), cfg)
			w.crash = 0.05
			w.fail = float64(seed%4) / 10
			w.share = float64(seed%3) / 10
			w.budget = int(seed % 7)
			if end := w.run(); end.Err != "" || end.Cancelled {
				t.Fatalf("finish = %+v", *end)
			}
			for i := range w.read {
				if w.read[i] != w.written[i] {
					t.Errorf("stage %d: %d elements were sent, %d read", i, w.written[i], w.read[i])
				}
			}
			if len(w.store.items) != 0 {
				t.Errorf("left in the queues: %v", w.store.items)
			}
			deaths += w.deaths
		})
	}
	if deaths == 0 {
		t.Error("no process has died")
	}
}
