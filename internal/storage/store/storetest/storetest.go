// Package storetest is the conformance suite of store.Store.
package storetest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// Run tests a kind of store. open returns an empty one.
func Run(t *testing.T, open func() store.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"OpsApplyInOrder", opsApplyInOrder},
		{"BadBatchChangesNothing", badBatch},
		{"SnapshotsDoNotChange", snapshots},
		{"ScanStopsAndBounds", scans},
		{"OpsAreNotKept", opsAreNotKept},
		{"BatchesAreAtomic", atomic},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open()
			c.test(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	t.Run("Closed", func(t *testing.T) { closed(t, open()) })
	t.Run("Model", func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { model(t, open()) }) })
}

func set(k, v string) keyspace.Op {
	return keyspace.Op{Kind: keyspace.Set, Key: []byte(k), Value: []byte(v)}
}
func del(k string) keyspace.Op { return keyspace.Op{Kind: keyspace.Delete, Key: []byte(k)} }
func delRange(lo, hi string) keyspace.Op {
	return keyspace.Op{Kind: keyspace.DeleteRange, Key: []byte(lo), Value: []byte(hi)}
}

func apply(t testing.TB, s store.Store, ops ...keyspace.Op) {
	t.Helper()
	if err := s.Apply(ops, true); err != nil {
		t.Fatal(err)
	}
}

