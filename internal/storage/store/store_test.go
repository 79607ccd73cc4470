package store_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/store/storetest"
)

func TestMem(t *testing.T) { storetest.Run(t, store.NewMem) }

// A store that spills is a store before, while and after its rows move.
func TestSpill(t *testing.T) {
	for _, limit := range []int64{0, 100, 300, 1 << 30} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			storetest.Run(t, func() store.Store {
				return store.NewSpill(limit, func(int64) (store.Store, error) { return store.NewMem(), nil }, func(err error) { t.Error(err) })
			})
		})
	}
}

// TestSpillMoves: what is over the limit moves as a whole, once; a view of
// before stays; if there is nowhere to move to, rows stay where they are.
func TestSpillMoves(t *testing.T) {
	refuse, opened, told := true, 0, 0
	s := store.NewSpill(10_000, func(bytes int64) (store.Store, error) {
		opened++
		if bytes <= 10_000 {
			t.Errorf("moves %d bytes", bytes)
		}
		if refuse {
			return nil, errors.New("no room")
		}
		return store.NewMem(), nil
	}, func(error) { told++ })
	put := func(from, n int) {
		t.Helper()
		txn := store.NewTxn(s.Snapshot())
		for i := range n {
			txn.Set(numbered(from+i), []byte("value"))
		}
		if err := s.Apply(txn.Ops(), false); err != nil {
			t.Fatal(err)
		}
	}
	count := func(r store.Reader) (n int) {
		t.Helper()
		if err := r.Scan(nil, nil, func(_, _ []byte) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	put(0, 50)
	before := s.Snapshot()
	put(50, 100)
	if opened != 1 || told != 1 {
		t.Fatalf("opened %d times, told of %d failures, want one each", opened, told)
	}
	refuse = false
	put(150, 100)
	put(250, 100)
	if opened != 2 || told != 1 {
		t.Errorf("opened %d times, told of %d failures, want two and one", opened, told)
	}
	if got := count(s.Snapshot()); got != 350 {
		t.Errorf("%d rows, want 350", got)
	}
	if got := count(before); got != 50 {
		t.Errorf("the view of before has %d rows, want 50", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestMemBytes: what has been removed does not count any more.
func TestMemBytes(t *testing.T) {
	m := store.NewMem().(*store.Mem)
	for range 2 {
		txn := store.NewTxn(m.Snapshot())
		for i := range 100 {
			txn.Set(numbered(i), make([]byte, i))
		}
		if err := m.Apply(txn.Ops(), false); err != nil {
			t.Fatal(err)
		}
	}
	if n := m.Bytes(); n < 100*(30+49) || n > 100*(120+50) {
		t.Errorf("100 rows of 80 bytes count as %d", n)
	}
	txn := store.NewTxn(m.Snapshot())
	for i := range 50 {
		txn.Delete(numbered(i))
	}
	txn.DeleteRange(numbered(50), numbered(100))
	if err := m.Apply(txn.Ops(), false); err != nil {
		t.Fatal(err)
	}
	if n := m.Bytes(); n != 0 {
		t.Errorf("no rows count as %d", n)
	}
}

// counter counts the keys that a Txn reads from below.
type counter struct {
	store.Reader
	keys int
}

func (c *counter) Scan(lo, hi []byte, fn func(k, v []byte) bool) error {
	return c.Reader.Scan(lo, hi, func(k, v []byte) bool { c.keys++; return fn(k, v) })
}

func fill(t testing.TB, n int) store.Store {
	s := store.NewMem()
	txn := store.NewTxn(s.Snapshot())
	for i := range n {
		txn.Set(numbered(i), []byte("value"))
	}
	if err := s.Apply(txn.Ops(), false); err != nil {
		t.Fatal(err)
	}
	return s
}

func numbered(i int) []byte {
	return binary.BigEndian.AppendUint32([]byte("/some/job/and/some/table/0001/"), uint32(i))
}

func TestScanSkipsDroppedRanges(t *testing.T) {
	c := &counter{Reader: fill(t, 1000).Snapshot()}
	txn := store.NewTxn(c)
	txn.DeleteRange(numbered(0), numbered(400))
	txn.DeleteRange(numbered(401), numbered(999))
	n := 0
	if err := txn.Scan(nil, nil, func(_, _ []byte) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	if n != 2 || c.keys != 2 {
		t.Errorf("the scan gave %d keys and read %d, want 2 and 2", n, c.keys)
	}
}

type failing struct{ store.Reader }

var errRead = errors.New("read error")

func (failing) Scan(_, _ []byte, _ func(k, v []byte) bool) error { return errRead }
func (failing) Get([]byte) ([]byte, bool, error)                 { return nil, false, errRead }

func TestTxnPassesErrorsOn(t *testing.T) {
	txn := store.NewTxn(failing{})
	txn.Set([]byte("a"), nil)
	if err := txn.Scan(nil, nil, func(_, _ []byte) bool { return true }); !errors.Is(err, errRead) {
		t.Errorf("scan: %v", err)
	}
	if _, _, err := txn.Get([]byte("b")); !errors.Is(err, errRead) {
		t.Errorf("get: %v", err)
	}
	if _, ok, err := txn.Get([]byte("a")); !ok || err != nil {
		t.Errorf("get what was set: %v %v", ok, err)
	}
}

func BenchmarkTxn(b *testing.B) {
	for _, keys := range []int{100, 10_000} {
		s := fill(b, keys)
		b.Run(fmt.Sprintf("get-set/%d", keys), func(b *testing.B) {
			b.ReportAllocs()
			txn := store.NewTxn(s.Snapshot())
			for i := range b.N {
				k := numbered(i * 7919 % keys)
				v, _, _ := txn.Get(k)
				txn.Set(k, v)
			}
		})
		b.Run(fmt.Sprintf("scan-set/%d", keys), func(b *testing.B) {
			b.ReportAllocs()
			txn := store.NewTxn(s.Snapshot())
			for i := range b.N {
				k := numbered(i * 7919 % keys)
				txn.Scan(k, numbered(i*7919%keys+1), func(_, _ []byte) bool { return true })
				txn.Set(k, []byte("value"))
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	s := fill(b, 100_000)
	b.ReportAllocs()
	for i := range b.N {
		r := s.Snapshot() // as every bundle takes one
		txn := store.NewTxn(r)
		for j := range 10 {
			txn.Set(numbered((i*10+j)%100_000), []byte("other"))
		}
		s.Apply(txn.Ops(), false)
		r.Close()
	}
}
