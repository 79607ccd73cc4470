package operator

import (
	"bytes"
	"slices"
	"sync"
)

// Memory is a Backend in memory. It may be used by several goroutines.
type Memory struct {
	mu     sync.Mutex
	cells  map[string]map[string][][]byte
	timers map[string]Timer
}

// NewMemory returns an empty backend.
func NewMemory() *Memory {
	return &Memory{cells: map[string]map[string][][]byte{}, timers: map[string]Timer{}}
}

// Read implements Backend.
func (m *Memory) Read(cell Cell, mapKey []byte, from uint64, limit int) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	chunks := m.cells[cell.id()][string(mapKey)]
	if from > uint64(len(chunks)) {
		return nil, 0, nil
	}
	chunks = chunks[from:]
	if len(chunks) == 1 {
		return chunks[0], 0, nil
	}
	var data []byte
	for i, c := range chunks {
		if len(data) > 0 && len(data)+len(c) > limit {
			return data, from + uint64(i), nil
		}
		data = append(data, c...)
	}
	return data, 0, nil
}

// Keys implements Backend.
func (m *Memory) Keys(cell Cell, after []byte, limit int) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys [][]byte
	for k := range m.cells[cell.id()] {
		if after == nil || k > string(after) {
			keys = append(keys, []byte(k))
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys[:min(len(keys), limit)], nil
}

// Due implements Backend.
func (m *Memory) Due(domain Domain, upTo int64, limit int) ([]Timer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var due []Timer
	for _, t := range m.timers {
		if t.Domain == domain && t.FireAt <= upTo {
			due = append(due, t)
		}
	}
	slices.SortFunc(due, compareTimers)
	return due[:min(len(due), limit)], nil
}

// Commit implements Backend.
func (m *Memory) Commit(c Commit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ch := range c.Changes {
		m.apply(ch)
	}
	for _, t := range c.Timers {
		if t.Clear {
			delete(m.timers, t.id())
		} else {
			m.timers[t.id()] = t
		}
	}
	return nil
}

// apply makes one change; m.mu is held.
func (m *Memory) apply(c Change) {
	id := c.Cell.id()
	switch c.Op {
	case ClearAll:
		delete(m.cells, id)
	case Clear:
		delete(m.cells[id], string(c.MapKey))
		if len(m.cells[id]) == 0 {
			delete(m.cells, id)
		}
	case Append:
		if m.cells[id] == nil {
			m.cells[id] = map[string][][]byte{}
		}
		m.cells[id][string(c.MapKey)] = append(m.cells[id][string(c.MapKey)], c.Data)
	}
}

// Sync does nothing.
func (m *Memory) Sync() error { return nil }

// Len returns how many cells and timers there are.
func (m *Memory) Len() (cells, timers int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.cells), len(m.timers)
}
