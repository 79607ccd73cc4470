package sim

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// move ends the process, like restart, and begins another job from a snapshot of
// what is in the store: with another name, in another store and spool, with
// another number of shards, maybe without fusion.
func (w *world) move() {
	w.moves--
	w.tracef("MOVE")
	w.die()
	if err := w.carryOver(); err != nil {
		w.fail("move to another job: %v", err)
		return
	}
	w.begin()
}

func (w *world) carryOver() error {
	dir, err := os.MkdirTemp(w.dir, "snapshot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "a.snapshot")
	if err := w.open(); err != nil { // an executor that has what the store has
		return err
	}
	if err := w.exec.Snapshot(path, w.proto); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := w.spool.Close(); err != nil {
		return err
	}
	w.job += "'"
	w.cfg.shards = []int{1, 2, 4, 16}[w.rng.IntN(4)]
	w.cfg.plan.NoFusion = w.cfg.plan.NoFusion || w.rng.IntN(2) == 0
	if err := w.build(); err != nil {
		return err
	}
	if err := w.keep(); err != nil {
		return err
	}
	w.tracef("%s", w.plan)
	if err := w.open(); err != nil {
		return err
	}
	lost, err := w.exec.Restore(path, w.proto)
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("left behind: %q", lost)
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return w.open()
}

// keep makes a store and a spool.
func (w *world) keep() (err error) {
	elsewhere := func(int64) (store.Store, error) { return store.NewMem(), nil }
	w.store = store.NewSpill(w.cfg.rowMemory, elsewhere, func(error) {})
	w.spool, err = spool.Open(spool.Options{Dir: w.dir, MemoryBudget: w.cfg.spoolMemory})
	return err
}
