package logbook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
)

// Log is one log of a book.
type Log struct {
	book *Book
	name string

	// Guarded by the book's lock:
	segments []*segment // oldest first
	bytes    int64
	next     uint64 // number of the next segment
	ended    bool
	changed  chan struct{} // closed and replaced when there is more to read
}

// segment is a part of a log. Only the last one of a log grows.
type segment struct {
	log     *Log
	number  uint64
	size    int64
	flushed int64  // bytes in the file, from the front
	tail    []byte // all others; what is in it does not change
	gone    bool
	dirty   bool // in book.dirty
	full    bool // in book.full
}

// Append adds a line, which has no line break in it. After End nothing is added.
func (l *Log) Append(line []byte) {
	b := l.book
	n := int64(len(line)) + 1
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.ended {
		return
	}
	if n > b.limit/(2*shares) || b.dir != "" && b.pending+n > pendingMax {
		b.lost++
		return
	}
	s := l.last(n)
	s.tail = append(append(s.tail, line...), '\n')
	s.size += n
	l.bytes += n
	b.total += n
	if b.dir != "" {
		b.pending += n
		if !s.dirty {
			s.dirty = true
			b.dirty = append(b.dirty, s)
		}
		b.poke()
	}
	l.notify()
	for l.bytes > b.limit/shares {
		b.drop(l.segments[0])
	}
	b.trim()
	if b.total > b.limit { // all that the book has is in segments that grow
		b.drop(l.segments[0])
	}
}

// last returns the segment for n more bytes; the book's lock is held.
func (l *Log) last(n int64) *segment {
	b := l.book
	if i := len(l.segments) - 1; i >= 0 {
		s := l.segments[i]
		if !s.full && (s.size == 0 || s.size+n <= b.limit/(shares*shares)) {
			return s
		}
		b.fill(s)
	}
	s := &segment{log: l, number: l.next}
	l.next++
	l.segments = append(l.segments, s)
	return s
}

// End says that nothing more comes: readers that follow end when they have read
// it all.
func (l *Log) End() {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	l.end()
}

func (l *Log) end() {
	if l.ended {
		return
	}
	l.ended = true
	if i := len(l.segments) - 1; i >= 0 {
		l.book.fill(l.segments[i])
	}
	l.notify()
}

func (l *Log) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// readMax is how much a reader takes at a time.
const readMax = 64 << 10

// Cursor reads a log from its front.
type Cursor struct {
	l       *Log
	segment uint64
	off     int64
	chunk   []byte        // lines that have been read and not returned
	rest    []byte        // the beginning of the next line
	more    chan struct{} // closed when there is more than was found
	over    bool          // nothing more will come
}

// Cursor returns a cursor at the oldest line that is kept or, with recent, at
// the first line of the last so many bytes. It belongs to one goroutine.
func (l *Log) Cursor(recent int64) *Cursor {
	c := &Cursor{l: l}
	if recent > 0 && c.skip(recent) {
		c.Next() // the end of a line
	}
	return c
}

// skip moves the cursor to that many bytes before the end. It says whether that
// may be in the middle of a line.
func (c *Cursor) skip(recent int64) bool {
	b := c.l.book
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(c.l.segments) - 1; i >= 0; i-- {
		s := c.l.segments[i]
		c.segment, c.off = s.number, max(0, s.size-recent)
		if recent -= s.size; recent <= 0 {
			return c.off > 0
		}
	}
	return false
}

// Next returns the next line, without its end; false if there is none now. The
// bytes are good until the next call.
func (c *Cursor) Next() ([]byte, bool) {
	for {
		if i := bytes.IndexByte(c.chunk, '\n'); i >= 0 {
			line := c.chunk[:i]
			if len(c.rest) > 0 {
				line = append(c.rest, line...)
				c.rest = nil
			}
			c.chunk = c.chunk[i+1:]
			return line, true
		}
		c.rest = append(c.rest, c.chunk...)
		if c.chunk = c.read(); len(c.chunk) == 0 {
			return nil, false
		}
	}
}

// Wait waits, after Next found nothing, until there may be more; false if there
// will be none, or ctx has ended.
func (c *Cursor) Wait(ctx context.Context) bool {
	if c.over {
		return false
	}
	select {
	case <-c.more:
		return true
	case <-ctx.Done():
		return false
	}
}

// read returns the next bytes; none if there are none now.
func (c *Cursor) read() []byte {
	for {
		part, path, n := c.locate()
		if part != nil || n == 0 {
			c.off += int64(len(part))
			return part
		}
		part, err := readFile(path, c.off, n)
		if err != nil { // removed meanwhile, or not to be read: go on behind it
			c.segment, c.off, c.rest = c.segment+1, 0, nil
			continue
		}
		c.off += int64(len(part))
		return part
	}
}

// locate finds the next bytes: in memory, or n of them in a file; neither if
// there are none.
func (c *Cursor) locate() (part []byte, path string, n int64) {
	b := c.l.book
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range c.l.segments {
		if s.number < c.segment || s.number == c.segment && c.off >= s.size {
			continue
		}
		if s.number > c.segment { // what is left of the one before is half a line
			c.segment, c.off, c.rest = s.number, 0, nil
		}
		if c.off >= s.flushed {
			tail := s.tail[c.off-s.flushed:]
			return bytes.Clone(tail[:min(len(tail), readMax)]), "", 0
		}
		return nil, s.path(), min(s.flushed-c.off, readMax)
	}
	c.more, c.over = c.l.changed, c.l.ended
	return nil, "", 0
}

func readFile(path string, off, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	part := make([]byte, n)
	got, err := f.ReadAt(part, off)
	if err != nil && !errors.Is(err, io.EOF) || got == 0 {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return part[:got], nil
}
