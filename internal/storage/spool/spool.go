package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// Errors of Get. They are wrapped together with the block's id.
var (
	// ErrDropped: there is no such block (any more).
	ErrDropped = errors.New("block has been dropped")
	// ErrCorrupt: the bytes on disk are not those that were put.
	ErrCorrupt = errors.New("block is corrupt")
	// ErrClosed: the spool is closed.
	ErrClosed = errors.New("spool is closed")
)

// BlockBytesMax is the size of the largest block that can be put.
const BlockBytesMax = 1<<31 - 1

// Unlimited is a MemoryBudget that keeps every block in RAM.
const Unlimited = int64(1<<63 - 1)

// Options configure a spool.
type Options struct {
	// Dir is where the segment files go. Without Keep, they go to a new
	// directory within it (or within the system's directory for temporary
	// files, if Dir is empty), which is removed by Close.
	Dir string
	// MemoryBudget is the size of blocks, in bytes, that may stay in RAM. With
	// 0 every block is written to a file by Put.
	MemoryBudget int64
	// Keep makes Dir itself the home of the segment files: blocks that were
	// synced are there again when the spool is next opened. Dir must not be in
	// use by another spool.
	Keep bool
}

// Stats says what a spool holds.
type Stats struct {
	RAMBytes  int64 // of blocks in RAM
	DiskBytes int64 // of segment files, with what is dropped but not yet removed
	Blocks    int
	Segments  int
}

// Spool keeps blocks. It may be used by several goroutines.
type Spool struct {
	dir    string
	temp   bool
	budget int64

	mu          sync.Mutex
	blocks      map[uint64]*block
	segments    map[uint64]*segment
	fifo        fifo // blocks in RAM, oldest first
	ram         int64
	spilling    int64 // the part of ram that is being written
	disk        int64
	nextID      uint64
	nextSegment uint64
	closed      bool

	writer writer
}

// block is guarded by Spool.mu. Its bytes are in RAM, in a segment, or both.
type block struct {
	id      uint64
	size    int64
	data    []byte   // nil when not in RAM
	seg     *segment // nil when not in a file
	off     int64    // of the data within the file
	sum     uint32   // CRC-32C, once in a file
	dropped bool
}

// Open returns a spool. With Options.Keep it has the blocks that are found in
// the directory.
func Open(o Options) (*Spool, error) {
	s := &Spool{
		dir:      o.Dir,
		temp:     !o.Keep,
		budget:   max(0, o.MemoryBudget),
		blocks:   map[uint64]*block{},
		segments: map[uint64]*segment{},
		nextID:   1,
	}
	if err := s.openDir(); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	return s, nil
}

func (s *Spool) openDir() (err error) {
	if s.dir != "" {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
	}
	if s.temp {
		s.dir, err = os.MkdirTemp(s.dir, "pharos-spool-")
		return err
	}
	if s.dir == "" {
		return errors.New("a spool that keeps its files needs a directory")
	}
	return s.recover()
}

// Put stores a block and returns its id; ids increase. It takes ownership of
// data. When the budget is exceeded it writes the oldest blocks to a file
// before it returns, which slows down those who fill the spool and nobody else.
func (s *Spool) Put(data []byte) (uint64, error) {
	if len(data) > BlockBytesMax {
		return 0, fmt.Errorf("put block of %d bytes: limit is %d", len(data), BlockBytesMax)
	}
	b, err := s.add(data)
	if err != nil {
		return 0, err
	}
	if err := s.spill(); err != nil {
		s.Drop(b.id)
		return 0, fmt.Errorf("put block: %w", err)
	}
	return b.id, nil
}

func (s *Spool) add(data []byte) (*block, error) {
	if data == nil {
		data = []byte{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	b := &block{id: s.nextID, size: int64(len(data)), data: data}
	s.nextID++
	s.blocks[b.id] = b
	s.ram += b.size
	s.fifo.push(b)
	return b, nil
}

// Get returns a block, which the caller must not modify.
func (s *Spool) Get(id uint64) ([]byte, error) {
	s.mu.Lock()
	b, ok := s.blocks[id]
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	if !ok {
		s.mu.Unlock()
		return nil, fmt.Errorf("get block %d: %w", id, ErrDropped)
	}
	if data := b.data; data != nil {
		s.mu.Unlock()
		return data, nil
	}
	seg, off, sum := b.seg, b.off, b.sum
	seg.refs++
	s.mu.Unlock()

	data, err := seg.read(off, b.size, sum)
	s.release(seg)
	if err != nil {
		return nil, fmt.Errorf("get block %d: %w", id, err)
	}
	return data, nil
}

// Drop forgets blocks. Ids that are not there are ignored, so that dropping
// can be repeated.
func (s *Spool) Drop(ids ...uint64) {
	s.mu.Lock()
	var gone []*segment
	for _, id := range ids {
		if b, ok := s.blocks[id]; ok {
			if seg := s.drop(b); seg != nil {
				gone = append(gone, seg)
			}
		}
	}
	s.mu.Unlock()
	for _, seg := range gone {
		seg.remove()
	}
}

// drop forgets b and returns the segment that nobody needs any more, if any.
func (s *Spool) drop(b *block) *segment {
	delete(s.blocks, b.id)
	b.dropped = true
	s.evict(b)
	if b.seg == nil {
		return nil
	}
	b.seg.live--
	return s.retire(b.seg)
}

// evict takes b out of RAM. A writer may still hold the bytes.
func (s *Spool) evict(b *block) {
	if b.data != nil {
		s.ram -= b.size
		b.data = nil
	}
}

// Retain drops all blocks but those given: what an owner does after it has
// opened a spool that kept its files, and knows what it refers to.
func (s *Spool) Retain(keep map[uint64]bool) {
	s.mu.Lock()
	var drop []uint64
	for id := range s.blocks {
		if !keep[id] {
			drop = append(drop, id)
		}
	}
	s.mu.Unlock()
	s.Drop(drop...)
}

// Stats returns what the spool holds now.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{RAMBytes: s.ram, DiskBytes: s.disk, Blocks: len(s.blocks), Segments: len(s.segments)}
}

// Close releases the spool, and removes its files unless Options.Keep was set.
func (s *Spool) Close() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, seg := range s.segments {
		if seg.gone = true; seg.refs == 0 {
			errs = append(errs, seg.file.Close())
		}
	}
	s.blocks, s.segments, s.fifo, s.writer.seg = nil, nil, fifo{}, nil
	if s.temp {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
