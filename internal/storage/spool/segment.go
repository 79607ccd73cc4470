package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// segmentBytesMax is the size from which a segment is full. It is what a
	// single block that is still needed keeps on disk at most, beside itself.
	segmentBytesMax = 64 << 20
	segmentSuffix   = ".seg"

	headerBytes = 24
	headerMagic = 0x50485342 // "PHSB"

	// copyBytesMax is the size up to which blocks are gathered in a buffer
	// rather than written on their own; bufferBytes is the buffer's size.
	copyBytesMax = 64 << 10
	bufferBytes  = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is a file of blocks. Its fields are guarded by Spool.mu, but for the
// file and what sync guards.
type segment struct {
	number uint64
	path   string
	file   vfs.File
	spool  *Spool

	size      int64
	live      int   // blocks that have not been dropped
	liveBytes int64 // of these, with their headers
	coming    int   // blocks that are being copied to it
	refs      int   // uses of the file that must end before it is closed
	sealed    bool  // never written again
	gone      bool  // to be closed with the last use
	damaged   bool  // it cannot be moved

	syncing sync.Mutex
	synced  int64 // size when last synced; guarded by syncing, like the next
	failed  error // of a sync: the system may have lost what was not synced
}

func segmentName(number uint64) string { return fmt.Sprintf("%012d%s", number, segmentSuffix) }

func (s *Spool) segmentPath(number uint64) string { return s.fs.PathJoin(s.dir, segmentName(number)) }

func segmentNumber(name string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 10, 64)
	return n, err == nil && name == segmentName(n)
}

func (s *Spool) createSegment(number uint64) (*segment, error) {
	path := s.segmentPath(number)
	f, err := s.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", diskFull(err))
	}
	return &segment{number: number, path: path, file: f, spool: s}, nil
}

// NoRoom says whether err says that a file system has no room, in the spool's words
// or in the system's.
func NoRoom(err error) bool {
	return errors.Is(err, ErrDiskFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// diskFull makes the system's error for a full disk ErrDiskFull, too.
func diskFull(err error) error {
	if NoRoom(err) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// write writes a batch at the offsets it says and fills in the checksums. buf
// is scratch memory. The caller has the writer's lock.
func (g *segment) write(batch []pending, buf *[]byte) error {
	if len(batch) == 0 {
		return nil
	}
	if *buf == nil {
		*buf = make([]byte, 0, bufferBytes+copyBytesMax+headerBytes)
	}
	b, at := (*buf)[:0], batch[0].off
	flush := func(p []byte) error {
		if _, err := g.file.WriteAt(p, at); err != nil {
			return fmt.Errorf("write segment %s: %w", g.path, diskFull(err))
		}
		at += int64(len(p))
		return nil
	}
	for i := range batch {
		p := &batch[i]
		p.sum = crc32.Checksum(p.data, castagnoli)
		b = appendHeader(b, p.id, len(p.data), p.sum)
		small := len(p.data) <= copyBytesMax
		if small {
			b = append(b, p.data...)
		}
		if !small || len(b) >= bufferBytes || i == len(batch)-1 {
			if err := flush(b); err != nil {
				return err
			}
			b = b[:0]
		}
		if !small {
			if err := flush(p.data); err != nil {
				return err
			}
		}
	}
	return nil
}

func appendHeader(b []byte, id uint64, size int, sum uint32) []byte {
	n := len(b)
	b = binary.LittleEndian.AppendUint32(b, headerMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint64(b, id)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[n:], castagnoli))
}

func parseHeader(b []byte) (id uint64, size int64, sum uint32, ok bool) {
	ok = binary.LittleEndian.Uint32(b) == headerMagic &&
		binary.LittleEndian.Uint32(b[20:]) == crc32.Checksum(b[:20], castagnoli)
	return binary.LittleEndian.Uint64(b[8:]), int64(binary.LittleEndian.Uint32(b[4:])), binary.LittleEndian.Uint32(b[16:]), ok
}

// read reads and checks the data of a block.
func (g *segment) read(off, size int64, sum uint32) ([]byte, error) {
	data := make([]byte, size)
	if _, err := g.file.ReadAt(data, off); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: %s is cut before offset %d", ErrCorrupt, g.path, off+size)
		}
		return nil, fmt.Errorf("read segment %s: %w", g.path, err)
	}
	if crc32.Checksum(data, castagnoli) != sum {
		return nil, fmt.Errorf("%w: checksum of %d bytes at offset %d of %s", ErrCorrupt, size, off, g.path)
	}
	return data, nil
}

// remove deletes the file of a retired segment. Reads under way go on.
func (g *segment) remove() {
	_ = g.spool.fs.Remove(g.path) // what remains goes with the directory, or at the next opening
	g.spool.release(g)
}

// sync makes the first end bytes durable. size is what the file had when the
// caller looked; another caller may have synced it since.
//
// A sync that has failed is not tried again: the system may have forgotten
// what it could not write, and say that all is well.
func (g *segment) sync(end, size int64) error {
	g.syncing.Lock()
	defer g.syncing.Unlock()
	if g.synced >= end {
		return nil
	}
	if g.failed == nil {
		g.failed = g.syncFile()
	}
	if g.failed != nil {
		return g.failed
	}
	g.synced = max(g.synced, size)
	return nil
}

func (g *segment) syncFile() error {
	if g.synced == 0 {
		if err := syncDir(g.spool.fs, g.spool.dir); err != nil {
			return fmt.Errorf("sync directory of segment %s: %w", g.path, diskFull(err))
		}
	}
	if err := g.file.SyncData(); err != nil {
		return fmt.Errorf("sync segment %s: %w", g.path, diskFull(err))
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
