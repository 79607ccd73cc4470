package lsmstore_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/store/lsmstore"
	"github.com/pharos-beam/pharos/internal/storage/store/storetest"
)

func open(t testing.TB, fs vfs.FS) *lsmstore.Store {
	t.Helper()
	s, err := lsmstore.Open(lsmstore.Options{Dir: "data/store", FS: fs, MemoryBudget: lsmstore.MinMemory})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// disk returns a file system with the directory that the store's is to be in.
func disk(t testing.TB) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	err := fs.MkdirAll("data", 0o700)
	root, rootErr := fs.OpenDir("")
	if err := errors.Join(err, rootErr); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func() store.Store { return open(t, disk(t)) })
}

// world is a store that a random history is written to, and what it must hold
// after each batch.
type world struct {
	rng    *rand.Rand
	mu     sync.Mutex
	states []string // what the store has after so many batches
	model  storetest.Map
	synced atomic.Int64 // batches that are known to be durable
}

func newWorld(seed uint64) *world {
	return &world{rng: rand.New(rand.NewPCG(seed, 0)), states: []string{""}, model: storetest.Map{}}
}

// keys is how many keys a history has.
const keys = 40

func (w *world) key() []byte { return fmt.Appendf(nil, "key-%02d", w.rng.IntN(keys)) }

// batch draws a batch and applies it to the model.
func (w *world) batch() []keyspace.Op {
	var ops []keyspace.Op
	for range 1 + w.rng.IntN(5) {
		k := w.key()
		switch w.rng.IntN(6) {
		case 0:
			ops = append(ops, keyspace.Op{Kind: keyspace.Delete, Key: k})
			w.model.Delete(k)
		case 1:
			hi := w.key()
			ops = append(ops, keyspace.Op{Kind: keyspace.DeleteRange, Key: k, Value: hi})
			w.model.DeleteRange(k, hi)
		default:
			v := binary.AppendUvarint(nil, uint64(len(w.states)))
			v = append(v, make([]byte, w.rng.IntN(20_000))...)
			ops = append(ops, keyspace.Op{Kind: keyspace.Set, Key: k, Value: v})
			w.model.Set(k, v)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states = append(w.states, dump(w.model))
	return ops
}

// step applies one batch.
func (w *world) step(s store.Store) error {
	ops := w.batch()
	sync := w.rng.IntN(3) == 0
	if err := s.Apply(ops, sync); err != nil {
		return err
	}
	if sync {
		w.synced.Store(int64(w.batches()))
	}
	return nil
}

func (w *world) batches() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.states) - 1
}

// dump tells states apart: keys, and the batch and size of their values.
func dump(r interface {
	Scan(lo, hi []byte, fn func(k, v []byte) bool) error
}) string {
	var b strings.Builder
	err := r.Scan(nil, nil, func(k, v []byte) bool {
		n, _ := binary.Uvarint(v)
		fmt.Fprintf(&b, "%s=%d/%d ", k, n, len(v))
		return true
	})
	if err != nil {
		fmt.Fprintf(&b, "error %v", err)
	}
	return b.String()
}

// check opens what a crash has left: it must be what the store was after some
// batch, and not before the last that was synced.
func (w *world) check(t *testing.T, fs vfs.FS, synced int) {
	t.Helper()
	s := open(t, fs)
	defer s.Close()
	r := s.Snapshot()
	defer r.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := dump(r); !slices.Contains(w.states[synced:], got) {
		t.Errorf("after the crash the store has\n%s\nwhich it had after none of the batches %d to %d; after the first of them it had\n%s",
			got, synced, len(w.states)-1, w.states[synced])
	}
}

func TestCrash(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(seed)
			fs := disk(t)
			s := open(t, fs)
			done := make(chan error)
			go func() {
				var err error
				for range 150 {
					err = errors.Join(err, w.step(s))
				}
				done <- err
			}()
			rng := rand.New(rand.NewPCG(seed, 1))
			for crashes := 0; ; crashes++ {
				if over, err := finished(done, time.Duration(rng.IntN(40))*time.Millisecond); over {
					if err != nil || crashes == 0 {
						t.Errorf("%d crashes, %v", crashes, err)
					}
					break
				}
				synced := int(w.synced.Load())
				w.check(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng}), synced)
			}
			synced := int(w.synced.Load())
			w.check(t, fs.CrashClone(vfs.CrashCloneCfg{}), synced)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			w.check(t, fs.CrashClone(vfs.CrashCloneCfg{}), w.batches())
		})
	}
}

