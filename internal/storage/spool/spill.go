package spool

import (
	"fmt"
	"sync"
)

// Limits of writing.
const (
	// spillBatchBytes is how much is written at a time, before the blocks
	// written leave RAM.
	spillBatchBytes = 8 << 20
	// slackFraction of the budget is freed beyond what is needed, so that not
	// every Put has to write.
	slackFraction = 16
)

// writer serialises writing to the current segment. Its lock is taken before
// Spool.mu, which is not held while bytes are written.
type writer struct {
	sync.Mutex
	seg *segment // appended to; nil before the first write
	buf []byte   // small blocks on their way to the file
}

// spill brings the blocks in RAM within the budget. What other goroutines are
// writing counts as gone.
func (s *Spool) spill() error {
	goal := s.budget
	for {
		victims := s.victims(goal)
		if len(victims) == 0 {
			return nil
		}
		s.tidy()
		goal = s.budget - s.budget/slackFraction
		err := s.writeBlocks(victims)
		s.spilled(victims)
		if err != nil {
			return err
		}
	}
}

// victims takes the oldest blocks off the queue, until the rest is within the
// goal or there is enough for one batch. Blocks that are in a file already
// just leave RAM.
func (s *Spool) victims(goal int64) []*block {
	s.mu.Lock()
	defer s.mu.Unlock()
	var victims []*block
	for size := int64(0); s.ram-s.spilling > goal && size < spillBatchBytes; {
		b := s.fifo.pop()
		if b == nil {
			break
		}
		if b.seg != nil {
			s.evict(b)
			continue
		}
		victims = append(victims, b)
		s.spilling += b.held
		size += b.held
	}
	return victims
}

// spilled removes victims from RAM that are in a file now. Those that could
// not be written go back to the queue; they have lost their place in it.
func (s *Spool) spilled(victims []*block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range victims {
		s.spilling -= b.held
		switch {
		case b.dropped:
		case b.seg != nil:
			s.evict(b)
		default:
			s.fifo.push(b)
		}
	}
}

// writeBlocks appends the blocks that are in no file yet to the current
// segment, and starts new segments when one is full.
func (s *Spool) writeBlocks(blocks []*block) error {
	w := &s.writer
	w.Lock()
	defer w.Unlock()
	for len(blocks) > 0 {
		seg, err := s.currentSegment()
		if err != nil {
			return err
		}
		batch, n, err := s.batch(blocks, seg)
		if err != nil {
			return err
		}
		blocks = blocks[n:]
		if err := seg.write(batch, &w.buf); err != nil {
			return err
		}
		if gone := s.commit(seg, batch); gone != nil {
			gone.remove()
		}
	}
	return nil
}

// pending is a block on its way to a file.
type pending struct {
	b    *block
	id   uint64
	data []byte
	off  int64 // of the header
	sum  uint32
}

// batch picks from blocks, in order, as many as go to seg, which may exceed its
// size limit by one block. It returns them and how many of blocks it has seen,
// or ErrDiskBudget if there is no room for any.
func (s *Spool) batch(blocks []*block, seg *segment) (batch []pending, n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	off, room := seg.size, s.diskBudget-s.disk
	for n = 0; n < len(blocks) && off < segmentBytesMax; n++ {
		b := blocks[n]
		if b.dropped || b.seg != nil { // or somebody else has written it
			continue
		}
		if room -= headerBytes + b.size; room < 0 {
			if len(batch) == 0 {
				return nil, n, fmt.Errorf("%w: %d bytes of files, limit %d", ErrDiskBudget, s.disk, s.diskBudget)
			}
			break
		}
		batch = append(batch, pending{b: b, id: b.id, data: b.data, off: off})
		off += headerBytes + b.size
	}
	return batch, n, nil
}

// commit makes the batch that was written to seg known. It returns the segment
// if it is full and nothing in it is needed.
func (s *Spool) commit(seg *segment, batch []pending) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range batch {
		s.written(seg, &p)
		if !p.b.dropped && p.b.seg == nil { // a batch may name a block twice
			s.settle(p.b, seg, p.off+headerBytes, p.sum)
		}
	}
	s.sealIfFull(seg)
	return s.retire(seg)
}

// written counts the bytes of p, for now as dead ones.
func (s *Spool) written(seg *segment, p *pending) {
	n := headerBytes + int64(len(p.data))
	seg.size += n
	s.disk += n
	s.dead += n
}

func (s *Spool) sealIfFull(seg *segment) {
	if seg.size >= segmentBytesMax {
		s.seal(seg)
	}
}

// seal ends the writing of a segment. The writer and Spool.mu are held.
func (s *Spool) seal(seg *segment) {
	seg.sealed = true
	if s.writer.seg == seg {
		s.writer.seg = nil
	}
}

// currentSegment returns the segment to append to. The writer is locked.
func (s *Spool) currentSegment() (*segment, error) {
	w := &s.writer
	if w.seg != nil {
		return w.seg, nil
	}
	s.mu.Lock()
	closed := s.closed
	number := s.nextSegment
	s.nextSegment++
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	seg, err := s.createSegment(number)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments[number] = seg
	w.seg = seg
	return seg, nil
}

// retire takes seg out of the books if nothing will need it, and returns it
// for removal then. Spool.mu is held.
func (s *Spool) retire(seg *segment) *segment {
	if !seg.sealed || seg.live > 0 || seg.coming > 0 || seg.gone {
		return nil
	}
	seg.gone = true
	seg.refs++ // remove's own, so that the file is closed once
	delete(s.segments, seg.number)
	s.disk -= seg.size
	s.dead -= seg.size
	return seg
}

// release ends a use of seg's file.
func (s *Spool) release(seg *segment) {
	s.mu.Lock()
	seg.refs--
	last := seg.gone && seg.refs == 0
	s.mu.Unlock()
	if last {
		_ = seg.file.Close() // nothing of it is needed
	}
}
