package store

import (
	"sync"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// Spill is a store in memory until its rows take more than a limit; then they
// all move to another one, and stay there. It need not survive the process.
type Spill struct {
	limit int64
	open  func(bytes int64) (Store, error)
	tell  func(error)

	// mu is held for writing while rows move, else for reading.
	mu   sync.RWMutex
	rows Store
	mem  *Mem // the same, until they have moved
}

// NewSpill returns an empty store that keeps limit bytes in memory. open opens
// the other one for so many bytes of rows, and more later; it belongs to the store
// from then on. tell hears why that failed. The rows then stay in memory until
// there are twice as many.
func NewSpill(limit int64, open func(bytes int64) (Store, error), tell func(error)) *Spill {
	m := newMem()
	return &Spill{limit: limit, open: open, tell: tell, rows: m, mem: m}
}

// Snapshot implements Store. A view of rows in memory stays when they move.
func (s *Spill) Snapshot() Reader {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rows.Snapshot()
}

// Apply implements Store.
func (s *Spill) Apply(ops []keyspace.Op, sync bool) error {
	s.mu.RLock()
	err := s.rows.Apply(ops, sync)
	grown := s.grown()
	s.mu.RUnlock()
	if grown && err == nil {
		s.move()
	}
	return err
}

// grown says whether it is time to move.
func (s *Spill) grown() bool { return s.mem != nil && s.mem.Bytes() > s.limit }

// move moves the rows.
func (s *Spill) move() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.grown() {
		return // another has been here
	}
	to, err := s.open(s.mem.Bytes())
	if err == nil {
		if err = copyRows(s.mem, to); err != nil {
			to.Close()
		}
	}
	if err != nil {
		s.limit *= 2
		s.tell(err)
		return
	}
	s.rows, s.mem = to, nil
}

// moveBytes is how much is copied with one batch.
const moveBytes = 1 << 20

// copyRows copies all that is in memory.
func copyRows(m *Mem, to Store) error {
	view := m.Snapshot()
	defer view.Close()
	var ops []keyspace.Op
	var failed error
	size := 0
	flush := func() bool {
		failed = to.Apply(ops, false)
		ops, size = ops[:0], 0
		return failed == nil
	}
	err := view.Scan(nil, nil, func(key, value []byte) bool {
		ops = append(ops, keyspace.Op{Kind: keyspace.Set, Key: key, Value: value})
		size += len(key) + len(value)
		return size < moveBytes || flush()
	})
	if err == nil && failed == nil {
		flush()
	}
	if err == nil {
		err = failed
	}
	return err
}

// Close implements Store.
func (s *Spill) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows.Close()
}
