package cli

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/internal/memory"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store/lsmstore"
)

// A try to move rows to disk that failed half-way leaves some there. The next
// one must not find them: they may have been deleted since.
func TestRowsMoveToAnEmptyFolder(t *testing.T) {
	temp := t.TempDir()
	stale, err := lsmstore.Open(lsmstore.Options{Dir: filepath.Join(temp, "store"), MemoryBudget: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := stale.Apply([]keyspace.Op{{Kind: keyspace.Set, Key: []byte("stale"), Value: []byte("value")}}, true); err != nil {
		t.Fatal(err)
	}
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := openRows(EngineConfig{Config: Config{Log: slog.New(slog.DiscardHandler)}}, memory.Shares{Heap: 1 << 30, Store: 1 << 20}, temp)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const n = 2000
	for i := range n {
		op := keyspace.Op{Kind: keyspace.Set, Key: fmt.Appendf(nil, "row %04d", i), Value: make([]byte, 1000)}
		if err := r.Apply([]keyspace.Op{op}, false); err != nil {
			t.Fatal(err)
		}
	}
	if r.disk.Load() == nil {
		t.Fatal("the rows have not moved")
	}
	view := r.Snapshot()
	defer view.Close()
	found := 0
	if err := view.Scan(nil, nil, func(key, _ []byte) bool {
		if string(key) == "stale" {
			t.Error("a row of the try before is there")
		} else {
			found++
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if found != n {
		t.Errorf("%d rows, want %d", found, n)
	}
}

func TestHasRoom(t *testing.T) {
	dir := t.TempDir()
	if err := hasRoom(dir, 1); err != nil {
		t.Error(err)
	}
	if err := hasRoom(dir, 1<<62); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want no room", err)
	}
}
