package job

import (
	"sync"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/spool"
)

// Sizes of blocks.
const (
	// blockBytes is the size at which a block is closed, if nothing else is said.
	blockBytes = 1 << 20
	// adoptBytes is the size from which a run of elements that the harness sent
	// becomes a block as it is, without a copy.
	adoptBytes = 256 << 10
	// spreadBlocks is the number of blocks that a small output is cut into when
	// the user asked for its elements to be spread (Reshuffle) or when each may
	// be a lot of work (restrictions).
	spreadBlocks = 16
)

// blocks are the blocks of one job in the spool: it knows all of them, so that
// none outlives the job.
type blocks struct {
	spool *spool.Spool
	bytes int // size at which a block is closed
	mu    sync.Mutex
	live  map[uint64]*arrival
	// pins are snapshots on their way: until there are none, dropped blocks wait
	// to be removed.
	pins    int
	dropped []uint64
	// held are blocks that are about to be read, and whether they have been
	// dropped since.
	held map[uint64]bool
	// aliases are blocks by the names that elements have for them, which come
	// from a snapshot.
	aliases map[uint64]uint64
}

// newBlocks keeps blocks in s, that are closed at a size in bytes; 0 is the
// default.
func newBlocks(s *spool.Spool, size int) *blocks {
	if size <= 0 {
		size = blockBytes
	}
	return &blocks{spool: s, bytes: size, live: map[uint64]*arrival{}, held: map[uint64]bool{}}
}

// put stores a block. order says when its elements came, nil if that does not
// matter.
func (b *blocks) put(data []byte, order *arrival) (uint64, error) {
	id, err := b.spool.Put(data)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	b.live[id] = order
	b.mu.Unlock()
	return id, nil
}

// adopt takes over blocks that the job had before the runner was started again,
// with the other names that elements have for some of them.
func (b *blocks) adopt(ids []uint64, aliases map[uint64]uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		b.live[id] = nil
	}
	b.aliases = map[uint64]uint64{}
	for id, alias := range aliases {
		b.aliases[alias] = id
	}
}

// named returns the block that an element calls so.
func (b *blocks) named(name uint64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id, ok := b.aliases[name]; ok {
		return id
	}
	return name
}

func (b *blocks) get(id uint64) ([]byte, error) { return b.spool.Get(id) }

// order returns when the elements of a block came, nil if it is not known.
func (b *blocks) order(id uint64) *arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.live[id]
}

// has says whether a block is one of the job's.
func (b *blocks) has(id uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.live[id]
	return ok
}

func (b *blocks) drop(ids ...uint64) {
	b.mu.Lock()
	for _, id := range ids {
		delete(b.live, id)
	}
	b.mu.Unlock()
	b.remove(ids)
}

// remove drops blocks from the spool, as soon as there are no pins and they are
// not held.
func (b *blocks) remove(ids []uint64) {
	b.mu.Lock()
	if len(b.held) > 0 {
		ids = b.dropHeld(ids)
	}
	if b.pins > 0 {
		b.dropped = append(b.dropped, ids...)
		ids = nil
	}
	b.mu.Unlock()
	b.spool.Drop(ids...)
}

// dropHeld notes which blocks wait to be let go, and returns the others.
func (b *blocks) dropHeld(ids []uint64) (others []uint64) {
	for _, id := range ids {
		if _, ok := b.held[id]; ok {
			b.held[id] = true
		} else {
			others = append(others, id)
		}
	}
	return others
}

// hold keeps blocks until they are let go. They are not held yet.
func (b *blocks) hold(list []commit.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range list {
		b.held[x.ID] = false
	}
}

// letGo ends what hold began, for those that are still held.
func (b *blocks) letGo(list []commit.Block) {
	var ids []uint64
	b.mu.Lock()
	for _, x := range list {
		if b.held[x.ID] {
			ids = append(ids, x.ID)
		}
		delete(b.held, x.ID)
	}
	b.mu.Unlock()
	b.remove(ids)
}

// pin keeps the blocks that are there, until unpin.
func (b *blocks) pin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pins++
}

func (b *blocks) unpin() {
	b.mu.Lock()
	var ids []uint64
	if b.pins--; b.pins == 0 {
		ids, b.dropped = b.dropped, nil
	}
	b.mu.Unlock()
	b.spool.Drop(ids...)
}

