package lsmstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// ErrFailed is wrapped by the errors of a store that could not write. It stays
// failed until it is opened again, by another process.
var ErrFailed = errors.New("the store has failed and must be opened again")

// Store is a store.Store on disk.
type Store struct {
	db    *pebble.DB
	log   *slog.Logger
	fatal func(error)
	tell  func(error) // Options.Failed
	noLog bool        // nothing is durable
	// opened: what fails from now on, fails in the background.
	opened atomic.Bool
	// retries counts failures in the background since the last success.
	retries atomic.Int32
	// fullSince is when the disk was found to be full since then, in nanoseconds;
	// 0 if it was not.
	fullSince atomic.Int64
	// closing ends the waiting for room.
	closing   chan struct{}
	closeOnce sync.Once

	// writing is a lock, held while a batch is handed to pebble, but not while
	// it is synced. Pebble may panic with its own locks held; nobody may then
	// be inside, or come after.
	writing chan struct{}

	// mu guards what follows. It is held for reading while pebble is called, so
	// that Close waits: pebble panics when it is called after its Close.
	mu     sync.RWMutex
	closed bool

	failing sync.Mutex
	failed  error
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a directory, which is created if need be.
func Open(o Options) (*Store, error) {
	s := &Store{log: o.Log, fatal: o.Fatal, tell: o.Failed, noLog: o.NoLog || o.Scratch, writing: make(chan struct{}, 1), closing: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.fatal == nil {
		s.fatal = func(err error) { panic(err) }
	}
	if err := s.open(o); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	return s, nil
}

// open opens pebble, which panics when some of its files cannot be written.
func (s *Store) open(o Options) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	po := s.pebbleOptions(o)
	if !o.ReadOnly {
		if err := create(po.FS, o.Dir, po.Clone()); err != nil {
			return err
		}
	}
	s.db, err = pebble.Open(o.Dir, po)
	s.opened.Store(true)
	return err
}

// fail notes the first failure and returns it.
func (s *Store) fail(err error) error {
	s.failing.Lock()
	first := s.failed == nil
	if first {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	err = s.failed
	s.failing.Unlock()
	if first && s.tell != nil {
		s.tell(err)
	}
	return err
}

// usable returns why the store cannot be used; nil if it can.
func (s *Store) usable() error {
	if s.closed {
		return store.ErrClosed
	}
	s.failing.Lock()
	defer s.failing.Unlock()
	return s.failed
}

// Apply implements store.Store. Batches of several callers are synced together.
func (s *Store) Apply(ops []keyspace.Op, sync bool) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil {
		return err
	}
	sync = sync && !s.noLog
	b, err := s.batch(ops, sync)
	if err != nil {
		return err
	}
	if err := s.write(b, sync); err != nil {
		return fmt.Errorf("apply %d changes: %w", len(ops), err) // pebble may still have the batch
	}
	if sync {
		// Here and not in pebble's Apply, which ends the process on an error.
		if err := b.SyncWait(); err != nil {
			return fmt.Errorf("apply %d changes: %w", len(ops), s.fail(err))
		}
	}
	return b.Close()
}

// write hands a batch to pebble. It does not wait for the sync.
func (s *Store) write(b *pebble.Batch, sync bool) (err error) {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	if err := s.usable(); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = s.fail(fmt.Errorf("%v", p))
		}
	}()
	if sync {
		return s.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	return s.db.Apply(b, pebble.NoSync)
}

// batch encodes the changes. Pebble copies them.
func (s *Store) batch(ops []keyspace.Op, sync bool) (*pebble.Batch, error) {
	size := 0
	for i := range ops {
		if err := check(ops, i); err != nil {
			return nil, err
		}
		size += len(ops[i].Key) + len(ops[i].Value) + opBytes
	}
	b := s.db.NewBatchWithSize(size)
	for i := range ops {
		if err := s.add(b, ops, i); err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	if b.Empty() && sync {
		// Pebble does nothing for an empty batch; those before it are to be
		// durable all the same.
		return b, b.LogData(nil, nil)
	}
	return b, nil
}

// opBytes is what an op takes in a batch beside its key and value, at most.
const opBytes = 1 + 2*5

func check(ops []keyspace.Op, i int) error {
	if k := ops[i].Kind; k < keyspace.Set || k > keyspace.DeleteRange {
		return fmt.Errorf("apply op %d of %d: unknown kind %d", i, len(ops), k)
	}
	return nil
}

func (s *Store) add(b *pebble.Batch, ops []keyspace.Op, i int) error {
	op := &ops[i]
	switch op.Kind {
	case keyspace.Set:
		return b.Set(op.Key, op.Value, nil)
	case keyspace.Delete:
		return b.Delete(op.Key, nil)
	}
	hi := op.Value
	if hi == nil {
		var err error
		if hi, err = s.beyond(ops[:i]); err != nil {
			return err
		}
	}
	if string(op.Key) >= string(hi) {
		return nil
	}
	return b.DeleteRange(op.Key, hi, nil)
}

// beyond returns a key greater than all in the store and all that the changes
// set: pebble has no range deletion without an upper bound.
func (s *Store) beyond(ops []keyspace.Op) (last []byte, err error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	if it.Last() {
		last = append(last, it.Key()...)
	}
	if err := it.Close(); err != nil {
		return nil, err
	}
	for i := range ops {
		if ops[i].Kind == keyspace.Set && string(ops[i].Key) > string(last) {
			last = append(last[:0], ops[i].Key...)
		}
	}
	return append(last, 0), nil
}

// Close implements store.Store. A store that has failed is left as it is: what
// pebble would write now is worth nothing.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { close(s.closing) }) // before the lock: Apply may wait for room
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.usable()
	s.closed = true
	switch {
	case errors.Is(err, store.ErrClosed):
		return nil
	case err != nil:
		return err
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Check verifies that the files of the store fit together. What is in them is
// verified as it is read.
func (s *Store) Check() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.db.CheckLevels(nil); err != nil {
		return fmt.Errorf("check store: %w", err)
	}
	return nil
}

// Compact merges all files, so that nothing is left of what was deleted.
func (s *Store) Compact(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.db.Compact(ctx, []byte{0}, []byte{0xff}, true); err != nil {
		return fmt.Errorf("compact store: %w", err)
	}
	return nil
}

// Stats is what the store knows of itself.
type Stats struct {
	DiskBytes    int64 // of all its files
	AppliedBytes int64 // of batches, since it was opened
	WrittenBytes int64 // since then, to the log and by merging
}

// Stats returns what the store holds now; nothing if it cannot be used.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.usable() != nil {
		return Stats{}
	}
	m := s.db.Metrics()
	written := m.WAL.BytesWritten
	for i := range m.Levels {
		written += m.Levels[i].TableBytesFlushed + m.Levels[i].TableBytesCompacted
	}
	return Stats{DiskBytes: int64(m.DiskSpaceUsage()), AppliedBytes: int64(m.WAL.BytesIn), WrittenBytes: int64(written)}
}
