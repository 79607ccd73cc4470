package durable

import (
	"fmt"
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

func TestStateIsThereAfterAnotherOpen(t *testing.T) {
	dir := t.TempDir()
	want := ""
	for n := range 3 {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		b := operator.NewKV(s, []byte("x/"))
		bundle(t, b, n)
		want += fmt.Sprintf("%d ", n)
		if state, timers := have(t, b); state != want || timers != n+1 {
			t.Fatal(state, timers)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashKeepsWholeBundles loses what was not synced, at random, and finds
// everything up to the checkpoint and whole bundles behind it.
func TestCrashKeepsWholeBundles(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s, err := open("state", fs)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := operator.NewKV(s, nil)
	for n := range 20 {
		bundle(t, b, n)
		if n == 9 {
			if err := b.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	c, err := open("state", after)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	state, timers := have(t, operator.NewKV(c, nil))
	want := ""
	for n := range timers {
		want += fmt.Sprintf("%d ", n)
	}
	if timers < 10 || state != want {
		t.Fatalf("%d timers, state %q", timers, state)
	}
}
