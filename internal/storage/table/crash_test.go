package table

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/storage/datadir"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store/lsmstore"
)

// disks are the store and the spool of a runner, in one data directory.
type disks struct {
	dir    *datadir.Dir
	store  *lsmstore.Store
	blocks *spool.Spool
}

func openDisks(t *testing.T, fs vfs.FS, memory int64) *disks {
	t.Helper()
	dir, err := datadir.Open("data", fs)
	if err != nil {
		t.Fatal(err)
	}
	s, err := lsmstore.Open(lsmstore.Options{Dir: dir.Store(), FS: fs, MemoryBudget: lsmstore.MinMemory})
	if err != nil {
		t.Fatal(err)
	}
	b, err := spool.Open(spool.Options{Dir: dir.Spool(), FS: fs, Keep: true, MemoryBudget: memory})
	if err != nil {
		t.Fatal(err)
	}
	return &disks{dir, s, b}
}

func (d *disks) close() error { return errors.Join(d.store.Close(), d.blocks.Close(), d.dir.Close()) }

// life is a job that commits records, as the runner does, and what they have
// left: the blocks in the queue, with their content.
type life struct {
	rng     *rand.Rand
	records *Records
	items   map[uint64]commit.Item
	data    map[uint64][]byte // by block
	seq     uint64
	bundle  uint64
}

// next makes a record and what the queue is after it.
func (l *life) next(d *disks) (*commit.Record, map[uint64]commit.Item, error) {
	l.bundle++
	r := &commit.Record{Bundle: l.bundle}
	after := maps.Clone(l.items)
	for _, seq := range slices.Sorted(maps.Keys(l.items)) {
		if l.rng.IntN(3) == 0 {
			r.Taken = append(r.Taken, l.items[seq])
			delete(after, seq)
		}
	}
	for range l.rng.IntN(4) {
		data := make([]byte, l.rng.IntN(5000))
		for i := range data {
			data[i] = byte(l.rng.Uint32())
		}
		id, err := d.blocks.Put(bytes.Clone(data))
		if err != nil {
			return nil, nil, err
		}
		l.seq++
		it := commit.Item{Shard: l.rng.IntN(2), Seq: l.seq, Block: commit.Block{ID: id, Bytes: int64(len(data))}}
		l.data[id], after[l.seq] = data, it
		r.Put = append(r.Put, it)
	}
	return r, after, nil
}

// step commits one record. crash is called at every moment at which the power
// may fail, with the queue that must be found then.
func (l *life) step(d *disks, crash func(want map[uint64]commit.Item)) error {
	r, after, err := l.next(d)
	if err != nil {
		return err
	}
	crash(l.items)
	var ids []uint64
	for _, it := range r.Put {
		ids = append(ids, it.Block.ID)
	}
	if err := d.blocks.Sync(ids...); err != nil {
		return err
	}
	crash(l.items)
	if err := d.store.Apply(l.records.Append(nil, r), true); err != nil {
		return err
	}
	l.items = after
	crash(after)
	for _, it := range r.Taken {
		d.blocks.Drop(it.Block.ID)
	}
	crash(after)
	if l.rng.IntN(4) == 0 {
		_, err = d.blocks.Compact()
		crash(after)
	}
	return err
}

// recovered checks what a runner finds after a crash.
func (l *life) recovered(t *testing.T, fs vfs.FS, want map[uint64]commit.Item) {
	t.Helper()
	d := openDisks(t, fs, 0)
	snap := d.store.Snapshot()
	saved, err := NewRecords("job").Load(snap)
	if err := errors.Join(err, snap.Close()); err != nil {
		t.Fatal(err)
	}
	keep := map[uint64]bool{}
	for _, it := range saved.Items {
		if want[it.Seq] != it {
			t.Errorf("item %+v, want %+v", it, want[it.Seq])
		}
		keep[it.Block.ID] = true
		if got, err := d.blocks.Get(it.Block.ID); err != nil || !bytes.Equal(got, l.data[it.Block.ID]) {
			t.Errorf("block %d: %d bytes, %v", it.Block.ID, len(got), err)
		}
	}
	d.blocks.Retain(keep)
	if n := d.blocks.Stats().Blocks; len(saved.Items) != len(want) || n != len(want) {
		t.Errorf("%d items and %d blocks, want %d", len(saved.Items), n, len(want))
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}

// A queue in the store and its blocks in the spool survive a crash at any
// moment, together.
func TestCrash(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := &life{rng: rand.New(rand.NewPCG(seed, 0)), records: NewRecords("job"), items: map[uint64]commit.Item{}, data: map[uint64][]byte{}}
			fs := vfs.NewCrashableMem()
			d := openDisks(t, fs, int64(l.rng.IntN(20_000)))
			crash := func(want map[uint64]commit.Item) {
				if l.rng.IntN(12) == 0 {
					cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: l.rng.IntN(101), RNG: l.rng}
					l.recovered(t, fs.CrashClone(cfg), want)
				}
			}
			for range 40 {
				if err := l.step(d, crash); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.close(); err != nil {
				t.Error(err)
			}
			l.recovered(t, fs.CrashClone(vfs.CrashCloneCfg{}), l.items)
		})
	}
}
