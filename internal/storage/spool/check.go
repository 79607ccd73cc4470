package spool

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Found is a block, or the end, of a segment file.
type Found struct {
	Segment string // name of the file
	ID      uint64
	Bytes   int64
	// Err is why the block cannot be read.
	Err error
	// Torn: no block, but bytes at the end that are none. That is what a process
	// leaves that dies while it writes.
	Torn bool
}

// Check reads all blocks in the directory of a spool that keeps its files, and
// changes nothing. A block may be there twice: one that can be read is enough. fs
// nil is the machine's.
func Check(dir string, fs vfs.FS, found func(Found)) error {
	if fs == nil {
		fs = vfs.Default
	}
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("check spool: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if number, ok := segmentNumber(name); ok {
			if err := checkSegment(&Spool{fs: fs, dir: dir}, number, name, found); err != nil {
				return fmt.Errorf("check segment %s: %w", name, err)
			}
		}
	}
	return nil
}

func checkSegment(s *Spool, number uint64, name string, found func(Found)) error {
	f, err := s.fs.Open(s.segmentPath(number))
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkBlocks(&segment{number: number, path: name, file: f, spool: s}, info.Size(), found)
	}
	return errors.Join(err, f.Close())
}

func checkBlocks(seg *segment, fileSize int64, found func(Found)) error {
	headers := window{file: seg.file, buf: make([]byte, windowBytes)}
	for at := int64(0); at < fileSize; {
		h, err := headers.at(at)
		if err != nil {
			return err
		}
		end := Found{Segment: seg.path, Bytes: fileSize - at, Torn: true}
		if h == nil {
			found(end)
			return nil
		}
		id, size, sum, ok := parseHeader(h)
		at += headerBytes
		if !ok || at+size > fileSize {
			found(end)
			return nil
		}
		_, err = seg.read(at, size, sum)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		found(Found{Segment: seg.path, ID: id, Bytes: size, Err: err})
		at += size
	}
	return nil
}
