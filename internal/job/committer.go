package job

import (
	"context"
	"sync"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// maxCommitOps is how many changes one batch takes; what comes after waits for
// the next.
const maxCommitOps = 100_000

// committer applies records to the store, all that are ready in one batch.
type committer struct {
	store store.Store
	tell  func(any)
	mu    sync.Mutex
	ready []*commit.Record
	wake  chan struct{}
	done  chan struct{}
}

func newCommitter(s store.Store, tell func(any)) *committer {
	return &committer{store: s, tell: tell, wake: make(chan struct{}, 1), done: make(chan struct{})}
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
func (c *committer) take() (bundles []uint64, ops []keyspace.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.ready) && len(ops) < maxCommitOps {
		ops = append(ops, c.ready[n].Ops...)
		bundles = append(bundles, c.ready[n].Bundle)
		n++
	}
	c.ready = append(c.ready[:0:0], c.ready[n:]...)
	return bundles, ops
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
			bundles, ops := c.take()
			if len(bundles) == 0 {
				break
			}
			var err error
			if len(ops) > 0 {
				err = c.store.Apply(ops, false)
			}
			c.tell(commitDone{bundles: bundles, err: err})
		}
	}
}

// wait waits for run to end.
func (c *committer) wait() { <-c.done }

// dropJob removes everything a job has in the store.
func dropJob(s store.Store, job string) error {
	lo := keyspace.Job(job)
	return s.Apply([]keyspace.Op{{Kind: keyspace.DeleteRange, Key: lo, Value: keyspace.PrefixEnd(lo)}}, false)
}
