package spool

import (
	"errors"
	"fmt"
	"slices"
)

// sparseFraction: a segment of which less than this part is needed is worth
// copying what is needed. It bounds what copying costs: for each byte copied
// several are freed.
const sparseFraction = 4

// compactFromBytes of dead data are left alone, and less than half of all files.
const compactFromBytes = 4 * segmentBytesMax

// Compact copies what is still needed of mostly dead segments, so that their
// files can be removed. It returns how many bytes that has freed. Put does it
// before it refuses a block for the disk budget, which the copies may exceed
// until the originals are removed.
func (s *Spool) Compact() (freed int64, err error) {
	s.compacting.Lock()
	defer s.compacting.Unlock()
	before := s.Stats().DiskBytes
	for _, seg := range s.sparse() {
		if err = s.evacuate(seg); err != nil {
			err = fmt.Errorf("compact segment %s: %w", seg.path, err)
			break
		}
	}
	return before - s.Stats().DiskBytes, err
}

// tidy is what every writing does for the space that dead data take: it compacts
// one segment, if they are much. What hinders it there is no concern of the
// writer's.
func (s *Spool) tidy() {
	s.mu.Lock()
	much := s.dead >= s.compactFrom && 2*s.dead > s.disk
	s.mu.Unlock()
	if !much || !s.compacting.TryLock() {
		return
	}
	defer s.compacting.Unlock()
	if segments := s.sparse(); len(segments) > 0 {
		_ = s.evacuate(segments[0])
	}
}

// sparse returns the segments that are worth it, oldest first. The one that is
// being written is sealed if it is one of them.
func (s *Spool) sparse() []*segment {
	s.writer.Lock()
	defer s.writer.Unlock()
	s.mu.Lock()
	var found, gone []*segment
	for _, seg := range s.segments {
		if seg.size == 0 || seg.damaged || seg.liveBytes*sparseFraction >= seg.size {
			continue
		}
		s.seal(seg)
		if g := s.retire(seg); g != nil {
			gone = append(gone, g)
			continue
		}
		found = append(found, seg)
	}
	s.mu.Unlock()
	for _, seg := range gone {
		seg.remove()
	}
	slices.SortFunc(found, func(a, b *segment) int { return int(a.number) - int(b.number) })
	return found
}

// copied is a batch of copies in a segment.
type copied struct {
	to    *segment
	batch []pending
}

// evacuate moves the blocks of a segment to others.
func (s *Spool) evacuate(seg *segment) error {
	originals, err := s.readAll(seg)
	if err != nil {
		return err
	}
	copies, err := s.copyBlocks(originals)
	if err == nil && !s.temp {
		err = syncCopies(copies) // before the original goes
	}
	s.mu.Lock()
	var gone []*segment
	for _, c := range copies {
		gone = append(gone, s.switchOver(seg, c, err == nil)...)
	}
	s.mu.Unlock()
	for _, g := range gone {
		g.remove()
	}
	return err
}

// readAll returns the blocks of a segment with their data.
func (s *Spool) readAll(seg *segment) ([]pending, error) {
	s.mu.Lock()
	var ids []uint64
	for id, b := range s.blocks {
		if b.seg == seg {
			ids = append(ids, id)
		}
	}
	s.mu.Unlock()
	slices.Sort(ids)
	var all []pending
	for _, id := range ids {
		data, err := s.Get(id)
		if errors.Is(err, ErrDropped) {
			continue
		}
		s.mu.Lock()
		b := s.blocks[id]
		seg.damaged = seg.damaged || err != nil
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if b != nil {
			all = append(all, pending{b: b, id: id, data: data})
		}
	}
	return all, nil
}

// copyBlocks writes blocks to the current segment, and starts new segments when
// one is full. What it has written is to be switched over to, even after an
// error.
func (s *Spool) copyBlocks(blocks []pending) (copies []copied, err error) {
	w := &s.writer
	w.Lock()
	defer w.Unlock()
	for len(blocks) > 0 {
		seg, err := s.currentSegment()
		if err != nil {
			return copies, err
		}
		batch := place(blocks, seg.size)
		blocks = blocks[len(batch):]
		if err := seg.write(batch, &w.buf); err != nil {
			return copies, err
		}
		s.mu.Lock()
		for i := range batch {
			s.written(seg, &batch[i])
		}
		seg.coming += len(batch)
		s.sealIfFull(seg)
		s.mu.Unlock()
		copies = append(copies, copied{seg, batch})
	}
	return copies, nil
}

// place gives offsets to as many of the blocks as go to a segment of a size.
func place(blocks []pending, off int64) []pending {
	n := 0
	for ; n < len(blocks) && off < segmentBytesMax; n++ {
		blocks[n].off = off
		off += headerBytes + int64(len(blocks[n].data))
	}
	return blocks[:n]
}

func syncCopies(copies []copied) error {
	for _, c := range copies {
		last := c.batch[len(c.batch)-1]
		end := last.off + headerBytes + int64(len(last.data))
		if err := c.to.sync(end, end); err != nil {
			return err
		}
	}
	return nil
}

// switchOver makes copies the home of their blocks, unless they are not to be
// used, and returns the segments that nobody needs any more. Spool.mu is held.
func (s *Spool) switchOver(from *segment, c copied, use bool) (gone []*segment) {
	for _, p := range c.batch {
		c.to.coming--
		if !use || p.b.dropped || p.b.seg != from {
			continue
		}
		if g := s.leave(p.b); g != nil {
			gone = append(gone, g)
		}
		s.settle(p.b, c.to, p.off+headerBytes, p.sum)
	}
	if g := s.retire(c.to); g != nil {
		gone = append(gone, g)
	}
	return gone
}
