package spool

import (
	"cmp"
	"fmt"
	"slices"
)

// Sync makes blocks durable: those that are only in RAM are written, where they
// stay in RAM too, and the segments that have them are synced.
func (s *Spool) Sync(ids ...uint64) error {
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
	for i, u := range uses {
		if err == nil {
			err = u.seg.sync(u.size, s.dir)
		}
		s.release(uses[i].seg)
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

// use is a segment that must not be closed now, and its size.
type use struct {
	seg  *segment
	size int64
}

// useSegments returns the segments of the blocks, each once. They have to be
// released.
func (s *Spool) useSegments(ids []uint64) ([]use, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var uses []use
	for _, id := range ids {
		b, err := s.block(id)
		if err != nil {
			for _, u := range uses {
				u.seg.refs--
			}
			return nil, err
		}
		if !slices.ContainsFunc(uses, func(u use) bool { return u.seg == b.seg }) {
			b.seg.refs++
			uses = append(uses, use{b.seg, b.seg.size})
		}
	}
	return uses, nil
}
