package durable

import (
	"encoding/binary"
	"testing"

	"github.com/pharos-beam/pharos/operator"
)

// BenchmarkCommit replaces the values of a thousand keys in each commit, as a
// bundle does that keeps an accumulator for each key, with a Sync after each
// tenth.
func BenchmarkCommit(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	backend := operator.NewKV(s, []byte("bench/"))
	const keys, all = 1000, 20_000
	value := make([]byte, 64)
	for i := range b.N {
		var c operator.Commit
		for k := range keys {
			cell := operator.Cell{Transform: "t", Name: "sum", Key: binary.BigEndian.AppendUint32(nil, uint32((i*keys+k*7)%all))}
			c.Changes = append(c.Changes, operator.Change{Op: operator.Clear, Cell: cell},
				operator.Change{Op: operator.Append, Cell: cell, Data: value})
		}
		if err := backend.Commit(c); err != nil {
			b.Fatal(err)
		}
		if i%10 == 9 {
			if err := backend.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