// dump is everything in [lo, hi) as text.
func dump(t interface{ Fatal(...any) }, r interface {
	Scan(lo, hi []byte, fn func(k, v []byte) bool) error
}, lo, hi []byte) string {
	var b bytes.Buffer
	err := r.Scan(lo, hi, func(k, v []byte) bool {
		fmt.Fprintf(&b, "%s=%s ", k, v)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func want(t testing.TB, s store.Store, want string) {
	t.Helper()
	r := s.Snapshot()
	defer r.Close()
	if got := dump(t, r, nil, nil); got != want {
		t.Errorf("have %q, want %q", got, want)
	}
}

func opsApplyInOrder(t *testing.T, s store.Store) {
	apply(t, s, set("a", "1"), set("b", "1"), set("c", "1"), del("a"), delRange("b", "c"), set("b", "2"), set("c", "2"), del("x"))
	want(t, s, "b=2 c=2 ")
	apply(t, s, keyspace.Op{Kind: keyspace.DeleteRange, Key: []byte("c")}) // no upper bound
	want(t, s, "b=2 ")
	apply(t, s, set("", ""), delRange("c", "b"))
	want(t, s, "= b=2 ")
	apply(t, s)
}

func badBatch(t *testing.T, s store.Store) {
	if err := s.Apply([]keyspace.Op{set("a", "1"), {Kind: 77}}, true); err == nil {
		t.Error("no error")
	}
	want(t, s, "")
}

func snapshots(t *testing.T, s store.Store) {
	apply(t, s, set("a", "1"), set("b", "1"))
	r := s.Snapshot()
	apply(t, s, set("a", "2"), del("b"), set("c", "2"))
	if got := dump(t, r, nil, nil); got != "a=1 b=1 " {
		t.Errorf("the snapshot has changed to %q", got)
	}
	if v, ok, err := r.Get([]byte("b")); string(v) != "1" || !ok || err != nil {
		t.Errorf("get b: %q %v %v", v, ok, err)
	}
	if _, ok, err := r.Get([]byte("c")); ok || err != nil {
		t.Errorf("get c: %v %v", ok, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	want(t, s, "a=2 c=2 ")
}

func scans(t *testing.T, s store.Store) {
	apply(t, s, set("a", "1"), set("b", "1"), set("ba", "1"), set("c", "1"))
	r := s.Snapshot()
	defer r.Close()
	for _, c := range []struct{ lo, hi, want string }{
		{"a", "c", "a=1 b=1 ba=1 "}, {"b", "b", ""}, {"b", "ba", "b=1 "}, {"c", "a", ""}, {"aa", "bb", "b=1 ba=1 "}, {"d", "e", ""},
	} {
		if got := dump(t, r, []byte(c.lo), []byte(c.hi)); got != c.want {
			t.Errorf("scan [%s, %s): %q, want %q", c.lo, c.hi, got, c.want)
		}
	}
	n := 0
	if err := r.Scan(nil, nil, func(_, _ []byte) bool { n++; return n < 2 }); n != 2 || err != nil {
		t.Errorf("the scan made %d calls after it was stopped at 2, %v", n, err)
	}
}

func opsAreNotKept(t *testing.T, s store.Store) {
	k, v := []byte("key"), []byte("value")
	apply(t, s, keyspace.Op{Kind: keyspace.Set, Key: k, Value: v})
	k[0], v[0] = 'X', 'X'
	want(t, s, "key=value ")
}

// atomic has readers look for half a batch.
func atomic(t *testing.T, s store.Store) {
	const batches = 200
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-done:
					return
				default:
				}
				r := s.Snapshot()
				a, _, _ := r.Get([]byte("a"))
				b, _, _ := r.Get([]byte("b"))
				if !bytes.Equal(a, b) {
					t.Errorf("half a batch: a=%s b=%s", a, b)
				}
				r.Close()
			}
		}()
	}
	for i := range batches {
		v := fmt.Sprint(i)
		if err := s.Apply([]keyspace.Op{delRange("a", "z"), set("a", v), set("b", v)}, false); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
}

func closed(t *testing.T, s store.Store) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply([]keyspace.Op{set("a", "1")}, false); err == nil {
		t.Error("apply to a closed store succeeds")
	}
	if _, _, err := s.Snapshot().Get([]byte("a")); err == nil {
		t.Error("get from a closed store succeeds")
	}
}

// key draws from few keys, so that operations meet.
var key = rapid.SliceOfN(rapid.SampledFrom([]byte("abc")), 0, 3)

// hi also draws "no bound".
var hi = rapid.OneOf(key, key, key, rapid.Just([]byte(nil)))

// model compares the store, and transactions over it, with a map.
func model(t *rapid.T, s store.Store) {
	defer s.Close()
	committed := Map{}
	for range rapid.IntRange(1, 4).Draw(t, "transactions") {
		r := s.Snapshot()
		txn := store.NewTxn(r)
		mine := committed.clone()
		for range rapid.IntRange(0, 12).Draw(t, "operations") {
			operate(t, txn, mine)
			check(t, txn, mine)
		}
		if got := dump(t, r, []byte{}, nil); got != dump(t, committed, []byte{}, nil) {
			t.Fatalf("the transaction leaks")
		}
		if rapid.Bool().Draw(t, "commit") {
			checkOps(t, txn.Ops())
			if err := s.Apply(txn.Ops(), false); err != nil {
				t.Fatal(err)
			}
			committed = mine
		}
		r.Close()
		r = s.Snapshot()
		if got, want := dump(t, r, []byte{}, nil), dump(t, committed, []byte{}, nil); got != want {
			t.Fatalf("the store has %q, want %q", got, want)
		}
		r.Close()
	}
}

func operate(t *rapid.T, txn *store.Txn, m Map) {
	k := key.Draw(t, "key")
	switch rapid.IntRange(0, 3).Draw(t, "operation") {
	case 0, 1:
		v := []byte(rapid.StringMatching(`[0-9]{0,2}`).Draw(t, "value"))
		txn.Set(k, v)
		m[string(k)] = string(v)
	case 2:
		txn.Delete(k)
		delete(m, string(k))
	case 3:
		end := hi.Draw(t, "hi")
		txn.DeleteRange(k, end)
		m.deleteRange(k, end)
	}
}

func check(t *rapid.T, txn *store.Txn, m Map) {
	k := key.Draw(t, "get")
	v, ok, err := txn.Get(k)
	if want, there := m[string(k)]; string(v) != want || ok != there || err != nil {
		t.Fatalf("get %s: %q %v %v, want %q %v", k, v, ok, err, want, there)
	}
	lo, end := key.Draw(t, "lo"), hi.Draw(t, "hi")
	got, want := dump(t, txn, lo, end), dump(t, m, lo, end)
	if got != want {
		t.Fatalf("scan [%s, %s) nil=%v: %q, want %q", lo, end, end == nil, got, want)
	}
	limit := rapid.IntRange(1, 3).Draw(t, "limit")
	n := 0
	txn.Scan(lo, end, func(_, _ []byte) bool { n++; return n < limit })
	if n > limit {
		t.Fatalf("a scan stopped after %d made %d calls", limit, n)
	}
	if (txn.Bytes() == 0) != (len(txn.Ops()) == 0) || txn.Bytes() < 0 {
		t.Fatalf("%d ops of %d bytes", len(txn.Ops()), txn.Bytes())
	}
}

// checkOps finds ops that are not minimal: ranges that overlap or touch, a key
// named twice, a key deleted that a range deletes too.
func checkOps(t *rapid.T, ops []keyspace.Op) {
	var ranges []keyspace.Op
	var last []byte
	for i, op := range ops {
		if op.Kind == keyspace.DeleteRange {
			if n := len(ranges); n < i || n > 0 && (ranges[n-1].Value == nil || bytes.Compare(ranges[n-1].Value, op.Key) >= 0) {
				t.Fatalf("range deletions out of order: %v", ops)
			}
			ranges = append(ranges, op)
			continue
		}
		if i > len(ranges) && bytes.Compare(last, op.Key) >= 0 {
			t.Fatalf("op %d is out of order: %v", i, ops)
		}
		last = op.Key
		for _, r := range ranges {
			in := bytes.Compare(r.Key, op.Key) <= 0 && (r.Value == nil || bytes.Compare(op.Key, r.Value) < 0)
			if in && op.Kind == keyspace.Delete {
				t.Fatalf("op %d deletes what is gone: %v", i, ops)
			}
		}
	}
}