// dropAll drops every block of the job.
func (b *blocks) dropAll() {
	b.mu.Lock()
	ids := make([]uint64, 0, len(b.live))
	for id := range b.live {
		ids = append(ids, id)
	}
	b.live = map[uint64]*arrival{}
	b.mu.Unlock()
	b.remove(ids)
}

// builder collects encoded elements into blocks.
type builder struct {
	blocks *blocks
	spread bool
	limit  int // bytes of a block; 0: blocks may be larger than blockBytes
	done   func(commit.Block)
	order  *arrival // of the elements in buf; nil if nobody wants to know
	buf    []byte
	ends   []int // spread: where each element ends
	mins   []timestamp.Time
	count  int64
	min    timestamp.Time
	last   timestamp.Time // end of the last window seen so far, in any block
	full   int            // blocks made
}

func newBuilder(b *blocks, spread bool, done func(commit.Block)) *builder {
	return &builder{blocks: b, spread: spread, done: done, min: commit.None, last: timestamp.Min}
}

// noteEnds remembers when the windows of an element end that is about to be
// added. Only consumers that may wait for side inputs want to know.
func (b *builder) noteEnds(c *collection, e *coder.Element) error {
	return c.scanner.EachWindow(e, func(w []byte) error {
		end, err := c.kind.MaxTimestamp(w)
		b.last = max(b.last, end)
		return err
	})
}

// add appends one element.
func (b *builder) add(element []byte, t timestamp.Time) error {
	if b.limit > 0 && len(b.buf) > 0 && len(b.buf)+len(element) > b.limit {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.buf = append(b.room(), element...)
	b.count++
	b.min = min(b.min, t)
	if b.spread {
		b.ends = append(b.ends, len(b.buf))
		b.mins = append(b.mins, t)
	}
	if len(b.buf) >= b.blocks.bytes {
		return b.flush()
	}
	return nil
}

// fillFraction of a block is what its last element may exceed it by without
// another copy.
const fillFraction = 8

// room is the buffer to append to. Where blocks have been filled before, it is
// made for a whole one: growing would copy everything twice.
func (b *builder) room() []byte {
	if b.buf == nil && b.full > 0 && !b.spread {
		b.buf = make([]byte, 0, b.blocks.bytes+b.blocks.bytes/fillFraction)
	}
	return b.buf
}

// addRun appends a run of whole elements. The run may be kept.
func (b *builder) addRun(run []byte, count int64, first timestamp.Time) error {
	if len(b.buf) == 0 && len(run) >= adoptBytes {
		b.buf, b.count, b.min = run, count, first
		return b.flush()
	}
	b.buf = append(b.room(), run...)
	b.count += count
	b.min = min(b.min, first)
	if len(b.buf) >= b.blocks.bytes {
		return b.flush()
	}
	return nil
}

// flush closes the block.
func (b *builder) flush() error {
	if b.count == 0 {
		return nil
	}
	defer b.reset()
	if b.spread && b.full == 0 && len(b.ends) > 1 {
		return b.flushSpread()
	}
	return b.emit(b.buf, b.count, b.min, b.order.of(b.count))
}

// flushSpread cuts what there is into several blocks.
func (b *builder) flushSpread() error {
	n := min(spreadBlocks, len(b.ends))
	from, at := 0, 0
	for i := 1; i <= n; i++ {
		to := len(b.ends) * i / n
		first := commit.None
		for _, t := range b.mins[at:to] {
			first = min(first, t)
		}
		end := b.ends[to-1]
		if err := b.emit(b.buf[from:end:end], int64(to-at), first, nil); err != nil {
			return err
		}
		from, at = end, to
	}
	return nil
}

func (b *builder) emit(data []byte, count int64, first timestamp.Time, order *arrival) error {
	id, err := b.blocks.put(data, order)
	if err != nil {
		return err
	}
	b.full++
	b.done(commit.Block{ID: id, Count: count, Bytes: int64(len(data)), Min: first, End: b.last})
	return nil
}

func (b *builder) reset() {
	b.buf, b.ends, b.mins, b.count, b.min = nil, nil, nil, 0, commit.None
	b.order = b.order.next()
}
