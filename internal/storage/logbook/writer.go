package logbook

import (
	"bytes"
	"os"
	"path/filepath"
	"time"
)

// write is the goroutine that changes files, until the book is closed.
func (b *Book) write() {
	defer close(b.done)
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for {
		select {
		case <-b.wake:
		case <-b.stop:
			b.flush()
			return
		}
		wait := flushEvery
		if !b.flush() {
			wait = retryEvery
			b.poke()
		}
		pause.Reset(wait)
		select {
		case <-pause.C:
		case <-b.stop:
			b.flush()
			return
		}
	}
}

// flush writes what waits to be written, and removes what is to be removed. It
// returns false if the disk does not take it.
func (b *Book) flush() bool {
	for _, path := range b.takeGarbage() {
		os.Remove(path) // what cannot be removed is found at the next start
	}
	for {
		s, data := b.next()
		if s == nil {
			break
		}
		err := appendFile(s.path(), data, s.flushed)
		b.written(s, len(data), err)
		if err != nil {
			b.log.Warn("a log cannot be written: lines are lost", "log", s.log.name, "err", err)
			return false
		}
	}
	b.report()
	return true
}

func (b *Book) takeGarbage() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.garbage
	b.garbage = nil
	return g
}

// next returns a segment with bytes to be written, and the bytes.
func (b *Book) next() (*segment, []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.dirty) == 0 {
		return nil, nil
	}
	s := b.dirty[0]
	return s, s.tail
}

// written notes that n bytes of a segment are in its file. What cannot be
// written is given up, so that a broken disk does not fill the memory.
func (b *Book) written(s *segment, n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.gone {
		b.discard(s.path()) // it was dropped while it was written
		return
	}
	b.dirty = b.dirty[1:]
	if err != nil {
		b.lost += int64(bytes.Count(s.tail, []byte{'\n'}))
		b.fill(s)
		n, s.size = len(s.tail), s.flushed
		s.log.bytes -= int64(n)
		b.total -= int64(n)
	} else {
		s.flushed += int64(n)
	}
	b.pending -= int64(n)
	s.tail = bytes.Clone(s.tail[n:])
	if s.dirty = len(s.tail) > 0; s.dirty {
		b.dirty = append(b.dirty, s)
	}
}

// report says, once for each flush, how many lines were lost.
func (b *Book) report() {
	b.mu.Lock()
	n := b.lost - b.reported
	b.reported = b.lost
	b.mu.Unlock()
	if n > 0 {
		b.log.Warn("log lines were lost: they were too long, or came faster than the disk takes them", "lines", n)
	}
}

// appendFile writes data at an offset of a file, which is made if need be.
func appendFile(path string, data []byte, off int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, off)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
