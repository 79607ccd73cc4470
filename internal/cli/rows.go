package cli

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/pharos-beam/pharos/internal/memory"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/store/lsmstore"
)

// rows is where an engine keeps rows: state, timers, queues.
type rows struct {
	store.Store
	disk atomic.Pointer[lsmstore.Store] // nil while all of them are in memory
}

// openRows opens the store: on disk if jobs are durable, else in memory, from
// where rows move to a temporary folder when their share of the memory is used
// up.
func openRows(c EngineConfig, shares memory.Shares, temp string) (*rows, error) {
	r := &rows{}
	failed := storeFailed(c.Log, c.Durable)
	open := func(o lsmstore.Options) (store.Store, error) {
		o.MemoryBudget, o.Log, o.Fatal = shares.Store, c.Log, failed
		disk, err := lsmstore.Open(o)
		if err != nil {
			return nil, err
		}
		r.disk.Store(disk)
		tuneGC(shares.Heap - shares.Store) // most of what it takes is outside of Go's heap
		return disk, nil
	}
	if !c.Durable {
		tuneGC(shares.Heap)
		spilled := func(bytes int64) (store.Store, error) {
			dir := filepath.Join(temp, "store")
			if err := hasRoom(temp, roomFactor*bytes); err != nil {
				return nil, err
			}
			if err := os.RemoveAll(dir); err != nil { // of a try before: rows in it may be gone by now
				return nil, err
			}
			return open(lsmstore.Options{Dir: dir, NoLog: true})
		}
		r.Store = store.NewSpill(shares.Store, spilled, func(err error) {
			r.disk.Store(nil)
			tuneGC(shares.Heap)
			c.Log.Warn("state and timers need more memory than they should, and cannot go to disk", "err", err)
		})
		return r, nil
	}
	disk, err := open(lsmstore.Options{Dir: filepath.Join(c.Dir, "store"), Failed: failed})
	if err != nil {
		return nil, err
	}
	r.Store = disk
	return r, nil
}

// storeFailed ends the process when a store cannot go on. Durable jobs, which have
// done nothing wrong, then go on after a restart; others have lost their rows.
func storeFailed(log *slog.Logger, durable bool) func(error) {
	jobs := "its jobs are lost"
	if durable {
		jobs = "jobs go on when it is started again"
	}
	return func(err error) {
		log.Error("the server ends because its store failed; "+jobs, "err", err)
		os.Exit(exitFailed)
	}
}

// roomFactor is how many times the bytes of the rows must be free before they move
// to disk: they grow further, and are written again as files are merged.
const roomFactor = 2

// hasRoom says whether so many bytes are free in the file system of a folder; also
// if that cannot be known.
func hasRoom(dir string, bytes int64) error {
	if free, err := lsmstore.Free(dir); err == nil && free < bytes {
		return fmt.Errorf("%s has room for %d bytes only, not for %d", dir, free, bytes)
	}
	return nil
}
