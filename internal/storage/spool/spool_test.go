package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, o Options) *Spool {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *Spool, data []byte) uint64 {
	t.Helper()
	id, err := s.Put(data)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wantBlock(t testing.TB, s *Spool, id uint64, want []byte) {
	t.Helper()
	got, err := s.Get(id)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("block %d: %d bytes, %v; want %d", id, len(got), err, len(want))
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// sample is a block that is recognisable and as long as asked.
func sample(i, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(b)
	return b
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestBudgets(t *testing.T) {
	for _, budget := range []int64{0, 1, 1000, 1 << 20, Unlimited} {
		t.Run(fmt.Sprint(budget), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, Options{Dir: dir, MemoryBudget: budget})
			var ids []uint64
			sizes := []int{0, 1, 100, 5000, copyBytesMax, copyBytesMax + 1, bufferBytes, 0, 3 << 20, 7}
			for i, n := range sizes {
				ids = append(ids, put(t, s, sample(i, n)))
				if st := s.Stats(); st.RAMBytes > budget {
					t.Errorf("%d bytes in RAM, budget %d", st.RAMBytes, budget)
				}
			}
			for i, n := range sizes {
				wantBlock(t, s, ids[i], sample(i, n))
			}
			st := s.Stats()
			if st.Blocks != len(sizes) || (budget == Unlimited) != (st.DiskBytes == 0) {
				t.Errorf("stats %+v", st)
			}
			s.Drop(ids...)
			s.Drop(ids...)
			if st := s.Stats(); st.Blocks != 0 || st.RAMBytes != 0 {
				t.Errorf("stats %+v after dropping all", st)
			}
			_, err := s.Get(ids[0])
			wantErr(t, err, ErrDropped)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if left := files(t, dir); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
			_, err = s.Get(ids[0])
			wantErr(t, err, ErrClosed)
			_, err = s.Put(nil)
			wantErr(t, err, ErrClosed)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOldestGoFirst(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MemoryBudget: 10_000})
	defer s.Close()
	var ids []uint64
	for i := range 20 {
		ids = append(ids, put(t, s, sample(i, 1000)))
	}
	spilled := false
	for i := len(ids) - 1; i >= 0; i-- {
		inRAM := s.blocks[ids[i]].data != nil
		if spilled && inRAM {
			t.Errorf("block %d is in RAM, a younger one is not", i)
		}
		spilled = spilled || !inRAM
	}
	if !spilled {
		t.Error("nothing was spilled")
	}
}

func TestSegmentsAreRemoved(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	const size = 1 << 20
	var ids []uint64
	for i := range 3*segmentBytesMax/size + 1 {
		ids = append(ids, put(t, s, sample(i, size)))
	}
	if n := len(files(t, s.dir)); n != 4 {
		t.Errorf("%d segments, want 4", n)
	}
	keep := len(ids) / 2
	s.Drop(ids[:keep]...)
	s.Drop(ids[keep+1:]...)
	if st := s.Stats(); len(files(t, s.dir)) != 2 || st.Segments != 2 || st.DiskBytes > 2*(segmentBytesMax+2*size) {
		t.Errorf("%d files, stats %+v; want the segment of one block, and the current one", len(files(t, s.dir)), st)
	}
	wantBlock(t, s, ids[keep], sample(keep, size))
	s.Drop(ids[keep])
	if st := s.Stats(); st.Segments != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestCorruption(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	good, bad := put(t, s, sample(1, 1000)), put(t, s, sample(2, 1000))
	b := s.blocks[bad]
	if _, err := b.seg.file.WriteAt([]byte{^sample(2, 1000)[500]}, b.off+500); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(bad)
	wantErr(t, err, ErrCorrupt)
	wantBlock(t, s, good, sample(1, 1000))
	if err := os.Truncate(b.seg.path, b.off+10); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(bad)
	wantErr(t, err, ErrCorrupt)
	wantBlock(t, s, good, sample(1, 1000))
}

func TestFailedWriteLosesNothing(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MemoryBudget: 1500})
	defer s.Close()
	first := put(t, s, sample(1, 1000))
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(sample(2, 1000)); err == nil {
		t.Fatal("put beyond the budget without a directory succeeds")
	}
	wantBlock(t, s, first, sample(1, 1000))
	if st := s.Stats(); st.Blocks != 1 || st.RAMBytes != 1000 {
		t.Errorf("stats %+v", st)
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	third := put(t, s, sample(3, 1000))
	wantBlock(t, s, first, sample(1, 1000))
	wantBlock(t, s, third, sample(3, 1000))
}

func TestSyncAndReopen(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, MemoryBudget: 1 << 20, Keep: true}
	s := open(t, o)
	a, lost, b := put(t, s, sample(1, 1000)), put(t, s, sample(2, 1000)), put(t, s, sample(3, 0))
	if err := s.Sync(a, b, a); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.RAMBytes != 2000 || st.DiskBytes != 1000+2*headerBytes {
		t.Errorf("stats %+v", st)
	}
	s.Drop(lost)
	wantErr(t, s.Sync(lost), ErrDropped)
	s.Close()

	// A write that the crash has cut short.
	names := files(t, dir)
	f, err := os.OpenFile(names[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write(append(appendHeader(nil, 99, 1000, 1), "cut"...))
	f.Close()

	s = open(t, o)
	wantBlock(t, s, a, sample(1, 1000))
	wantBlock(t, s, b, nil)
	_, err = s.Get(lost)
	wantErr(t, err, ErrDropped)
	if next := put(t, s, sample(4, 10)); next <= lost {
		t.Errorf("id %d is given again", next)
	}
	if err := s.Sync(a, b); err != nil {
		t.Error(err)
	}
	s.Retain(map[uint64]bool{b: true})
	_, err = s.Get(a)
	wantErr(t, err, ErrDropped)
	wantBlock(t, s, b, nil)
	s.Close()

	s = open(t, o)
	s.Retain(nil)
	if n := len(files(t, dir)); n != 0 {
		t.Errorf("%d files left", n)
	}
	s.Close()
}

func TestReopenIgnoresWhatIsNotABlock(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"000000000001.seg":   bytes.Repeat([]byte{7}, 100),
		"000000000002.seg":   nil,
		"000000000003.seg":   binary.LittleEndian.AppendUint32(nil, headerMagic),
		"x.seg":              nil,
		"7.seg":              nil,
		"notes":              nil,
		"000000000004.seg.x": nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(Options{Keep: true}); err == nil {
		t.Error("a spool that is kept nowhere")
	}
	s := open(t, Options{Dir: dir, Keep: true, MemoryBudget: 0})
	defer s.Close()
	if st := s.Stats(); st.Blocks != 0 {
		t.Errorf("stats %+v", st)
	}
	wantBlock(t, s, put(t, s, sample(1, 10)), sample(1, 10))
}

func TestManyBlocksComeAndGo(t *testing.T) {
	s := open(t, Options{MemoryBudget: Unlimited})
	defer s.Close()
	oldest := put(t, s, sample(0, 10))
	for i := range 100 * compactMin {
		s.Drop(put(t, s, sample(i, 1)))
	}
	if n := len(s.fifo.blocks); n > 10*compactMin {
		t.Errorf("the queue has %d entries for one block", n)
	}
	wantBlock(t, s, oldest, sample(0, 10))
}

func TestConcurrent(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MemoryBudget: 100_000})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			worker(t, s, w)
		}()
	}
	wg.Wait()
	if st := s.Stats(); st.Blocks != 0 || st.RAMBytes != 0 || s.spilling != 0 {
		t.Errorf("stats %+v, spilling %d", st, s.spilling)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func worker(t *testing.T, s *Spool, w int) {
	r := rand.New(rand.NewPCG(1, uint64(w)))
	type mine struct {
		id      uint64
		n, size int
	}
	var all []mine
	for n := range 300 {
		size := r.IntN(20_000)
		id, err := s.Put(sample(n, size))
		if err != nil {
			t.Error(err)
			return
		}
		all = append(all, mine{id, n, size})
		i := r.IntN(len(all))
		m := all[i]
		switch r.IntN(4) {
		case 0:
			if err := s.Sync(m.id, id); err != nil {
				t.Error(err)
			}
		case 1, 2:
			if got, err := s.Get(m.id); err != nil || !bytes.Equal(got, sample(m.n, m.size)) {
				t.Errorf("block %d: %d bytes, %v", m.id, len(got), err)
			}
		case 3:
			s.Drop(m.id)
			all = append(all[:i], all[i+1:]...)
		}
	}
	for _, m := range all {
		s.Drop(m.id)
	}
}

// Close while others use the spool gives errors, no more.
func TestCloseUnderway(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				id, err := s.Put(sample(1, 10_000))
				if err == nil {
					_, err = s.Get(id)
				}
				if err == nil {
					err = s.Sync(id)
				}
				if err != nil {
					wantErr(t, err, ErrClosed)
					return
				}
				s.Drop(id)
			}
		}()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestModel compares a spool with a map, over random operations and reopening.
func TestModel(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		o := Options{Dir: dir, MemoryBudget: rapid.SampledFrom([]int64{0, 50, 500}).Draw(t, "budget"), Keep: true}
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		blocks, synced := map[uint64][]byte{}, map[uint64]bool{}
		var ids []uint64
		for range rapid.IntRange(1, 30).Draw(t, "operations") {
			id := uint64(1)
			if len(ids) > 0 {
				id = rapid.SampledFrom(ids).Draw(t, "id")
			}
			switch rapid.IntRange(0, 4).Draw(t, "operation") {
			case 0, 1:
				data := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "data")
				id, err := s.Put(bytes.Clone(data))
				if err != nil {
					t.Fatal(err)
				}
				if _, again := blocks[id]; again || len(ids) > 0 && id <= ids[len(ids)-1] {
					t.Fatalf("id %d does not increase", id)
				}
				blocks[id], ids = data, append(ids, id)
			case 2:
				s.Drop(id)
				delete(blocks, id)
			case 3:
				_, there := blocks[id]
				if err := s.Sync(id); (err == nil) != there {
					t.Fatalf("sync of %d: %v", id, err)
				}
				synced[id] = true
			case 4:
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = Open(o); err != nil {
					t.Fatal(err)
				}
				// Blocks that were never synced may be gone, dropped ones may be back.
				keep := map[uint64]bool{}
				for id := range blocks {
					if _, err := s.Get(id); err != nil && !synced[id] {
						delete(blocks, id)
					}
					keep[id] = true
				}
				s.Retain(keep)
			}
			for id, want := range blocks {
				if got, err := s.Get(id); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("block %d: %x, %v, want %x", id, got, err, want)
				}
			}
			if st := s.Stats(); st.Blocks != len(blocks) || st.RAMBytes > o.MemoryBudget || st.RAMBytes < 0 {
				t.Fatalf("%d blocks, stats %+v", len(blocks), st)
			}
		}
		s.Close()
	})
}

func BenchmarkPutGetDrop(b *testing.B) {
	for name, budget := range map[string]int64{"ram": Unlimited, "disk": 0} {
		b.Run(name, func(b *testing.B) {
			s := open(b, Options{Dir: b.TempDir(), MemoryBudget: budget})
			defer s.Close()
			data := sample(1, 256<<10)
			b.SetBytes(int64(len(data)))
			for range b.N {
				id := put(b, s, data)
				if _, err := s.Get(id); err != nil {
					b.Fatal(err)
				}
				s.Drop(id)
			}
		})
	}
}
