package lsmstore

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pharos-beam/pharos/internal/storage/store"
)

// Snapshot implements store.Store.
func (s *Store) Snapshot() store.Reader {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil {
		return unusable{err}
	}
	return &reader{store: s, snapshot: s.db.NewSnapshot()}
}

// idleIters is how many iterators a reader keeps between scans. A scan within
// a scan takes another one.
const idleIters = 2

// reader is a store.Reader. It keeps iterators: to make one costs as much as
// many steps, and bundles scan much and briefly. While it does, the files that
// it reads stay on disk even if they have been merged.
type reader struct {
	store    *Store
	snapshot *pebble.Snapshot

	mu     sync.Mutex
	idle   []*pebble.Iterator
	closed bool
}

// Get implements store.Reader.
func (r *reader) Get(key []byte) ([]byte, bool, error) {
	if r.isClosed() {
		return nil, false, store.ErrClosed
	}
	v, closer, err := r.snapshot.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("store: get: %w", err)
	}
	v = bytes.Clone(v) // it is the block cache's
	if v == nil {
		v = []byte{}
	}
	return v, true, closer.Close()
}

// Scan implements store.Reader.
func (r *reader) Scan(lo, hi []byte, fn func(key, value []byte) bool) error {
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return nil
	}
	it, err := r.take()
	if err != nil {
		return fmt.Errorf("store: scan: %w", err)
	}
	if len(lo) == 0 {
		lo = nil // pebble's own checks do not expect an empty bound
	}
	it.SetBounds(lo, hi)
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("store: scan: %w", errors.Join(err, it.Close()))
		}
		if !fn(it.Key(), v) {
			break
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("store: scan: %w", errors.Join(err, it.Close()))
	}
	return r.give(it)
}

func (r *reader) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// take returns an iterator that nobody else uses.
func (r *reader) take() (*pebble.Iterator, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, store.ErrClosed
	}
	if n := len(r.idle); n > 0 {
		it := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return it, nil
	}
	r.mu.Unlock()
	return r.snapshot.NewIter(nil)
}

// give takes an iterator back.
func (r *reader) give(it *pebble.Iterator) error {
	r.mu.Lock()
	if !r.closed && len(r.idle) < idleIters {
		r.idle = append(r.idle, it)
		it = nil
	}
	r.mu.Unlock()
	if it == nil {
		return nil
	}
	return it.Close()
}

// Close implements store.Reader.
func (r *reader) Close() error {
	r.mu.Lock()
	idle, again := r.idle, r.closed
	r.idle, r.closed = nil, true
	r.mu.Unlock()
	if again {
		return nil
	}
	var errs []error
	for _, it := range idle {
		errs = append(errs, it.Close())
	}
	return errors.Join(append(errs, r.snapshot.Close())...)
}

// unusable is the view of a store that is closed or has failed.
type unusable struct{ err error }

func (u unusable) Get([]byte) ([]byte, bool, error)                 { return nil, false, u.err }
func (u unusable) Scan(_, _ []byte, _ func(k, v []byte) bool) error { return u.err }
func (u unusable) Close() error                                     { return nil }
