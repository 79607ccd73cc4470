package operator

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// storeKV is the runner's store as a KVStore.
type storeKV struct{ s store.Store }

func (k storeKV) Get(key []byte) ([]byte, bool, error) {
	r := k.s.Snapshot()
	defer r.Close()
	v, ok, err := r.Get(key)
	return bytes.Clone(v), ok, err
}

func (k storeKV) Scan(lo, hi []byte, fn func(key, value []byte) bool) error {
	r := k.s.Snapshot()
	defer r.Close()
	return r.Scan(lo, hi, fn)
}

func (k storeKV) Apply(writes []KVWrite, sync bool) error {
	ops := make([]keyspace.Op, len(writes))
	for i, w := range writes {
		switch {
		case w.Delete && w.End != nil:
			ops[i] = keyspace.Op{Kind: keyspace.DeleteRange, Key: w.Key, Value: w.End}
		case w.Delete:
			ops[i] = keyspace.Op{Kind: keyspace.Delete, Key: w.Key}
		default:
			ops[i] = keyspace.Op{Kind: keyspace.Set, Key: w.Key, Value: w.Value}
		}
	}
	return k.s.Apply(ops, sync)
}

// backends are a fresh backend of each kind.
func backends() map[string]Backend {
	return map[string]Backend{
		"memory": NewMemory(),
		"kv":     NewKV(storeKV{store.NewMem()}, []byte("op/")),
		"small":  NewKV(storeKV{store.NewMem()}, nil),
	}
}

// model is what the state should be: cells by name, then by map key.
type model map[string]map[string]string

func (m model) apply(c Change) {
	cell := c.Cell.Name
	switch c.Op {
	case ClearAll:
		delete(m, cell)
	case Clear:
		delete(m[cell], string(c.MapKey))
	case Append:
		if m[cell] == nil {
			m[cell] = map[string]string{}
		}
		m[cell][string(c.MapKey)] += string(c.Data)
	}
}

// TestStateAgainstModel makes random changes in bundles, some of which fail, and
// reads with small pages what the bundle and the backend have.
func TestStateAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := backends()
		want := model{}
		key := rapid.SampledFrom([]string{"", "a", "b", "a\x00", "\x00", "\xff", "ab"})
		for range rapid.IntRange(1, 6).Draw(t, "bundles") {
			tried := model{}
			for c, keys := range want {
				tried[c] = map[string]string{}
				for k, v := range keys {
					tried[c][k] = v
				}
			}
			overlays := map[string]*overlay{}
			for name, b := range all {
				overlays[name] = newOverlay(b)
			}
			for range rapid.IntRange(0, 8).Draw(t, "changes") {
				c := Change{
					Op:     ChangeOp(rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2}).Draw(t, "op")),
					Cell:   Cell{Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "cell"), Key: []byte("k")},
					MapKey: []byte(key.Draw(t, "map key")),
				}
				if c.Op == Append {
					c.Data = []byte(rapid.StringN(1, 3, 4).Draw(t, "data"))
				}
				tried.apply(c)
				for name, o := range overlays {
					o.change(c)
					check(t, name, &BundleState{o: o}, tried)
				}
			}
			if rapid.Bool().Draw(t, "fails") {
				continue
			}
			want = tried
			for name, o := range overlays {
				if err := o.commit(nil); err != nil {
					t.Fatal(err)
				}
				check(t, name, &BundleState{o: newOverlay(all[name])}, want)
			}
		}
	})
}

