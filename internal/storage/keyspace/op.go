package keyspace

// OpKind says what an Op does.
type OpKind uint8

// The kinds of Op.
const (
	// Set writes Value under Key.
	Set OpKind = iota + 1
	// Delete removes Key.
	Delete
	// DeleteRange removes all keys in [Key, Value).
	DeleteRange
)

// Op is one change to the store. A batch of them is applied atomically, in
// order.
type Op struct {
	Kind  OpKind
	Key   []byte
	Value []byte
}

// KV is read-your-writes access to ordered keys: what state, timers, holds and
// the grouping engine are written against. Slices handed to a callback, and
// slices handed in, belong to their giver: copy to keep.
type KV interface {
	// Get returns the value of key and whether it is there.
	Get(key []byte) ([]byte, bool, error)
	Set(key, value []byte) error
	Delete(key []byte) error
	// DeleteRange removes all keys in [lo, hi).
	DeleteRange(lo, hi []byte) error
	// Scan calls fn for the keys in [lo, hi) in order until fn returns false.
	// fn must not change the KV.
	Scan(lo, hi []byte, fn func(key, value []byte) bool) error
}
