package spool

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// memDisk returns a file system that can crash, with a directory.
func memDisk(t testing.TB) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	if err := errors.Join(fs.MkdirAll("spool", 0o700), syncDir(fs, "")); err != nil {
		t.Fatal(err)
	}
	return fs
}

func openOn(t testing.TB, fs vfs.FS, budget int64) *Spool {
	t.Helper()
	return open(t, Options{Dir: "spool", Keep: true, FS: fs, MemoryBudget: budget})
}

// history is what has been done to a spool, by somebody who keeps references to
// blocks as a store does: what was synced is referred to until it is dropped.
type history struct {
	rng    *rand.Rand
	blocks map[uint64][]byte
	synced map[uint64]bool
}

func newHistory(seed uint64) *history {
	return &history{rng: rand.New(rand.NewPCG(seed, 0)), blocks: map[uint64][]byte{}, synced: map[uint64]bool{}}
}

func (h *history) some() []uint64 {
	ids := slices.Sorted(maps.Keys(h.blocks))
	h.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:min(len(ids), h.rng.IntN(6))]
}

// step does something to the spool. An error leaves the history as it was.
func (h *history) step(s *Spool) error {
	switch h.rng.IntN(6) {
	case 0, 1, 2:
		data := sample(h.rng.IntN(1<<16), h.rng.IntN(9000))
		id, err := s.Put(bytes.Clone(data))
		if err == nil {
			h.blocks[id] = data
		}
		return err
	case 3:
		ids := h.some()
		err := s.Sync(ids...)
		for _, id := range ids {
			h.synced[id] = h.synced[id] || err == nil
		}
		return err
	case 4:
		ids := h.some()
		s.Drop(ids...)
		for _, id := range ids {
			delete(h.blocks, id)
			delete(h.synced, id)
		}
		return nil
	default:
		_, err := s.Compact()
		return err
	}
}

// check reads everything of a spool that lives.
func (h *history) check(t *testing.T, s *Spool) {
	t.Helper()
	for id, data := range h.blocks {
		wantBlock(t, s, id, data)
	}
}

// reopen checks what a crash has left: all that was synced, and nothing that is
// half a block.
func (h *history) reopen(t *testing.T, fs vfs.FS) {
	t.Helper()
	s := openOn(t, fs, 0)
	defer s.Close()
	for id, data := range h.blocks {
		got, err := s.Get(id)
		switch {
		case h.synced[id] && (err != nil || !bytes.Equal(got, data)):
			t.Errorf("block %d, which was synced: %d bytes, %v; want %d", id, len(got), err, len(data))
		case err == nil && !bytes.Equal(got, data):
			t.Errorf("block %d is read without an error and is another", id)
		case err != nil && !errors.Is(err, ErrDropped) && !errors.Is(err, ErrCorrupt):
			t.Errorf("block %d: %v", id, err)
		}
	}
	keep := map[uint64]bool{}
	for id, synced := range h.synced {
		keep[id] = synced
	}
	s.Retain(keep)
	if missing := s.Missing(slices.Collect(maps.Keys(h.synced))); slices.ContainsFunc(missing, func(id uint64) bool { return h.synced[id] }) {
		t.Errorf("missing after Retain: %v", missing)
	}
	if n := put(t, s, nil); keep[n] {
		t.Errorf("id %d is given a second time", n)
	}
}

func TestCrash(t *testing.T) {
	for seed := range uint64(30) {
		h := newHistory(seed)
		fs := memDisk(t)
		s := openOn(t, fs, int64(h.rng.IntN(50_000)))
		for range 10 + h.rng.IntN(100) {
			if err := h.step(s); err != nil {
				t.Fatal(err)
			}
			if h.rng.IntN(10) == 0 {
				h.reopen(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: h.rng.IntN(101), RNG: h.rng}))
			}
		}
		h.check(t, s)
		s.Close()
		h.reopen(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	}
}