// check compares what s has with m.
func check(t *rapid.T, name string, s *BundleState, m model) {
	for _, cell := range []string{"x", "y"} {
		var keys []string
		var after []byte
		for {
			page, err := s.Keys(Cell{Name: cell, Key: []byte("k")}, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range page {
				keys = append(keys, string(k))
			}
			if len(page) < 2 {
				break
			}
			after = page[1]
		}
		var want []string
		for k, v := range m[cell] {
			want = append(want, k)
			got, err := pages(s.o, Cell{Name: cell, Key: []byte("k")}, k)
			if err != nil || got != v {
				t.Fatalf("%s: cell %s key %q is %q, want %q (%v)", name, cell, k, got, v, err)
			}
		}
		slices.Sort(want)
		if !slices.Equal(keys, want) {
			t.Fatalf("%s: keys of %s are %q, want %q", name, cell, keys, want)
		}
	}
}

// pages reads a value in pages of two bytes or more.
func pages(o *overlay, cell Cell, key string) (string, error) {
	var all []byte
	for from := uint64(0); ; {
		data, next, err := o.read(cell, []byte(key), from, 2)
		if err != nil {
			return "", err
		}
		all = append(all, data...)
		if from = next; from == 0 {
			return string(all), nil
		}
	}
}

func TestTimersOfBackends(t *testing.T) {
	for name, b := range backends() {
		t.Run(name, func(t *testing.T) {
			set := func(family string, at int64, id string, clear bool) Timer {
				return Timer{Family: family, ID: []byte(id), FireAt: at, Clear: clear, Data: []byte("d" + id)}
			}
			commit := func(timers ...Timer) {
				t.Helper()
				if err := b.Commit(Commit{Timers: timers}); err != nil {
					t.Fatal(err)
				}
			}
			due := func(upTo int64, limit int) string {
				t.Helper()
				timers, err := b.Due(EventTime, upTo, limit)
				if err != nil {
					t.Fatal(err)
				}
				s := ""
				for _, x := range timers {
					s += fmt.Sprintf("%s%s@%d:%s ", x.Family, x.ID, x.FireAt, x.Data)
				}
				return s
			}
			commit(set("f", 20, "a", false), set("f", -5, "b", false), set("g", 20, "a", false), set("f", 30, "c", false))
			if got := due(20, 10); got != "fb@-5:db fa@20:da ga@20:da " {
				t.Fatal(got)
			}
			if got := due(20, 1); got != "fb@-5:db " {
				t.Fatal(got)
			}
			// Setting again moves a timer, also within a commit; clearing removes it.
			commit(set("f", 7, "b", false), set("f", 50, "a", false), set("f", 40, "a", false), set("g", 0, "a", true), set("g", 0, "z", true))
			if got := due(100, 10); got != "fb@7:db fc@30:dc fa@40:da " {
				t.Fatal(got)
			}
			commit(set("f", 0, "a", true), set("f", 0, "b", true), set("f", 0, "c", true))
			if got := due(100, 10); got != "" {
				t.Fatal(got)
			}
		})
	}
}

func TestKVBackendGoesOnWhereItWas(t *testing.T) {
	kv := storeKV{store.NewMem()}
	cell := Cell{Name: "s", Key: []byte("k")}
	for i := range 3 {
		b := NewKV(kv, []byte("p"))
		if err := b.Commit(Commit{Changes: []Change{{Op: Append, Cell: cell, Data: []byte{'a' + byte(i)}}}}); err != nil {
			t.Fatal(err)
		}
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if got, _, err := NewKV(kv, []byte("p")).Read(cell, nil, 0, 100); err != nil || string(got) != "abc" {
		t.Fatal(string(got), err)
	}
	if got, _, err := NewKV(kv, []byte("q")).Read(cell, nil, 0, 100); err != nil || len(got) != 0 {
		t.Fatal(string(got), err)
	}
}

// TestKVBackendIsThatOfTheLastSync makes random commits, syncs and ends of the
// process, and compares with a backend that has seen only what was synced.
func TestKVBackendIsThatOfTheLastSync(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := store.NewMem()
		kv := storeKV{mem}
		b := NewKV(kv, []byte("p"))
		other := NewKV(kv, []byte("q")) // is not touched
		if err := other.Commit(Commit{Changes: []Change{{Op: Append, Cell: Cell{Name: "x"}, Data: []byte("other")}}}); err != nil {
			t.Fatal(err)
		}
		var synced, since []Commit
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"commit", "commit", "commit", "sync", "end"}).Draw(t, "step") {
			case "commit":
				c := drawCommit(t)
				if err := b.Commit(c); err != nil {
					t.Fatal(err)
				}
				since = append(since, c)
			case "sync":
				if err := b.Sync(); err != nil {
					t.Fatal(err)
				}
				synced, since = append(synced, since...), nil
			case "end":
				b, since = NewKV(kv, []byte("p")), nil
			}
			want := NewMemory()
			for _, c := range append(slices.Clone(synced), since...) {
				if err := want.Commit(c); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := dump(t, b), dump(t, want); got != want {
				t.Fatalf("the state is\n%s\nwant\n%s", got, want)
			}
		}
		if got, _, err := other.Read(Cell{Name: "x"}, nil, 0, 100); err != nil || string(got) != "other" {
			t.Fatal(string(got), err)
		}
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
		base := []byte("pu")
		if err := kv.Scan(base, after(base), func(k, _ []byte) bool {
			t.Errorf("row %q is left of a checkpoint", k)
			return true
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// drawCommit draws changes of few cells and timers, so that they meet.
func drawCommit(t *rapid.T) (c Commit) {
	for range rapid.IntRange(0, 4).Draw(t, "changes") {
		c.Changes = append(c.Changes, Change{
			Op:     ChangeOp(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "op")),
			Cell:   Cell{Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "cell")},
			MapKey: []byte(rapid.SampledFrom([]string{"", "a", "a\x00"}).Draw(t, "key")),
			Data:   []byte(rapid.StringN(0, 3, 4).Draw(t, "data")),
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "timers") {
		c.Timers = append(c.Timers, Timer{
			Family: "f", ID: []byte(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "id")),
			FireAt: int64(rapid.IntRange(1, 4).Draw(t, "at")), Clear: rapid.IntRange(0, 3).Draw(t, "clear") == 0,
		})
	}
	return c
}

// dump is everything that drawCommit can have put into a backend.
func dump(t *rapid.T, b Backend) string {
	var all string
	for _, cell := range []string{"x", "y"} {
		keys, err := b.Keys(Cell{Name: cell}, nil, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			v, _, err := b.Read(Cell{Name: cell}, k, 0, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			all += fmt.Sprintf("%s %q: %q\n", cell, k, v)
		}
	}
	due, err := b.Due(EventTime, 1000, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range due {
		all += fmt.Sprintf("%s at %d\n", x.ID, x.FireAt)
	}
	return all
}

// biggest is a store that notes how much it is given at a time.
type biggest struct {
	storeKV
	bytes int
}

func (b *biggest) Apply(writes []KVWrite, sync bool) error {
	n := 0
	for _, w := range writes {
		n += len(w.Key) + len(w.Value)
	}
	b.bytes = max(b.bytes, n)
	return b.storeKV.Apply(writes, sync)
}

// A cell that is larger than what is kept at a time is cleared, and put back,
// whether its appends are deleted one by one or as a range.
func TestKVBackendPutsALargeCellBack(t *testing.T) {
	for _, chunks := range []int{pointDeletes, pointDeletes + 1} {
		t.Run(strconv.Itoa(chunks), func(t *testing.T) { putsBack(t, chunks) })
	}
}

// putsBack is TestKVBackendPutsALargeCellBack for a cell of a number of chunks.
func putsBack(t *testing.T, chunks int) {
	kv := &biggest{storeKV: storeKV{store.NewMem()}}
	b := NewKV(kv, []byte("p"))
	cell := Cell{Name: "s", Key: []byte("k")}
	chunk := bytes.Repeat([]byte("x"), undoBytes/10)
	for range chunks {
		if err := b.Commit(Commit{Changes: []Change{{Op: Append, Cell: cell, Data: chunk}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	length := func(b Backend) int {
		t.Helper()
		data, _, err := b.Read(cell, nil, 0, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		return len(data)
	}
	for range 2 { // twice in the same commit, and in another
		clearing := Change{Op: ClearAll, Cell: cell}
		if err := b.Commit(Commit{Changes: []Change{clearing, {Op: Append, Cell: cell, Data: []byte("y")}, clearing}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := length(b); n != 0 {
		t.Fatalf("%d bytes of a cell that was cleared", n)
	}
	if n := length(NewKV(kv, []byte("p"))); n != chunks*len(chunk) {
		t.Fatalf("%d bytes are back, want %d", n, chunks*len(chunk))
	}
	if kv.bytes > 2*undoBytes {
		t.Fatalf("%d bytes were written at a time", kv.bytes)
	}
}
