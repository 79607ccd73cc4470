package spool

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Errors of a spool. Those about a block are wrapped together with its id.
var (
	// ErrDropped: there is no such block (any more).
	ErrDropped = errors.New("block has been dropped")
	// ErrCorrupt: the bytes on disk are not those that were put.
	ErrCorrupt = errors.New("block is corrupt")
	// ErrClosed: the spool is closed.
	ErrClosed = errors.New("spool is closed")
	// ErrDiskBudget: the block would take more disk than Options.DiskBudget.
	ErrDiskBudget = errors.New("the disk budget for element data is used up")
	// ErrDiskFull: the file system has no room for the block.
	ErrDiskFull = errors.New("the disk is full")
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
	// DiskBudget is the size of all segment files, in bytes, from which blocks
	// that do not fit in RAM are refused; 0 is no limit.
	DiskBudget int64
	// FS is the file system of a spool that keeps its files; nil is the
	// machine's.
	FS vfs.FS
}

// Stats says what a spool holds.
type Stats struct {
	RAMBytes  int64 // of blocks in RAM
	DiskBytes int64 // of segment files, with what is dropped but not yet removed
	DeadBytes int64 // the part of it that is dropped
	Blocks    int
	Segments  int
}

// Spool keeps blocks. It may be used by several goroutines.
type Spool struct {
	fs         vfs.FS
	dir        string
	temp       bool
	budget     int64
	diskBudget int64
	// compactFrom is compactFromBytes, but for tests.
	compactFrom int64

	mu          sync.Mutex
	blocks      map[uint64]*block
	segments    map[uint64]*segment
	fifo        fifo // blocks in RAM, oldest first
	ram         int64
	spilling    int64 // the part of ram that is being written
	disk        int64
	dead        int64 // the part of disk that no block needs
	nextID      uint64
	nextSegment uint64
	closed      bool

	writer     writer
	compacting sync.Mutex // one compaction at a time
}

// block is guarded by Spool.mu. Its bytes are in RAM, in a segment, or both.
type block struct {
	id      uint64
	size    int64
	held    int64    // what it takes in RAM: data may be the beginning of more
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
		fs:         vfs.Default,
		dir:        o.Dir,
		temp:       !o.Keep,
		budget:     max(0, o.MemoryBudget),
		diskBudget: o.DiskBudget,
		blocks:     map[uint64]*block{},
		segments:   map[uint64]*segment{},
		nextID:     1,

		compactFrom: compactFromBytes,
	}
	if o.Keep && o.FS != nil {
		s.fs = o.FS
	}
	if s.diskBudget <= 0 {
		s.diskBudget = Unlimited
	}
	if err := s.openDir(); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	return s, nil
}

func (s *Spool) openDir() (err error) {
	if s.dir != "" {
		if err := s.fs.MkdirAll(s.dir, 0o700); err != nil {
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
	err = s.spill()
	if errors.Is(err, ErrDiskBudget) {
		if freed, _ := s.Compact(); freed > 0 {
			err = s.spill()
		}
	}
	if err != nil {
		s.Drop(b.id)
		return 0, fmt.Errorf("put block of %d bytes: %w", len(data), err)
	}
	return b.id, nil
}

// Reserve sees to it that no block that is put from now on gets an id up to id.
func (s *Spool) Reserve(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID = max(s.nextID, id+1)
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
	b := &block{id: s.nextID, size: int64(len(data)), held: int64(cap(data)), data: data}
	s.nextID++
	s.blocks[b.id] = b
	s.ram += b.held
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
	return s.leave(b)
}

// settle makes seg the home of b. The bytes of b are in it, and were counted as
// dead.
func (s *Spool) settle(b *block, seg *segment, off int64, sum uint32) {
	b.seg, b.off, b.sum = seg, off, sum
	seg.live++
	seg.liveBytes += headerBytes + b.size
	s.dead -= headerBytes + b.size
}

// leave takes b out of its segment, which it returns if nobody needs it any
// more.
func (s *Spool) leave(b *block) *segment {
	seg := b.seg
	b.seg = nil
	seg.live--
	seg.liveBytes -= headerBytes + b.size
	s.dead += headerBytes + b.size
	return s.retire(seg)
}

// evict takes b out of RAM. A writer may still hold the bytes.
func (s *Spool) evict(b *block) {
	if b.data != nil {
		s.ram -= b.held
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

// Missing returns those of the ids that are not there, in order.
func (s *Spool) Missing(ids []uint64) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []uint64
	for _, id := range ids {
		if _, ok := s.blocks[id]; !ok {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// Stats returns what the spool holds now.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{RAMBytes: s.ram, DiskBytes: s.disk, DeadBytes: s.dead, Blocks: len(s.blocks), Segments: len(s.segments)}
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
