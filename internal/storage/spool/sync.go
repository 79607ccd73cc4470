package spool

import (
	"cmp"
	"fmt"
	"slices"
)

// Sync makes blocks durable: those that are only in RAM are written, where they
// stay in RAM too, and the segments that have them are synced. It may be called
// again after an error; blocks that are still in RAM are then written anew.
func (s *Spool) Sync(ids ...uint64) error {
	s.tidy()
	ram, err := s.onlyInRAM(ids)
	if err != nil {
		return err
	}
	if err := s.writeBlocks(ram); err != nil {
		return fmt.Errorf("sync blocks: %w", err)
	}
	uses, err := s.useSegments(ids)
	if err != nil {
		return err
	}
	for _, u := range uses {
		if err == nil {
			if err = u.seg.sync(u.end, u.size); err != nil {
				s.abandon(u.seg)
			}
		}
		s.release(u.seg)
	}
	if err != nil {
		return fmt.Errorf("sync blocks: %w", err)
	}
	return nil
}

func (s *Spool) onlyInRAM(ids []uint64) ([]*block, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ram []*block
	for _, id := range ids {
		b, err := s.block(id)
		if err != nil {
			return nil, err
		}
		if b.seg == nil {
			ram = append(ram, b)
		}
	}
	slices.SortFunc(ram, func(a, b *block) int { return cmp.Compare(a.id, b.id) })
	return slices.Compact(ram), nil
}

func (s *Spool) block(id uint64) (*block, error) {
	if s.closed {
		return nil, fmt.Errorf("sync block %d: %w", id, ErrClosed)
	}
	b, ok := s.blocks[id]
	if !ok {
		return nil, fmt.Errorf("sync block %d: %w", id, ErrDropped)
	}
	return b, nil
}

// use is a segment that must not be closed now, where the blocks in question
// end, and its size.
type use struct {
	seg       *segment
	end, size int64
}

// useSegments returns the segments of the blocks, each once. They have to be
// released.
func (s *Spool) useSegments(ids []uint64) ([]use, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var uses []use
	for _, id := range ids {
		b, err := s.block(id)
		if err == nil && b.seg == nil {
			err = fmt.Errorf("sync block %d: its segment has failed meanwhile", id)
		}
		if err != nil {
			for _, u := range uses {
				u.seg.refs--
			}
			return nil, err
		}
		i := slices.IndexFunc(uses, func(u use) bool { return u.seg == b.seg })
		if i < 0 {
			i = len(uses)
			b.seg.refs++
			uses = append(uses, use{seg: b.seg, size: b.seg.size})
		}
		uses[i].end = max(uses[i].end, b.off+b.size)
	}
	return uses, nil
}

// abandon stops the use of a segment that could not be synced. Blocks that are
// in RAM, too, are as if they had never been written.
func (s *Spool) abandon(seg *segment) {
	s.writer.Lock()
	defer s.writer.Unlock()
	s.mu.Lock()
	s.seal(seg)
	var gone *segment
	for _, b := range s.blocks {
		if b.seg == seg && b.data != nil {
			gone = s.leave(b)
		}
	}
	s.mu.Unlock()
	if gone != nil {
		gone.remove()
	}
}