// TestFailedWrites fails the k-th write of a history, for each k, and those
// after it, too, for odd k. Nothing that is said to be there may be lost by it.
func TestFailedWrites(t *testing.T) {
	for seed := range uint64(3) {
		k := int64(0)
		for failAt(t, seed, k) {
			k++
		}
		t.Logf("history %d has %d writes", seed, k)
	}
}

// failAt returns whether there was a write number k.
func failAt(t *testing.T, seed uint64, k int64) bool {
	t.Helper()
	var writes atomic.Int64
	mem := memDisk(t)
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFileClose {
			return nil
		}
		if n := writes.Add(1) - 1; n == k || n > k && k%2 == 1 {
			return errorfs.ErrInjected
		}
		return nil
	}))
	h := newHistory(seed)
	s, err := Open(Options{Dir: "spool", Keep: true, FS: fs, MemoryBudget: 20_000})
	if err != nil {
		return true
	}
	defer s.Close()
	for range 120 {
		if err := h.step(s); err != nil && !errors.Is(err, errorfs.ErrInjected) {
			t.Fatalf("write %d: %v", k, err)
		}
	}
	h.check(t, s)
	h.reopen(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: h.rng}))
	return writes.Load() > k
}

// TestGarbledTail cuts a segment at, or garbles it from, each kind of place:
// what lies before is there.
func TestGarbledTail(t *testing.T) {
	const size, blocks = 100, 5
	for cut := 0; cut <= blocks*(size+headerBytes); cut += 7 {
		for _, garble := range []bool{false, true} {
			fs := vfs.NewMem()
			s := openOn(t, fs, 0)
			var ids []uint64
			for i := range blocks {
				ids = append(ids, put(t, s, sample(i, size)))
			}
			path := s.segmentPath(0)
			s.Close()
			rewrite(t, fs, path, cut, garble)
			s = openOn(t, fs, 0)
			for i, id := range ids {
				got, err := s.Get(id)
				whole := (i+1)*(size+headerBytes) <= cut
				if whole && (err != nil || !bytes.Equal(got, sample(i, size))) {
					t.Errorf("cut at %d: block %d: %v", cut, i, err)
				}
				if !whole && err == nil {
					t.Errorf("cut at %d: block %d can be read", cut, i)
				}
			}
			s.Close()
		}
	}
}

// rewrite keeps the first cut bytes of a file, and garbles the others or cuts
// them off.
func rewrite(t *testing.T, fs vfs.FS, path string, cut int, garble bool) {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	data := make([]byte, info.Size())
	_, readErr := f.ReadAt(data, 0)
	if err := errors.Join(err, readErr, f.Close()); err != nil {
		t.Fatal(err)
	}
	if garble {
		for i := cut; i < len(data); i++ {
			data[i] ^= 0x5a
		}
	} else {
		data = data[:cut]
	}
	out, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = out.Write(data)
	}
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestDiskBudget(t *testing.T) {
	const size, room = 10_000, 10
	s := open(t, Options{Dir: t.TempDir(), MemoryBudget: 0, DiskBudget: room * (size + headerBytes)})
	defer s.Close()
	var ids []uint64
	for i := range room {
		ids = append(ids, put(t, s, sample(i, size)))
	}
	for range 3 {
		_, err := s.Put(sample(99, size))
		wantErr(t, err, ErrDiskBudget)
	}
	if errors.Is(errors.New("other"), ErrDiskFull) {
		t.Error("the errors are the same")
	}
	for i, id := range ids {
		wantBlock(t, s, id, sample(i, size))
	}
	if st := s.Stats(); st.Blocks != room || st.RAMBytes != 0 {
		t.Errorf("refused blocks are still there: %+v", st)
	}
	s.Drop(ids[1:]...) // the rest is copied, so that the file can go
	fresh := put(t, s, sample(100, size))
	wantBlock(t, s, fresh, sample(100, size))
	wantBlock(t, s, ids[0], sample(0, size))
}

