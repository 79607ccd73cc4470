package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// idsPerMicrosecond is how many ids a microsecond of wall-clock time stands
// for, see recover. Nobody can put blocks that fast.
const idsPerMicrosecond = 1 << 10

// recover finds the blocks of a spool that kept its files. New ids start where
// no id of before can be: not even those of blocks whose segments are gone, to
// which stale references may exist.
func (s *Spool) recover() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	s.nextID = max(1, uint64(max(0, time.Now().UnixMicro()))*idsPerMicrosecond)
	for _, e := range entries {
		number, ok := segmentNumber(e.Name())
		if !ok {
			continue
		}
		s.nextSegment = max(s.nextSegment, number+1)
		if err := s.recoverSegment(number); err != nil {
			return fmt.Errorf("segment %d: %w", number, err)
		}
	}
	return nil
}

func (s *Spool) recoverSegment(number uint64) error {
	path := segmentPath(s.dir, number)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	seg := &segment{number: number, path: path, file: f, sealed: true}
	info, err := f.Stat()
	if err == nil {
		err = s.recoverBlocks(seg, info.Size())
	}
	if err != nil {
		f.Close()
		return err
	}
	if seg.live == 0 {
		f.Close()
		return os.Remove(path)
	}
	s.segments[number] = seg
	s.disk += seg.size
	return nil
}

// recoverBlocks reads the headers of a segment up to the first that is not
// whole: what follows was being written when the process died. Data is checked
// when it is read.
func (s *Spool) recoverBlocks(seg *segment, fileSize int64) error {
	var h [headerBytes]byte
	for {
		if _, err := seg.file.ReadAt(h[:], seg.size); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		id, size, sum, ok := parseHeader(h[:])
		off := seg.size + headerBytes
		if !ok || off+size > fileSize {
			return nil
		}
		s.nextID = max(s.nextID, id+1)
		if _, twice := s.blocks[id]; !twice {
			s.blocks[id] = &block{id: id, size: size, seg: seg, off: off, sum: sum}
			seg.live++
		}
		seg.size = off + size
	}
}
