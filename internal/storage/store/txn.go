package store

import (
	"bytes"

	"github.com/tidwall/btree"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// Txn is a buffer of changes over a Reader. It implements keyspace.KV and sees
// its own changes. It is used by one goroutine at a time.
//
// Invariants: a key below is decided by, in this order, its entry in writes,
// its being within one of the dropped ranges, the reader. So a range deletion
// forgets the entries it covers, and a Set after it adds one again; an entry
// that deletes a key lies outside every dropped range.
type Txn struct {
	base    Reader
	writes  btree.Map[string, write]
	dropped spans
	bytes   int64
}

type write struct {
	value   []byte
	deleted bool
}

var _ keyspace.KV = (*Txn)(nil)

// opOverheadBytes is what Bytes counts for an op beside its key and value.
const opOverheadBytes = 64

// NewTxn returns an empty Txn over r. It does not close r.
func NewTxn(r Reader) *Txn { return &Txn{base: r} }

// Get implements keyspace.KV.
func (t *Txn) Get(key []byte) ([]byte, bool, error) {
	if w, ok := t.writes.Get(alias(key)); ok {
		return w.value, !w.deleted, nil
	}
	if t.dropped.contains(key) {
		return nil, false, nil
	}
	return t.base.Get(key)
}

// Set implements keyspace.KV.
func (t *Txn) Set(key, value []byte) error {
	t.put(key, write{value: append(make([]byte, 0, len(value)), value...)})
	return nil
}

// Delete implements keyspace.KV.
func (t *Txn) Delete(key []byte) error {
	if !t.dropped.contains(key) {
		t.put(key, write{deleted: true})
		return nil
	}
	if old, ok := t.writes.Delete(alias(key)); ok {
		t.bytes -= int64(len(key)+len(old.value)) + opOverheadBytes
	}
	return nil
}

func (t *Txn) put(key []byte, w write) {
	old, replaced := t.writes.Set(string(key), w)
	t.bytes += int64(len(w.value) - len(old.value))
	if !replaced {
		t.bytes += int64(len(key)) + opOverheadBytes
	}
}

// DeleteRange implements keyspace.KV. A nil hi means no upper bound.
func (t *Txn) DeleteRange(lo, hi []byte) error {
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return nil
	}
	t.forget(lo, hi)
	before := t.dropped.bytes
	t.dropped.add(lo, hi)
	t.bytes += t.dropped.bytes - before
	return nil
}

// forget removes the buffered writes in [lo, hi).
func (t *Txn) forget(lo, hi []byte) {
	t.writes.Ascend(alias(lo), func(key string, w write) bool {
		if hi != nil && key >= alias(hi) {
			return false
		}
		t.bytes -= int64(len(key)+len(w.value)) + opOverheadBytes
		return true
	})
	for _, key := range within(&t.writes, lo, hi) {
		t.writes.Delete(key)
	}
}

// Scan implements keyspace.KV. A nil hi means no upper bound. What has been
// dropped by range is skipped over, not walked.
func (t *Txn) Scan(lo, hi []byte, fn func(key, value []byte) bool) error {
	m := merge{writes: t.writes.Iter(), fn: fn}
	m.more = m.writes.Seek(alias(lo))
	for {
		gap, end := t.dropped.nextGap(lo, hi)
		if gap == nil {
			m.flush(hi)
			return nil
		}
		if err := t.base.Scan(gap, end, m.base); err != nil || m.stopped {
			return err
		}
		if end == nil || bytes.Equal(end, hi) {
			m.flush(hi)
			return nil
		}
		lo = end
	}
}

// merge joins the buffered writes with what comes from the reader.
type merge struct {
	writes  btree.MapIter[string, write]
	more    bool // writes stands on an entry
	stopped bool
	fn      func(key, value []byte) bool
}

// base takes the next key of the reader.
func (m *merge) base(key, value []byte) bool {
	for m.more && m.writes.Key() < alias(key) {
		if !m.emit() {
			return false
		}
	}
	if m.more && m.writes.Key() == alias(key) {
		return m.emit()
	}
	m.stopped = !m.fn(key, value)
	return !m.stopped
}

// emit hands on the buffered write that the iterator stands on.
func (m *merge) emit() bool {
	w := m.writes.Value()
	if !w.deleted && !m.fn(unalias(m.writes.Key()), w.value) {
		m.stopped = true
	}
	m.more = m.writes.Next()
	return !m.stopped
}

// flush hands on the buffered writes before hi that are left.
func (m *merge) flush(hi []byte) {
	for m.more && (hi == nil || m.writes.Key() < alias(hi)) {
		if !m.emit() {
			return
		}
	}
}

// Ops returns the changes as a batch: range deletions, disjoint and in order,
// then at most one op for each key, in order. Applied to the store that the
// reader is a snapshot of it gives what the Txn shows. The Txn stays usable;
// the caller must not change the slices.
func (t *Txn) Ops() []keyspace.Op {
	ops := make([]keyspace.Op, 0, len(t.dropped.spans)+t.writes.Len())
	for _, s := range t.dropped.spans {
		ops = append(ops, keyspace.Op{Kind: keyspace.DeleteRange, Key: s.lo, Value: s.hi})
	}
	t.writes.Scan(func(key string, w write) bool {
		kind := keyspace.Set
		if w.deleted {
			kind = keyspace.Delete
		}
		ops = append(ops, keyspace.Op{Kind: kind, Key: unalias(key), Value: w.value})
		return true
	})
	return ops
}

// Bytes is about the size of the batch.
func (t *Txn) Bytes() int64 { return t.bytes }
