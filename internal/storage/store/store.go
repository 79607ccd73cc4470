// Package store is the ordered key-value store that keeps what a job must not
// lose: state, timers, holds, queues, job records. Changes come as batches
// that are applied atomically; reads go to immutable snapshots; a Txn buffers
// the changes of one bundle over a snapshot.
//
// It does not know what keys mean (package keyspace does) and does not keep
// element data (package spool does).
//
// # Invariants
//
//   - A batch is visible in full or not at all, to every snapshot and after
//     every crash.
//   - A snapshot never changes. It costs O(1) to take, and must be closed.
//   - A Txn sees its own changes; nobody else does until its Ops are applied.
//
// Every implementation passes the suite in package storetest.
package store

import (
	"errors"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// ErrClosed is returned by operations on a closed store or reader.
var ErrClosed = errors.New("store is closed")

// Reader is an immutable view of the store. It may be used by several
// goroutines. Slices that it hands out belong to it: copy to keep them beyond
// the callback or the reader's Close, and do not change them.
type Reader interface {
	// Get returns the value of key and whether it is there.
	Get(key []byte) ([]byte, bool, error)
	// Scan calls fn for the keys in [lo, hi), in order, until it returns
	// false. A nil hi means no upper bound.
	Scan(lo, hi []byte, fn func(key, value []byte) bool) error
	// Close releases the view.
	Close() error
}

// Store is an ordered key-value store. It may be used by several goroutines.
type Store interface {
	// Snapshot returns a view of everything applied so far.
	Snapshot() Reader
	// Apply makes the changes, in order, atomically. With sync they are
	// durable when it returns, if the store is durable at all. The ops are not
	// kept, so the caller may reuse them.
	Apply(ops []keyspace.Op, sync bool) error
	// Close releases the store. Readers must have been closed before.
	Close() error
}
