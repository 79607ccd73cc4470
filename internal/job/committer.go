package job

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/failpoint"
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
	cuts    []*cut    // snapshots to take
	since   time.Time // when the first of ready came
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
	if len(c.ready) == 0 {
		c.since = time.Now()
	}
	c.ready = append(c.ready, r)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// cut has a view of the store taken between two batches.
func (c *committer) cut(x *cut) {
	c.mu.Lock()
	c.cuts = append(c.cuts, x)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// makeCuts takes the views that are wanted. After that of a job that is to stop
// nothing is applied any more, unless the snapshot fails.
func (c *committer) makeCuts(ctx context.Context) {
	c.mu.Lock()
	cuts := c.cuts
	c.cuts = nil
	c.mu.Unlock()
	for _, x := range cuts {
		x.view = c.store.Snapshot()
		c.tell(cutMade{x})
		if x.after != Stop {
			continue
		}
		select {
		case <-x.resume:
		case <-ctx.Done():
			return
		}
	}
}

// batch is a number of records that are applied at once.
type batch struct {
	bundles, blocks []uint64
	ops             []keyspace.Op
	since           time.Time // when the first of them came
	put             int64     // bytes of the blocks that they put out
	freed           []uint64  // blocks to drop afterwards
}

// bytes is what the batch has the store and the spool keep.
func (b *batch) bytes() int64 {
	n := b.put
	for i := range b.ops {
		n += int64(len(b.ops[i].Key) + len(b.ops[i].Value))
	}
	return n
}

// take returns the next batch.
func (c *committer) take() *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &batch{since: c.since}
	n := 0
	for ; n < len(c.ready) && len(b.ops) < maxCommitOps; n++ {
		r := c.ready[n]
		if c.records != nil {
			b.ops = c.records.Append(b.ops, r)
			b.blocks = append(b.blocks, named(r)...)
		} else {
			b.ops = append(b.ops, r.Ops...)
		}
		for i := range r.Put {
			b.put += r.Put[i].Block.Bytes
		}
		b.freed = append(b.freed, r.Freed...)
		b.bundles = append(b.bundles, r.Bundle)
	}
	c.ready = append(c.ready[:0:0], c.ready[n:]...)
	return b
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
			c.makeCuts(ctx)
			b := c.take()
			if len(b.bundles) == 0 || ctx.Err() != nil {
				break
			}
			err := c.apply(b.blocks, b.ops)
			c.tell(commitDone{batch: b, took: time.Since(b.since), err: err})
		}
	}
}

// apply applies a batch. Blocks are durable before the rows that name them.
func (c *committer) apply(blocks []uint64, ops []keyspace.Op) error {
	if len(ops) == 0 {
		return nil
	}
	if c.sync != nil {
		failpoint.Hit(failpoint.BlocksSync)
		if err := c.sync(blocks...); err != nil {
			return err
		}
		failpoint.Hit(failpoint.BlocksSynced)
	}
	failpoint.Hit(failpoint.Apply)
	if err := c.store.Apply(ops, c.sync != nil); err != nil {
		return err
	}
	failpoint.Hit(failpoint.Applied)
	return nil
}

// wait waits for run to end.
func (c *committer) wait() { <-c.done }

// dropJob removes everything a job has in the store.
func dropJob(s store.Store, job string) error {
	lo := keyspace.Job(job)
	return s.Apply([]keyspace.Op{{Kind: keyspace.DeleteRange, Key: lo, Value: keyspace.PrefixEnd(lo)}}, false)
}
