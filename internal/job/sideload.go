package job

import (
	"context"
	"errors"
	"io"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/shuffle"
)

// errLarge: a multimap that is complete does not fit in memory.
var errLarge = errors.New("the side input does not fit in memory")

// rowValueBytes is about how large the value of a row is that has several of the
// multimap's values.
const rowValueBytes = 64 << 10

// load makes rows of a multimap that is complete, from all of its blocks. They
// are sorted first, as the rows are: a store takes what comes in order at a
// fraction of the price.
func (s *sideInput) load() (taken []takenSide, err error) {
	for win, w := range s.windows {
		if err := s.dropWindow(win, w); err != nil {
			return nil, err
		}
	}
	rows, err := s.room.store()
	if err != nil {
		return nil, err
	}
	s.rows, s.loaded = &sideRows{store: rows, prefix: s.prefix, noKeys: true}, true
	sorting := *s.windowed
	sorting.Merging, sorting.CustomMerge = false, false
	cfg := shuffle.Config{
		Scanner: s.coll.scanner, KV: s.coll.elem, Strategy: &sorting, MemoryBudget: s.room.limit, Dir: s.dir,
	}
	// The context is that of the side input, which others wait for, too.
	if err := shuffle.Group(context.Background(), s.eachFresh(), cfg, s.loadGroup); err != nil {
		return nil, err
	}
	last := timestamp.Min
	for _, w := range s.windows {
		last = max(last, w.end)
	}
	for _, side := range s.fresh {
		taken = append(taken, takenSide{side, last})
	}
	return taken, nil
}

// eachFresh hands out the blocks.
func (s *sideInput) eachFresh() func() ([]byte, error) {
	left := s.fresh
	return func() ([]byte, error) {
		if len(left) == 0 {
			return nil, io.EOF
		}
		data, err := s.blocks.get(left[0].Block)
		left = left[1:]
		return data, err
	}
}

// loadGroup makes rows of what a key has in a window.
func (s *sideInput) loadGroup(g *shuffle.Grouped) error {
	w, err := s.window(g.Window)
	if err != nil {
		return err
	}
	if err := w.keys.add(g.Key, s.blocks); err != nil {
		return err
	}
	var run []byte
	count := 0
	flush := func() error {
		n := count
		count = 0
		return s.rows.add(g.Window, g.Key, n, run)
	}
	err = g.Values(func(v []byte) error {
		run = append(run, v...)
		if count++; len(run) < rowValueBytes {
			return nil
		}
		err := flush()
		run = run[:0]
		return err
	})
	if err != nil || count == 0 {
		return err
	}
	return flush()
}