func finished(done chan error, wait time.Duration) (bool, error) {
	select {
	case err := <-done:
		return true, err
	case <-time.After(wait):
		return false, nil
	}
}

// TestFailedWrites fails the k-th write of a history, for every third k (that
// is each kind of write many times), and those after it, too, for odd k.
func TestFailedWrites(t *testing.T) {
	defer func(d time.Duration) { *lsmstore.FlushDelay = d }(*lsmstore.FlushDelay)
	*lsmstore.FlushDelay = time.Hour // a flush of pebble's own that cannot begin a log ends the process
	step := int64(3)
	if testing.Short() {
		step = 11
	}
	for k := int64(0); ; k += step {
		if !failAt(t, k) {
			t.Logf("the history has about %d writes", k)
			return
		}
	}
}

// failAt returns whether there was a write number k.
func failAt(t *testing.T, k int64) bool {
	t.Helper()
	var writes atomic.Int64
	mem := disk(t)
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFileClose {
			return nil
		}
		if n := writes.Add(1) - 1; n == k || n > k && k%2 == 1 {
			return errorfs.ErrInjected
		}
		return nil
	}))
	w := newWorld(uint64(k))
	fatal := make(chan error, 1)
	ended := make(chan error, 1)
	go func() { ended <- history(w, fs, fatal) }()
	var err error
	select {
	case err = <-ended:
	case err = <-fatal:
	}
	if err != nil && errors.Is(err, errWrong) {
		t.Errorf("write %d: %v", k, err)
	}
	happened := writes.Load() > k
	if err != nil && !happened {
		t.Fatalf("write %d: %v, but none was failed", k, err)
	}
	synced := int(w.synced.Load())
	w.check(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(k), 2))}), synced)
	return happened
}

// errWrong marks what a failure must not lead to.
var errWrong = errors.New("wrong")

// history runs until the first error.
func history(w *world, fs vfs.FS, fatal chan error) error {
	var failed atomic.Int32
	s, err := lsmstore.Open(lsmstore.Options{
		Dir: "data/store", FS: fs, MemoryBudget: lsmstore.MinMemory, Log: slog.New(slog.DiscardHandler),
		Failed: func(error) { failed.Add(1) },
		Fatal: func(err error) {
			select {
			case fatal <- err:
			default:
			}
			select {} // as if the process had ended
		},
	})
	if err != nil {
		return err
	}
	for range 100 {
		if err := w.step(s); err != nil {
			if n := failed.Load(); !errors.Is(err, lsmstore.ErrFailed) || n != 1 {
				return fmt.Errorf("%w: not ErrFailed, or told %d times: %v", errWrong, n, err)
			}
			if again := w.failedStays(s); again != nil {
				return again
			}
			return err
		}
	}
	return s.Close()
}

// failedStays checks that a failed store takes nothing and shows nothing.
func (w *world) failedStays(s *lsmstore.Store) error {
	for range 3 {
		if err := s.Apply(w.batch(), true); !errors.Is(err, lsmstore.ErrFailed) {
			return fmt.Errorf("%w: a failed store applies a batch: %v", errWrong, err)
		}
	}
	if _, _, err := s.Snapshot().Get(nil); !errors.Is(err, lsmstore.ErrFailed) {
		return fmt.Errorf("%w: a failed store can be read: %v", errWrong, err)
	}
	if err := s.Close(); !errors.Is(err, lsmstore.ErrFailed) {
		return fmt.Errorf("%w: a failed store can be closed: %v", errWrong, err)
	}
	return nil
}

// A store without a log does all that others do while it is open.
func TestNoLog(t *testing.T) {
	storetest.Run(t, func() store.Store {
		s, err := lsmstore.Open(lsmstore.Options{Dir: "data/store", FS: disk(t), MemoryBudget: lsmstore.MinMemory, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
