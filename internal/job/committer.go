package job

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// maxCommitOps is how many changes one batch takes; what comes after waits for
// the next.
const maxCommitOps = 100_000

// committer applies records to the store, all that are ready in one batch, and
// with one sync if the job is durable.
type committer struct {
	store store.Store
	tell  func(any)
	// records of a durable job, and what makes the blocks durable that they
	// name; nil if the job lives in memory.
	records *table.Records
	sync    func(blocks ...uint64) error
	mu      sync.Mutex
	ready   []*commit.Record
	wake    chan struct{}
	done    chan struct{}
}

func newCommitter(s store.Store, tell func(any), records *table.Records, sync func(...uint64) error) *committer {
	return &committer{store: s, tell: tell, records: records, sync: sync, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// add hands a record over. The number of records waiting is bounded by the
// number of bundles in flight.
func (c *committer) add(r *commit.Record) {
	c.mu.Lock()
	c.ready = append(c.ready, r)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take returns the next batch.
func (c *committer) take() (bundles, blocks []uint64, ops []keyspace.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.ready) && len(ops) < maxCommitOps {
		if c.records != nil {
			ops = c.records.Append(ops, c.ready[n])
			blocks = append(blocks, named(c.ready[n])...)
		} else {
			ops = append(ops, c.ready[n].Ops...)
		}
		bundles = append(bundles, c.ready[n].Bundle)
		n++
	}
	c.ready = append(c.ready[:0:0], c.ready[n:]...)
	return bundles, blocks, ops
}

// named are the blocks that a record refers to for the first time, or again.
func named(r *commit.Record) []uint64 {
	ids := slices.Clone(r.Kept)
	for i := range r.Put {
		ids = append(ids, r.Put[i].Block.ID)
	}
	for i := range r.Sides {
		ids = append(ids, r.Sides[i].Block)
	}
	return ids
}

// run applies batches until ctx is done.
func (c *committer) run(ctx context.Context) {
	defer close(c.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for {
			bundles, blocks, ops := c.take()
			if len(bundles) == 0 {
				break
			}
			c.tell(commitDone{bundles: bundles, err: c.apply(blocks, ops)})
		}
	}
}

// apply applies a batch. Blocks are durable before the rows that name them.
func (c *committer) apply(blocks []uint64, ops []keyspace.Op) error {
	if len(ops) == 0 {
		return nil
	}
	if c.sync != nil {
		if err := c.sync(blocks...); err != nil {
			return fmt.Errorf("sync blocks: %w", err)
		}
	}
	return c.store.Apply(ops, c.sync != nil)
}

// wait waits for run to end.
func (c *committer) wait() { <-c.done }

// dropJob removes everything a job has in the store.
func dropJob(s store.Store, job string) error {
	lo := keyspace.Job(job)
	return s.Apply([]keyspace.Op{{Kind: keyspace.DeleteRange, Key: lo, Value: keyspace.PrefixEnd(lo)}}, false)
}
