package operator

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// KVStore is what a Backend of NewKV keeps its data in: an ordered key-value
// store with atomic batches, such as Pebble.
type KVStore interface {
	// Get returns the value of key and whether it is there.
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan calls fn for the keys in [lo, hi), in order, until it returns false.
	// fn does not keep the slices.
	Scan(lo, hi []byte, fn func(key, value []byte) bool) error
	// Apply makes the writes, in order, atomically. With sync all writes so
	// far are durable when it returns. A checkpoint is one Apply with sync, and
	// there is no other: an engine's store can add the engine's own position
	// there, which then always is that of the state.
	Apply(writes []KVWrite, sync bool) error
}

// KVWrite is one write of a KVStore.
type KVWrite struct {
	// Key is what is set or deleted, or the beginning of a range.
	Key []byte
	// Value is set, if Delete is not.
	Value []byte
	// Delete removes Key, or all keys in [Key, End) if there is an End.
	Delete bool
	End    []byte
}

// Tags of keys, after the prefix of NewKV.
const (
	kvState = 's' // cell, map key, number of the append -> bytes
	kvTimer = 't' // id -> place in the index
	kvIndex = 'i' // domain, time, id -> timer
	kvNext  = 'n' // -> number of the next append
	kvUndo  = 'u' // rest of a key -> what it was at the last Sync
)

// kvBackend keeps state and timers in a KVStore.
type kvBackend struct {
	kv     KVStore
	prefix []byte
	opened bool
	next   uint64 // number of the next append; one count for all cells
	synced uint64 // what next was at the last Sync
}

// NewKV returns a Backend that keeps everything in kv, under keys that begin
// with prefix. No prefix of another operator may begin with it.
//
// What is there is the state of the last Sync, exactly: the backend of a process
// that has ended since, however it ended, is put back to it when a new one is
// first used. Nothing is kept in memory for that; until the next Sync kv also has
// the old values of what was changed.
func NewKV(kv KVStore, prefix []byte) Backend {
	return &kvBackend{kv: kv, prefix: bytes.Clone(prefix)}
}

// key begins a key with a tag.
func (b *kvBackend) key(tag byte) []byte { return append(bytes.Clone(b.prefix), tag) }

// cell begins the keys of a cell.
func (b *kvBackend) cell(c Cell) []byte {
	return appendOrdered(b.key(kvState), []byte(c.id()))
}

// appendOrdered appends v so that encodings sort like their values, none is a
// prefix of another, and what follows does not matter.
func appendOrdered(dst, v []byte) []byte {
	for _, c := range v {
		if dst = append(dst, c); c == 0 {
			dst = append(dst, 0xff)
		}
	}
	return append(dst, 0, 0)
}

// takeOrdered is the reverse of appendOrdered.
func takeOrdered(b []byte) (v, rest []byte, err error) {
	for i := 0; i+1 < len(b); i++ {
		if b[i] != 0 {
			v = append(v, b[i])
			continue
		}
		if b[i+1] == 0 {
			return v, b[i+2:], nil
		}
		v = append(v, 0)
		i++
	}
	return nil, nil, fmt.Errorf("state key %x is damaged", b)
}

// after returns the least key that does not begin with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Read implements Backend; positions are numbers of appends plus one.
func (b *kvBackend) Read(cell Cell, mapKey []byte, from uint64, limit int) ([]byte, uint64, error) {
	if err := b.open(); err != nil {
		return nil, 0, err
	}
	base := appendOrdered(b.cell(cell), mapKey)
	lo := base
	if from > 0 {
		lo = binary.BigEndian.AppendUint64(bytes.Clone(base), from-1)
	}
	var (
		data []byte
		next uint64
	)
	err := b.kv.Scan(lo, after(base), func(key, value []byte) bool {
		if len(data) > 0 && len(data)+len(value) > limit {
			next = binary.BigEndian.Uint64(key[len(base):]) + 1
			return false
		}
		data = append(data, value...)
		return true
	})
	return data, next, err
}

// Keys implements Backend.
func (b *kvBackend) Keys(cell Cell, behind []byte, limit int) ([][]byte, error) {
	if err := b.open(); err != nil {
		return nil, err
	}
	base := b.cell(cell)
	lo, hi := base, after(base)
	if behind != nil {
		lo = after(appendOrdered(bytes.Clone(base), behind))
	}
	var keys [][]byte
	for len(keys) < limit {
		var found []byte
		var failed error
		err := b.kv.Scan(lo, hi, func(key, _ []byte) bool {
			found, _, failed = takeOrdered(key[len(base):])
			if found == nil {
				found = []byte{}
			}
			return false
		})
		if err == nil {
			err = failed
		}
		if err != nil || found == nil {
			return keys, err
		}
		keys = append(keys, found)
		lo = after(appendOrdered(bytes.Clone(base), found))
	}
	return keys, nil
}
