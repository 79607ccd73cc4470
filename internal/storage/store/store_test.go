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
