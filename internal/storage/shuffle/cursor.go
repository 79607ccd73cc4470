package shuffle

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// cursor stands on a record of a run. It owns the record's head; bodies are
// read through its buffer.
type cursor struct {
	run      int
	in       reader
	end      int64 // of the run
	merging  bool
	hash     uint64
	key, win []byte
	time     timestamp.Time
	count    int64
	body     runSpan
}

// next moves to the next record and says whether there is one.
func (c *cursor) next() (bool, error) {
	c.in.seek(c.body.end)
	if c.body.end >= c.end {
		return false, nil
	}
	h, err := c.in.take(8)
	if err != nil {
		return false, err
	}
	c.hash = binary.LittleEndian.Uint64(h)
	if err := c.sized(&c.key); err != nil {
		return false, err
	}
	if err := c.sized(&c.win); err != nil {
		return false, err
	}
	t, err := c.in.take(timestamp.EncodedLen)
	if err != nil {
		return false, err
	}
	c.time = timestamp.Decode(t)
	count, err := c.in.uvarint()
	if err != nil {
		return false, err
	}
	size, err := c.in.uvarint()
	if err != nil {
		return false, err
	}
	c.count = int64(count)
	c.body = runSpan{c.in.pos, c.in.pos + int64(size)}
	if int64(size) < 0 || c.body.end > c.end {
		return false, fmt.Errorf("%w: record of %d bytes at offset %d", ErrCorrupt, size, c.in.pos)
	}
	return true, nil
}

// sized reads a byte string into dst.
func (c *cursor) sized(dst *[]byte) error {
	b, err := c.in.sized()
	*dst = append((*dst)[:0], b...)
	return err
}

// values calls yield for each value of the record, with its window and
// timestamp when merging. The slices are valid during the call.
func (c *cursor) values(yield func(win []byte, t timestamp.Time, v []byte) error) error {
	c.in.seek(c.body.start)
	var win []byte
	var t timestamp.Time
	for range c.count {
		if c.merging {
			if err := c.sized(&win); err != nil {
				return err
			}
			b, err := c.in.take(timestamp.EncodedLen)
			if err != nil {
				return err
			}
			t = timestamp.Decode(b)
		}
		v, err := c.in.sized()
		if err != nil {
			return err
		}
		if err := yield(win, t, v); err != nil {
			return err
		}
	}
	return nil
}

// compareGroup orders records by group.
func (c *cursor) compareGroup(d *cursor) int {
	if c.hash != d.hash {
		return cmp.Compare(c.hash, d.hash)
	}
	return cmp.Or(bytes.Compare(c.key, d.key), bytes.Compare(c.win, d.win))
}

// reader reads a file through a buffer that moves forward, mostly.
type reader struct {
	file  io.ReaderAt
	pos   int64 // in the file
	limit int64 // nothing is read from here on
	start int64 // in the file, of buf
	buf   []byte
	size  int // to read at a time
}

func (w *reader) seek(pos int64) { w.pos = pos }

// peek returns at least need and as many as are at hand of the bytes at pos.
func (w *reader) peek(need int) ([]byte, error) {
	if off := w.pos - w.start; off >= 0 && off+int64(need) <= int64(len(w.buf)) {
		return w.buf[off:], nil
	}
	if int64(need) > w.limit-w.pos {
		return nil, fmt.Errorf("%w: cut at offset %d", ErrCorrupt, w.pos)
	}
	size := int(max(int64(need), int64(w.size)))
	size = int(min(int64(size), w.limit-w.pos))
	if cap(w.buf) < size || cap(w.buf) > 4*max(size, w.size) {
		w.buf = make([]byte, max(size, w.size))
	}
	w.buf = w.buf[:size]
	w.start = w.pos
	if _, err := w.file.ReadAt(w.buf, w.pos); err != nil {
		w.buf = w.buf[:0]
		return nil, fmt.Errorf("read run: %w", err)
	}
	return w.buf, nil
}

// take returns the next n bytes, valid until the next call.
func (w *reader) take(n int) ([]byte, error) {
	b, err := w.peek(n)
	if err != nil {
		return nil, err
	}
	w.pos += int64(n)
	return b[:n:n], nil
}

func (w *reader) uvarint() (uint64, error) {
	n := min(binary.MaxVarintLen64, w.limit-w.pos)
	b, err := w.peek(int(n))
	if err != nil {
		return 0, err
	}
	v, l := binary.Uvarint(b)
	if l <= 0 {
		return 0, fmt.Errorf("%w: number at offset %d", ErrCorrupt, w.pos)
	}
	w.pos += int64(l)
	return v, nil
}

func (w *reader) sized() ([]byte, error) {
	n, err := w.uvarint()
	if err != nil {
		return nil, err
	}
	if int64(n) < 0 || int64(n) > w.limit-w.pos {
		return nil, fmt.Errorf("%w: %d bytes at offset %d", ErrCorrupt, n, w.pos)
	}
	return w.take(int(n))
}
