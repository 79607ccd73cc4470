package durable

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pharos-beam/pharos/operator"
)

var cell = operator.Cell{Transform: "t", Name: "s", Key: []byte("k")}

// bundle appends to state and sets a timer.
func bundle(t *testing.T, b operator.Backend, n int) {
	t.Helper()
	err := b.Commit(operator.Commit{
		Changes: []operator.Change{{Op: operator.Append, Cell: cell, Data: fmt.Appendf(nil, "%d ", n)}},
		Timers:  []operator.Timer{{Family: "f", ID: []byte{byte(n)}, FireAt: int64(n)}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// have returns the state and how many timers there are.
func have(t *testing.T, b operator.Backend) (string, int) {
	t.Helper()
	data, _, err := b.Read(cell, nil, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	due, err := b.Due(operator.EventTime, 1<<40, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), len(due)
}

func TestStateIsThatOfTheLastCheckpoint(t *testing.T) {
	dir := t.TempDir()
	want := ""
	for n := range 3 {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		b := operator.NewKV(s, []byte("x/"))
		bundle(t, b, n)
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
		want += fmt.Sprintf("%d ", n)
		bundle(t, b, 100+n) // is undone with the next open
		if state, timers := have(t, b); state != want+fmt.Sprintf("%d ", 100+n) || timers != n+2 {
			t.Fatal(state, timers)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(dir); err != nil {
			t.Fatal(err)
		}
		if state, timers := have(t, operator.NewKV(s, []byte("x/"))); state != want || timers != n+1 {
			t.Fatal(state, timers)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// positioned adds an engine's position to each checkpoint.
type positioned struct {
	operator.KVStore
	position byte
}

func (p *positioned) Apply(writes []operator.KVWrite, sync bool) error {
	if sync {
		writes = append(writes, operator.KVWrite{Key: []byte("position"), Value: []byte{p.position}})
	}
	return p.KVStore.Apply(writes, sync)
}

// TestCrashGoesBackToTheCheckpoint loses nothing, some or all of what was not
// synced, and finds the state and the position of the last checkpoint: an engine
// that goes on from there sees each bundle once.
func TestCrashGoesBackToTheCheckpoint(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s, err := open("state", fs)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kv := &positioned{KVStore: s}
	b := operator.NewKV(kv, []byte("op/"))
	const bundles = 60
	for n := range bundles {
		bundle(t, b, n)
		if kv.position = byte(n + 1); n%7 == 6 {
			if err := b.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		for _, percent := range []int{0, 50, 100} {
			restart(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(n), 1))}), n, bundles)
		}
	}
}

// restart opens what a crash after bundle n has left, and goes on to the end.
func restart(t *testing.T, fs vfs.FS, n, end int) {
	t.Helper()
	s, err := open("state", fs)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	position, _, err := s.Get([]byte("position"))
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	if len(position) > 0 {
		first = int(position[0])
	}
	if want := (n + 1) / 7 * 7; first != want {
		t.Fatalf("after bundle %d the position is %d, want %d", n, first, want)
	}
	b := operator.NewKV(s, []byte("op/"))
	want := ""
	for i := range end {
		if i == first {
			if state, timers := have(t, b); timers != first || state != want {
				t.Fatalf("after bundle %d there are %d timers and %q, want those of %d", n, timers, state, first)
			}
		}
		if i >= first {
			bundle(t, b, i)
		}
		want += fmt.Sprintf("%d ", i)
	}
	if state, timers := have(t, b); timers != end || state != want {
		t.Fatalf("at the end there are %d timers and %q", timers, state)
	}
}
