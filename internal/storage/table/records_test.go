package table

import (
	"bytes"
	"cmp"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

func genTime() *rapid.Generator[timestamp.Time] {
	return rapid.Custom(func(t *rapid.T) timestamp.Time {
		return timestamp.Time(rapid.OneOf(rapid.Int64Range(-10, 10), rapid.SampledFrom([]int64{int64(timestamp.Min), int64(commit.None)})).Draw(t, "time"))
	})
}

func genItem(seq uint64) *rapid.Generator[commit.Item] {
	return rapid.Custom(func(t *rapid.T) commit.Item {
		return commit.Item{
			Stage: rapid.IntRange(0, 3).Draw(t, "stage"), Shard: rapid.IntRange(0, 3).Draw(t, "shard"), Seq: seq,
			Block: commit.Block{ID: rapid.Uint64().Draw(t, "id"), Count: rapid.Int64Min(0).Draw(t, "count"), Bytes: 7, Min: genTime().Draw(t, "min"), End: genTime().Draw(t, "end")},
			Hold:  genTime().Draw(t, "hold"), ReadyMS: rapid.Int64().Draw(t, "ready"), SinceMS: 3,
			Tries: rapid.IntRange(0, 9).Draw(t, "tries"), Truncated: rapid.Bool().Draw(t, "truncated"),
		}
	})
}

// What Load finds is what records have left, in order.
func TestRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kv := store.NewMem()
		w := NewRecords("job")
		items := map[uint64]commit.Item{}
		marks := map[int]commit.Mark{}
		var sides []commit.Side
		var seq, bundle uint64
		for range rapid.IntRange(0, 8).Draw(t, "records") {
			bundle++
			r := &commit.Record{Bundle: bundle, Stage: 1, Kept: []uint64{bundle * 10}, Metrics: []byte{byte(bundle)}}
			for s, it := range items {
				if rapid.Bool().Draw(t, "take") {
					r.Taken = append(r.Taken, it)
					delete(items, s)
				}
			}
			for range rapid.IntRange(0, 3).Draw(t, "put") {
				seq++
				it := genItem(seq).Draw(t, "item")
				r.Put = append(r.Put, it)
				items[seq] = it
			}
			seq++
			side := commit.Side{Stage: 2, Input: rapid.IntRange(0, 1).Draw(t, "input"), Seq: seq, Block: seq}
			r.Sides, sides = []commit.Side{side}, append(sides, side)
			m := commit.Mark{Stage: rapid.IntRange(0, 3).Draw(t, "mark"), Input: genTime().Draw(t, "in"), Output: genTime().Draw(t, "out"), Fired: true, Event: 2}
			r.Marks, marks[m.Stage] = []commit.Mark{m}, m
			r.Shards = []commit.Shard{{Shard: 3, NextEvent: genTime().Draw(t, "event"), NextProc: 5, Hold: commit.None}}
			if err := kv.Apply(w.Append(nil, r), true); err != nil {
				t.Fatal(err)
			}
		}
		snap := kv.Snapshot()
		defer snap.Close()
		got, err := NewRecords("job").Load(snap)
		if err != nil {
			t.Fatal(err)
		}
		var want []commit.Item
		for _, it := range items {
			want = append(want, it)
		}
		slices.SortFunc(want, func(a, b commit.Item) int {
			return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Seq, b.Seq))
		})
		if !reflect.DeepEqual(got.Items, want) {
			t.Errorf("items %+v, want %+v", got.Items, want)
		}
		slices.SortFunc(got.Sides, func(a, b commit.Side) int { return cmp.Compare(a.Seq, b.Seq) })
		if !slices.Equal(got.Sides, sides) {
			t.Errorf("sides %v, want %v", got.Sides, sides)
		}
		if len(got.Marks) != len(marks) || got.Bundle != bundle || bundle > 0 && got.Seq < seq-1 || len(got.Kept) != int(bundle) || len(got.Metrics) != int(bundle) {
			t.Errorf("got %+v after %d bundles and %d items", got, bundle, seq)
		}
		for _, m := range got.Marks {
			if m != marks[m.Stage] {
				t.Errorf("mark %+v, want %+v", m, marks[m.Stage])
			}
		}
	})
}

// Rows that are not what this package writes are errors.
func TestCorruptRecords(t *testing.T) {
	w := NewRecords("job")
	rows := w.Append(nil, &commit.Record{
		Bundle: 1, Put: []commit.Item{{Seq: 1}}, Sides: []commit.Side{{Seq: 2}}, Marks: []commit.Mark{{}}, Shards: []commit.Shard{{}},
	})
	for _, row := range rows {
		for _, value := range [][]byte{nil, {0xff}, append(slices.Clone(row.Value), 0)} {
			kv := store.NewMem()
			if err := kv.Apply([]keyspace.Op{{Kind: keyspace.Set, Key: row.Key, Value: value}}, false); err != nil {
				t.Fatal(err)
			}
			snap := kv.Snapshot()
			if _, err := NewRecords("job").Load(snap); err == nil {
				t.Errorf("row %q with value %x was read", row.Key, value)
			}
			snap.Close()
		}
	}
}

// Whatever is in the rows of a job, Load does not panic.
func FuzzLoad(f *testing.F) {
	rows := NewRecords("job").Append(nil, &commit.Record{
		Bundle: 1, Put: []commit.Item{{Seq: 1, Truncated: true}}, Sides: []commit.Side{{Seq: 2}}, Kept: []uint64{3},
		Marks: []commit.Mark{{Stage: 1, Fired: true}}, Shards: []commit.Shard{{Shard: 1}}, Metrics: []byte("m"),
	})
	prefix := keyspace.Job("job")
	for _, row := range rows {
		f.Add(bytes.TrimPrefix(row.Key, prefix), row.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		kv := store.NewMem()
		op := keyspace.Op{Kind: keyspace.Set, Key: append(bytes.Clone(prefix), key...), Value: value}
		if err := kv.Apply([]keyspace.Op{op}, false); err != nil {
			t.Fatal(err)
		}
		snap := kv.Snapshot()
		defer snap.Close()
		saved, err := NewRecords("job").Load(snap)
		if err == nil && saved == nil {
			t.Error("neither a result nor an error")
		}
	})
}
