package commit

import "github.com/pharos-beam/pharos/internal/model/timestamp"

// Item is a block in the queue of a stage, with what the scheduler knows of it.
// It stays in the store until the record of a bundle that has used it up.
type Item struct {
	Stage int
	Shard int
	// Seq is its name, and its place in the queue: the job counts them.
	Seq   uint64
	Block Block
	Hold  timestamp.Time // what it holds the stage's watermark at
	// ReadyMS is the processing time, Unix ms, before which it rests; 0: none.
	ReadyMS int64
	// SinceMS is the processing time, Unix ms, at which it was queued.
	SinceMS int64
	// Tries is how many bundles in a row were split before they had put out
	// anything of it.
	Tries int
	// Truncated: it is what draining has left of a restriction.
	Truncated bool
}

// Side is a block of a side input.
type Side struct {
	Stage, Input int    // the reader, and the index of the side input there
	Seq          uint64 // its place among the input's blocks: counted like items
	Block        uint64
}

// Mark is how far a stage is, where that does not follow from what is queued.
type Mark struct {
	Stage         int
	Input, Output timestamp.Time // watermarks that somebody may have acted on
	// Fired: the stage is an Impulse that has fired.
	Fired bool
	// Event is how many events of a TestStream have passed.
	Event int
}
