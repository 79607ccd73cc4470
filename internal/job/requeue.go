package job

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// noTimer is the time of no timer.
const noTimer = int64(math.MaxInt64)

// scheduling writes what the scheduler of the new job begins with: queues, side
// inputs, marks, shards. What it has is as records would have left it, with the
// numbers that the job before has counted to: rows of state have them in their
// keys.
func (r *restorer) scheduling() error {
	rec := &commit.Record{Bundle: r.saved.Bundle, Marks: r.marks()}
	for i := range r.saved.Items {
		if err := r.item(rec, &r.saved.Items[i]); err != nil {
			return err
		}
	}
	for _, side := range r.saved.Sides {
		if err := r.side(rec, side); err != nil {
			return err
		}
	}
	r.ops = r.records.Append(r.ops, rec)
	for _, stage := range r.sortedStages() {
		of := &commit.Record{Stage: stage}
		for _, shard := range slices.Sorted(maps.Keys(r.shards[stage])) {
			of.Shards = append(of.Shards, *r.shards[stage][shard])
		}
		r.ops = r.records.Append(r.ops, of)
	}
	return r.keep()
}

// keep takes over the blocks that elements name.
func (r *restorer) keep() error {
	for _, id := range r.saved.Kept {
		to, err := r.renamed(id)
		if err != nil {
			return err
		}
		alias := id
		if a, ok := r.saved.Aliases[id]; ok {
			alias = a
		}
		r.spool.Reserve(alias)
		r.used[to] = true
		r.ops = r.records.Keep(r.ops, to, alias)
	}
	return nil
}

// marks are the watermarks of the new stages. A stage that goes on from several
// has seen the furthest input, and has promised the least output.
func (r *restorer) marks() []commit.Mark {
	all := map[int]*commit.Mark{}
	for _, was := range r.saved.Marks {
		if was.Stage >= len(r.targets) {
			continue
		}
		for _, stage := range r.targets[was.Stage].Stages {
			m := all[stage]
			if m == nil {
				m = &commit.Mark{Stage: stage, Input: timestamp.Min, Output: was.Output}
				all[stage] = m
			}
			m.Input, m.Output = max(m.Input, was.Input), min(m.Output, was.Output)
			m.Fired = m.Fired || was.Fired
		}
	}
	var marks []commit.Mark
	for _, stage := range slices.Sorted(maps.Keys(all)) {
		marks = append(marks, *all[stage])
	}
	return marks
}

// item puts a block into the queues of those that it waits for now.
func (r *restorer) item(rec *commit.Record, it *commit.Item) error {
	if it.Stage >= len(r.targets) {
		return fmt.Errorf("%w: stage %d", keyspace.ErrMalformed, it.Stage)
	}
	id, err := r.renamed(it.Block.ID)
	if err != nil {
		return err
	}
	for _, stage := range r.targets[it.Stage].Queue {
		put := *it
		put.Stage, put.Block.ID = stage, id
		ps := r.runner.plan.Stages[stage]
		if r.used[id] || ps.Keyed || ps.WindowedSides() {
			err = r.requeue(rec, ps, put)
		} else {
			put.Shard = 0
			rec.Put, r.used[id] = append(rec.Put, put), true
		}
		if err != nil {
			return fmt.Errorf("requeue block %d: %w", it.Block.ID, err)
		}
	}
	return nil
}

// requeue copies the elements of a block into blocks for each shard, where they
// get what their new stage has to know of them.
func (r *restorer) requeue(rec *commit.Record, ps *plan.Stage, it commit.Item) error {
	in, err := r.runner.collection(ps.Input)
	if err != nil {
		return err
	}
	data, err := r.spool.Get(it.Block.ID)
	if err != nil {
		return err
	}
	builders := map[int]*builder{}
	one := func(e *coder.Element) error {
		shard := 0
		if ps.Keyed {
			key, _, err := coder.SplitKV(in.elem, e.Value)
			if err != nil {
				return err
			}
			shard = r.shardOf(key)
		}
		b := builders[shard]
		if b == nil {
			b = newBuilder(r.runner.blocks, false, func(block commit.Block) { r.put(rec, it, shard, block) })
			builders[shard] = b
		}
		if ps.WindowedSides() {
			if err := b.noteEnds(in, e); err != nil {
				return err
			}
		}
		return b.add(e.Raw, e.Timestamp)
	}
	if err := in.eachElement(data, one); err != nil {
		return err
	}
	var errs []error
	for _, shard := range slices.Sorted(maps.Keys(builders)) {
		errs = append(errs, builders[shard].flush())
	}
	return errors.Join(errs...)
}

// put queues a block that requeue has made. Of one block come several in a
// shard only where a block is larger than blocks are made: they get numbers of
// their own then.
func (r *restorer) put(rec *commit.Record, like commit.Item, shard int, block commit.Block) {
	r.used[block.ID] = true
	like.Shard, like.Block = shard, block
	for slices.ContainsFunc(rec.Put, func(p commit.Item) bool {
		return p.Stage == like.Stage && p.Shard == shard && p.Seq == like.Seq
	}) {
		r.saved.Seq++
		like.Seq = r.saved.Seq
	}
	rec.Put = append(rec.Put, like)
}

func (r *restorer) side(rec *commit.Record, side commit.Side) error {
	if side.Stage >= len(r.targets) || side.Input >= len(r.targets[side.Stage].Sides) {
		return fmt.Errorf("%w: side input %d of stage %d", keyspace.ErrMalformed, side.Input, side.Stage)
	}
	to := r.targets[side.Stage].Sides[side.Input]
	if to.Stage < 0 {
		return nil
	}
	id, err := r.renamed(side.Block)
	if err == nil {
		r.used[id] = true
		rec.Sides = append(rec.Sides, commit.Side{Stage: to.Stage, Input: to.Input, Seq: side.Seq, Block: id})
	}
	return err
}
