// Package durable keeps the state and timers of operators on disk, in Pebble:
//
//	store, err := durable.Open("state")
//	op, err := pool.OpenState(ctx, fn, operator.Limits{}, operator.NewKV(store, []byte("my operator/")))
//
// When the store is opened again, after a crash or an orderly end, the state is
// that of the last Operator.Checkpoint that returned without an error, or that was
// interrupted. What happened since is undone: the engine sends it again.
//
// An engine that has a position of its own to keep, such as how far it has read
// its input, has to know whether the state is that of this checkpoint or of the
// one before. It writes the position with the checkpoint: a KVStore around the
// Store adds it to the writes of the Apply that is called with sync.
package durable

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pharos-beam/pharos/operator"
)

// cacheBytes is how much of the store is kept in memory for reading.
const cacheBytes = 32 << 20

// Store is an operator.KVStore in a folder, for one process at a time. Any
// number of operators may share it, each with a prefix of its own.
type Store struct{ db *pebble.DB }

var _ operator.KVStore = (*Store)(nil)

// Open opens the store in a folder, which it makes if there is none.
func Open(dir string) (*Store, error) { return open(dir, nil) }

// open is Open on a file system; the machine's when nil.
func open(dir string, fs vfs.FS) (*Store, error) {
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref() // the store has its own reference
	db, err := pebble.Open(dir, &pebble.Options{FS: fs, Cache: cache, Logger: quiet{}})
	if err != nil {
		return nil, fmt.Errorf("open operator state in %s: %w", dir, err)
	}
	return &Store{db}, nil
}

// quiet drops Pebble's messages; what matters comes as an error.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("operator state: "+format, args...)) // Pebble cannot go on
}

// Close closes the store.
func (s *Store) Close() error { return s.db.Close() }

// Get implements operator.KVStore.
func (s *Store) Get(key []byte) ([]byte, bool, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return bytes.Clone(v), true, closer.Close()
}

// Scan implements operator.KVStore.
func (s *Store) Scan(lo, hi []byte, fn func(key, value []byte) bool) (err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if !fn(it.Key(), v) {
			return nil
		}
	}
	return it.Error()
}

// Apply implements operator.KVStore.
func (s *Store) Apply(writes []operator.KVWrite, sync bool) error {
	b := s.db.NewBatch()
	defer b.Close()
	for _, w := range writes {
		var err error
		switch {
		case w.Delete && w.End != nil:
			err = b.DeleteRange(w.Key, w.End, nil)
		case w.Delete:
			err = b.Delete(w.Key, nil)
		default:
			err = b.Set(w.Key, w.Value, nil)
		}
		if err != nil {
			return err
		}
	}
	if sync && len(writes) == 0 {
		return s.db.LogData(nil, pebble.Sync) // what was written before is synced with it
	}
	if sync {
		return b.Commit(pebble.Sync)
	}
	return b.Commit(pebble.NoSync)
}
