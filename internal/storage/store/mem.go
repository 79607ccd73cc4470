package store

import (
	"bytes"
	"fmt"
	"sync"
	"unsafe"

	"github.com/tidwall/btree"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// tree is an ordered map with O(1) copy-on-write copies. Keys are strings
// because they compare natively, which is what most of the time goes to.
type tree = btree.Map[string, []byte]

// Mem is a Store in memory, for jobs that need not survive the process and for
// tests.
type Mem struct {
	mu     sync.Mutex
	tree   *tree
	bytes  int64 // about what the rows take
	closed bool
}

// rowBytes is what a row takes beside its key and value: their headers, and its
// share of the tree's nodes.
const rowBytes = 64

// Bytes is about how much memory the rows take.
func (m *Mem) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// NewMem returns an empty Mem.
func NewMem() Store { return newMem() }

func newMem() *Mem { return &Mem{tree: new(tree)} }

// Snapshot implements Store.
func (m *Mem) Snapshot() Reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return closedReader{}
	}
	return &memReader{tree: m.tree.Copy()}
}

// Apply implements Store.
func (m *Mem) Apply(ops []keyspace.Op, _ bool) error {
	if err := checkOps(ops); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for i := range ops {
		m.apply(&ops[i])
	}
	return nil
}

// checkOps finds what would make a batch fail before any of it is applied.
func checkOps(ops []keyspace.Op) error {
	for i := range ops {
		if k := ops[i].Kind; k < keyspace.Set || k > keyspace.DeleteRange {
			return fmt.Errorf("apply op %d of %d: unknown kind %d", i, len(ops), k)
		}
	}
	return nil
}

func (m *Mem) apply(op *keyspace.Op) {
	switch op.Kind {
	case keyspace.Set:
		// A copy, so that the store keeps neither the caller's buffers nor
		// larger arrays that the value is a part of.
		old, was := m.tree.Set(string(op.Key), bytes.Clone(op.Value))
		m.bytes += int64(len(op.Value) - len(old))
		if !was {
			m.bytes += int64(len(op.Key) + rowBytes)
		}
	case keyspace.Delete:
		m.remove(alias(op.Key))
	case keyspace.DeleteRange:
		for _, key := range within(m.tree, op.Key, op.Value) {
			m.remove(key)
		}
	}
}

func (m *Mem) remove(key string) {
	if old, was := m.tree.Delete(key); was {
		m.bytes -= int64(len(key) + len(old) + rowBytes)
	}
}

// within returns the keys of t in [lo, hi). A nil hi is no bound.
func within[V any](t *btree.Map[string, V], lo, hi []byte) (keys []string) {
	end := alias(hi)
	t.Ascend(alias(lo), func(key string, _ V) bool {
		if hi != nil && key >= end {
			return false
		}
		keys = append(keys, key)
		return true
	})
	return keys
}

// Close implements Store.
func (m *Mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.tree = true, nil
	return nil
}

type memReader struct{ tree *tree }

func (r *memReader) Get(key []byte) ([]byte, bool, error) {
	v, ok := r.tree.Get(alias(key))
	return v, ok, nil
}

func (r *memReader) Scan(lo, hi []byte, fn func(key, value []byte) bool) error {
	end := alias(hi)
	r.tree.Ascend(alias(lo), func(key string, value []byte) bool {
		if hi != nil && key >= end {
			return false
		}
		return fn(unalias(key), value)
	})
	return nil
}

// Close does nothing: the garbage collector finds out when the copy is unused.
func (r *memReader) Close() error { return nil }

type closedReader struct{}

func (closedReader) Get([]byte) ([]byte, bool, error)                 { return nil, false, ErrClosed }
func (closedReader) Scan(_, _ []byte, _ func(k, v []byte) bool) error { return ErrClosed }
func (closedReader) Close() error                                     { return nil }

// alias views b as a string without a copy, for look-ups that do not keep it.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// unalias views s as bytes without a copy, for readers that do not change it.
func unalias(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
