package job

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/pharos-beam/pharos/internal/storage/store"
)

// sideRoom is the memory that all side inputs of the process share, and the
// store for the indexes that do not fit: one that need not survive the process.
type sideRoom struct {
	limit int64 // bytes
	used  atomic.Int64
	open  func() (store.Store, error)

	mu   sync.Mutex
	rows store.Store // nil until an index does not fit
}

// newSideRoom makes room for so many bytes. open makes the store when it is
// needed; nil: it is in memory.
func newSideRoom(limit int64, open func() (store.Store, error)) *sideRoom {
	if open == nil {
		open = func() (store.Store, error) { return store.NewMem(), nil }
	}
	return &sideRoom{limit: limit, open: open}
}

// unlimitedSideRoom is for jobs that nobody has given a budget.
func unlimitedSideRoom() *sideRoom { return newSideRoom(math.MaxInt64, nil) }

// take counts n bytes, which may be negative, and says whether there is room.
func (m *sideRoom) take(n int64) bool { return m.used.Add(n) <= m.limit }

// store returns the store of what does not fit.
func (m *sideRoom) store() (store.Store, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows != nil {
		return m.rows, nil
	}
	rows, err := m.open()
	if err != nil {
		return nil, fmt.Errorf("open a store for side inputs: %w", err)
	}
	m.rows = rows
	return rows, nil
}

// close releases the store.
func (m *sideRoom) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows == nil {
		return nil
	}
	return m.rows.Close()
}
