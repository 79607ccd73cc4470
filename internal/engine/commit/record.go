// Package commit describes what one bundle did, as a value: a Record. Nothing
// that a bundle did exists until its Record has been applied to the store, as
// one atomic batch.
package commit

import (
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// Block names an immutable run of encoded windowed elements in the spool, with
// what the scheduler needs to know of it. The scheduler never sees the bytes.
type Block struct {
	ID    uint64         // the spool's name for it
	Count int64          // elements
	Bytes int64          // encoded size
	Min   timestamp.Time // smallest element timestamp
	// End is the last end of a window that an element is in. It is known only
	// where the consumer may have to wait for side inputs of that window.
	End timestamp.Time
}

// Output is a block for one consumer.
type Output struct {
	Port     int // index into the stage's Outputs
	Consumer int // index into that output's Consumers
	Shard    int // shard of the key for keyed consumers; 0 for others
	Block    Block
}

// Residual is work of a bundle that is still to be done: elements of its own
// input, put back to the stage's queue.
type Residual struct {
	Shard    int
	Block    Block
	DelayMS  int64          // earliest resumption, milliseconds after the commit
	Hold     timestamp.Time // watermark that the restrictions hold the stage's output at
	Estimate bool           // Hold comes from a watermark estimator (else: the blocks' Min)
}

// Shard is what the scheduler must know of a leased shard after the commit.
type Shard struct {
	Shard     int
	NextEvent timestamp.Time // earliest event-time timer, Max+1 when there is none
	NextProc  int64          // earliest processing-time timer, Unix ms; math.MaxInt64 when there is none
	Hold      timestamp.Time // smallest watermark hold, Max+1 when there is none
}

// None is the value of Shard.NextEvent and Shard.Hold when there is none.
const None = timestamp.Max + 1

// Record is the effect of one successful attempt of a bundle.
type Record struct {
	Job      string
	Stage    int
	Bundle   uint64
	Attempt  int // the fence: only the attempt that the scheduler waits for may commit
	Outputs  []Output
	Residual []Residual
	Shards   []Shard // one for each leased shard of a keyed stage
	Ops      []keyspace.Op
	Metrics  []byte   // encoded monitoring deltas
	Kept     []uint64 // blocks that it made and that elements name
	Unkept   []uint64 // of those, such that none names any more
	// The scheduler adds what the bundle does to queues and marks.
	Taken []Item // used up
	Put   []Item // new: residuals, and outputs for the main inputs of consumers
	Sides []Side // outputs for side inputs
	// Forgotten are blocks of side inputs that nobody reads any more, Freed all
	// blocks that can go once the record is durable, besides those Taken.
	Forgotten []Side
	Freed     []uint64
	Marks     []Mark // that have changed since the record before
	// Split: the record is not the bundle's effect but that of a split, which
	// replaces its input by what it keeps and what others get.
	Split    bool
	Finalize bool // the SDK wants to hear of the durable commit
}

// Forget notes that a block of a side input is not read any more.
func (r *Record) Forget(s Side) {
	r.Forgotten = append(r.Forgotten, s)
	r.Freed = append(r.Freed, s.Block)
}
