package spool

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// idsPerMicrosecond is how many ids a microsecond of wall-clock time stands
// for, see recover. Nobody can put blocks that fast.
const idsPerMicrosecond = 1 << 10

// recover finds the blocks of a spool that kept its files. New ids start where
// no id of before can be: not even those of blocks whose segments are gone, to
// which stale references may exist.
func (s *Spool) recover() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	s.nextID = max(1, uint64(max(0, time.Now().UnixMicro()))*idsPerMicrosecond)
	for _, name := range names {
		number, ok := segmentNumber(name)
		if !ok {
			continue
		}
		s.nextSegment = max(s.nextSegment, number+1)
		if err := s.recoverSegment(number); err != nil {
			return fmt.Errorf("segment %s: %w", s.segmentPath(number), err)
		}
	}
	return s.recovered()
}

// recovered counts what was found, and removes files in which there is nothing.
func (s *Spool) recovered() error {
	for _, seg := range s.segments {
		if seg.live == 0 {
			delete(s.segments, seg.number)
			if err := errors.Join(seg.file.Close(), s.fs.Remove(seg.path)); err != nil {
				return err
			}
			continue
		}
		s.disk += seg.size
		s.dead += seg.size - seg.liveBytes
	}
	return nil
}

func (s *Spool) recoverSegment(number uint64) error {
	path := s.segmentPath(number)
	f, err := s.fs.Open(path)
	if err != nil {
		return err
	}
	seg := &segment{number: number, path: path, file: f, spool: s, sealed: true}
	info, err := f.Stat()
	if err == nil {
		err = s.recoverBlocks(seg, info.Size())
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.segments[number] = seg
	return nil
}

// recoverBlocks reads the headers of a segment up to the first that is not
// whole: what follows was being written when the process died. Data is checked
// when it is read.
func (s *Spool) recoverBlocks(seg *segment, fileSize int64) error {
	headers := window{file: seg.file, buf: make([]byte, windowBytes)}
	for {
		h, err := headers.at(seg.size)
		if h == nil {
			return err
		}
		id, size, sum, ok := parseHeader(h)
		off := seg.size + headerBytes
		if !ok || off+size > fileSize {
			return nil
		}
		s.nextID = max(s.nextID, id+1)
		seg.size = off + size
		if old := s.blocks[id]; old != nil {
			if old.whole() {
				continue
			}
			old.seg.live--
			old.seg.liveBytes -= headerBytes + old.size
		}
		s.blocks[id] = &block{id: id, size: size, seg: seg, off: off, sum: sum}
		seg.live++
		seg.liveBytes += headerBytes + size
	}
}

// whole says whether the bytes of a block in a file are what was put. A block
// is found twice when it was being moved, or when it had to be written anew;
// nobody knows then which of them is whole.
func (b *block) whole() bool {
	_, err := b.seg.read(b.off, b.size, b.sum)
	return err == nil
}

// windowBytes is how much is read at once of a file of small blocks.
const windowBytes = 64 << 10

// window is the part of a file that was read last.
type window struct {
	file io.ReaderAt
	buf  []byte
	off  int64
	n    int // bytes of buf
}

// at returns the header at an offset, nil at the end of the file.
func (w *window) at(off int64) ([]byte, error) {
	if off < w.off || off+headerBytes > w.off+int64(w.n) {
		n, err := w.file.ReadAt(w.buf, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		w.off, w.n = off, n
		if n < headerBytes {
			return nil, nil
		}
	}
	return w.buf[off-w.off:][:headerBytes], nil
}
