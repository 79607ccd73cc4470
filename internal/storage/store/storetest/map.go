package storetest

import (
	"bytes"
	"maps"
	"slices"
)

// Map is the simplest thing that behaves like a store: what implementations
// are compared with. It implements keyspace.KV.
type Map map[string]string

func (m Map) clone() Map { return maps.Clone(m) }

func within(key string, lo, hi []byte) bool {
	return key >= string(lo) && (hi == nil || key < string(hi))
}

func (m Map) deleteRange(lo, hi []byte) {
	maps.DeleteFunc(m, func(k, _ string) bool { return within(k, lo, hi) })
}

// Get implements keyspace.KV.
func (m Map) Get(key []byte) ([]byte, bool, error) {
	v, ok := m[string(key)]
	return []byte(v), ok, nil
}

// Set implements keyspace.KV.
func (m Map) Set(key, value []byte) error {
	m[string(key)] = string(value)
	return nil
}

// Delete implements keyspace.KV.
func (m Map) Delete(key []byte) error {
	delete(m, string(key))
	return nil
}

// DeleteRange implements keyspace.KV.
func (m Map) DeleteRange(lo, hi []byte) error {
	m.deleteRange(lo, hi)
	return nil
}

// Scan implements keyspace.KV. The slices are overwritten after the callback,
// as those of a real store may be.
func (m Map) Scan(lo, hi []byte, fn func(k, v []byte) bool) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !within(k, lo, hi) {
			continue
		}
		key, value := []byte(k), []byte(m[k])
		more := fn(key, value)
		copy(key, bytes.Repeat([]byte{0xee}, len(key)))
		copy(value, bytes.Repeat([]byte{0xee}, len(value)))
		if !more {
			return nil
		}
	}
	return nil
}