func TestDiskFull(t *testing.T) {
	var full atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWriteAt {
			return syscall.ENOSPC
		}
		return nil
	}))
	s := openOn(t, fs, 0)
	defer s.Close()
	kept := put(t, s, sample(1, 1000))
	full.Store(true)
	_, err := s.Put(sample(2, 1000))
	wantErr(t, err, ErrDiskFull)
	wantBlock(t, s, kept, sample(1, 1000))
	full.Store(false)
	wantBlock(t, s, put(t, s, sample(3, 1000)), sample(3, 1000))
	if st := s.Stats(); st.Blocks != 2 {
		t.Errorf("%+v", st)
	}
}

func TestCompact(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, Options{Dir: dir, Keep: keep})
			var ids, drop []uint64
			for i := range 100 {
				ids = append(ids, put(t, s, sample(i, 1000)))
				if i%10 != 0 {
					drop = append(drop, ids[i])
				}
			}
			s.Drop(drop...)
			if st := s.Stats(); st.DeadBytes != 90*(1000+headerBytes) {
				t.Errorf("before: %+v", st)
			}
			freed, err := s.Compact()
			if st := s.Stats(); err != nil || freed != 90*(1000+headerBytes) || st.DeadBytes != 0 || st.Segments != 1 {
				t.Errorf("freed %d, %v; %+v", freed, err, st)
			}
			if freed, err := s.Compact(); freed != 0 || err != nil {
				t.Errorf("a second time: %d, %v", freed, err)
			}
			if keep {
				s.Close()
				s = open(t, Options{Dir: dir, Keep: keep})
			}
			for i := 0; i < 100; i += 10 {
				wantBlock(t, s, ids[i], sample(i, 1000))
			}
			s.Drop(ids...)
			if _, err := s.Compact(); err != nil {
				t.Error(err)
			}
			if st := s.Stats(); st != (Stats{}) {
				t.Errorf("at the end: %+v", st)
			}
			s.Close()
		})
	}
}

// TestTidy: blocks that stay do not keep the dead ones around them.
func TestTidy(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Keep: true})
	defer s.Close()
	s.compactFrom = 10_000
	stays := map[uint64]int{}
	for i := range 200 {
		id := put(t, s, sample(i, 1000))
		if err := s.Sync(id); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			stays[id] = i
		} else {
			s.Drop(id)
		}
		if st := s.Stats(); st.DeadBytes > 20_000+sparseFraction*(st.DiskBytes-st.DeadBytes) {
			t.Fatalf("after %d blocks: %+v", i, st)
		}
	}
	for id, i := range stays {
		wantBlock(t, s, id, sample(i, 1000))
	}
}

// BenchmarkPutSync is what a durable job does with the output of a bundle.
func BenchmarkPutSync(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := open(b, Options{Dir: b.TempDir(), Keep: true, MemoryBudget: 64 << 20})
			defer s.Close()
			b.SetBytes(int64(size))
			var ids []uint64
			for range b.N {
				id := put(b, s, make([]byte, size))
				if err := s.Sync(id); err != nil {
					b.Fatal(err)
				}
				if ids = append(ids, id); len(ids) == 16 {
					s.Drop(ids...)
					ids = nil
				}
			}
		})
	}
}

// TestFailedSync: after a sync that has failed, the system may say that all is
// well without having written anything. So the file is not trusted any more:
// what is in RAM is written to another, what is not cannot be made durable.
func TestFailedSync(t *testing.T) {
	var fails atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && fails.Load() {
			return errorfs.ErrInjected
		}
		return nil
	}))
	s := openOn(t, fs, 1000)
	defer s.Close()
	before := put(t, s, sample(0, 900))
	if err := s.Sync(before); err != nil {
		t.Fatal(err)
	}
	onDisk, inRAM := put(t, s, sample(1, 900)), put(t, s, sample(2, 900))
	fails.Store(true)
	wantErr(t, s.Sync(onDisk, inRAM), errorfs.ErrInjected)
	fails.Store(false)
	wantErr(t, s.Sync(onDisk), errorfs.ErrInjected)
	if err := s.Sync(before, inRAM); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Segments != 2 {
		t.Errorf("%+v", st)
	}
	for i, id := range []uint64{before, onDisk, inRAM} {
		wantBlock(t, s, id, sample(i, 900))
	}
}
