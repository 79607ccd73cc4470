package logbook

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits.
const (
	// DefaultDiskBytes and DefaultMemoryBytes are what a book keeps in all, if
	// nobody says.
	DefaultDiskBytes   = 1 << 30
	DefaultMemoryBytes = 128 << 20
	// shares is the part of a book that one log may take, and of a log that one
	// segment does: an eighth.
	shares = 8
	// pendingMax is how many bytes may wait to be written.
	pendingMax = 16 << 20
	// flushEvery is how long lines wait to be written together.
	flushEvery = 100 * time.Millisecond
	// retryEvery is how long the writer waits after the disk has failed.
	retryEvery = time.Second
)

const segmentSuffix = ".ndjson"

// Options configure a Book.
type Options struct {
	// Dir is where the logs are; empty: in memory.
	Dir string
	// Bytes is how much all logs may have together; 0 is the default.
	Bytes int64
	// Log is told what the disk does not take; slog.Default() when nil.
	Log *slog.Logger
}

// Book holds logs by name. Names are those of folders. Its methods may be called
// concurrently.
type Book struct {
	dir   string
	limit int64
	log   *slog.Logger

	mu       sync.Mutex
	logs     map[string]*Log
	total    int64      // bytes of all segments
	full     []*segment // that do not grow any more, oldest first
	dirty    []*segment // with bytes to be written, oldest first
	garbage  []string   // files to be removed
	pending  int64      // bytes of the dirty
	lost     int64      // lines
	reported int64      // of lost
	wake     chan struct{}
	stop     chan struct{}
	done     chan struct{}
}

// Stats say what a book holds.
type Stats struct {
	Bytes int64
	Lost  int64 // lines that were not kept
}

// Open opens a book, with what its directory has from before.
func Open(o Options) (*Book, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Bytes <= 0 {
		o.Bytes = DefaultMemoryBytes
		if o.Dir != "" {
			o.Bytes = DefaultDiskBytes
		}
	}
	b := &Book{
		dir: o.Dir, limit: o.Bytes, log: o.Log, logs: map[string]*Log{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if b.dir == "" {
		close(b.done)
		return b, nil
	}
	if err := b.load(); err != nil {
		return nil, fmt.Errorf("logs in %s: %w", b.dir, err)
	}
	go b.write()
	return b, nil
}

// load finds the segments that are there.
func (b *Book) load() error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	dirs, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	age := map[*segment]time.Time{}
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		l := b.add(d.Name())
		files, err := os.ReadDir(l.dir())
		if err != nil {
			return err
		}
		for _, f := range files { // sorted by name, and so by number
			name, ok := strings.CutSuffix(f.Name(), segmentSuffix)
			number, err := strconv.ParseUint(name, 10, 64)
			if !ok || err != nil {
				continue // not ours
			}
			info, err := f.Info()
			if err != nil {
				return err
			}
			s := &segment{log: l, number: number, size: info.Size(), flushed: info.Size(), full: true}
			l.segments = append(l.segments, s)
			l.bytes += s.size
			l.next = number + 1
			age[s] = info.ModTime()
		}
		b.total += l.bytes
		b.full = append(b.full, l.segments...)
	}
	slices.SortStableFunc(b.full, func(x, y *segment) int { return age[x].Compare(age[y]) })
	b.trim()
	return nil
}

// Log returns the log of a name, which is made if need be.
func (b *Book) Log(name string) *Log {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.logs[name]; l != nil {
		return l
	}
	return b.add(name)
}

func (b *Book) add(name string) *Log {
	l := &Log{book: b, name: name, changed: make(chan struct{})}
	b.logs[name] = l
	return l
}

// Names are the names of all logs, sorted.
func (b *Book) Names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := make([]string, 0, len(b.logs))
	for n := range b.logs {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Remove forgets a log. Its readers come to an end.
func (b *Book) Remove(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logs[name]
	if l == nil {
		return
	}
	l.end()
	for len(l.segments) > 0 {
		b.drop(l.segments[0])
	}
	delete(b.logs, name)
	b.discard(l.dir())
}

// Stats says what the book holds.
func (b *Book) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{Bytes: b.total, Lost: b.lost}
}

// trim removes the oldest segments while there is too much; b.mu is held.
func (b *Book) trim() {
	for b.total > b.limit && len(b.full) > 0 {
		b.drop(b.full[0])
	}
}

// drop forgets a segment; b.mu is held.
func (b *Book) drop(s *segment) {
	l := s.log
	b.full = slices.DeleteFunc(b.full, func(x *segment) bool { return x == s })
	b.dirty = slices.DeleteFunc(b.dirty, func(x *segment) bool { return x == s })
	l.segments = slices.DeleteFunc(l.segments, func(x *segment) bool { return x == s })
	if b.dir != "" {
		b.pending -= int64(len(s.tail))
		b.discard(s.path())
	}
	b.total -= s.size
	l.bytes -= s.size
	s.gone, s.tail = true, nil
}

// fill notes that a segment does not grow any more; b.mu is held.
func (b *Book) fill(s *segment) {
	if !s.full {
		s.full = true
		b.full = append(b.full, s)
	}
}

// discard has a file or an empty folder removed; b.mu is held.
func (b *Book) discard(path string) {
	if b.dir == "" {
		return
	}
	b.garbage = append(b.garbage, path)
	b.poke()
}

// poke wakes the writer.
func (b *Book) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Close writes what waits to be written, and ends. What is appended after it is
// lost.
func (b *Book) Close() error {
	if b.dir == "" {
		return nil
	}
	close(b.stop)
	<-b.done
	return nil
}

func (l *Log) dir() string { return filepath.Join(l.book.dir, l.name) }

func (s *segment) path() string {
	return filepath.Join(s.log.dir(), fmt.Sprintf("%08d%s", s.number, segmentSuffix))
}
