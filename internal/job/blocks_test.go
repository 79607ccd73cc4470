package job

import (
	"context"
	"log/slog"
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/storage/spool"
)

func newTestBlocks(t *testing.T) *blocks {
	sp, err := spool.Open(spool.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sp.Close() })
	return newBlocks(sp, 0)
}

// Blocks that are held or pinned go when nobody needs them any more, and others
// at once.
func TestDroppedBlocksWaitForReaders(t *testing.T) {
	b := newTestBlocks(t)
	put := func() commit.Block {
		id, err := b.put([]byte("data"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return commit.Block{ID: id}
	}
	there := func(want bool, blocks ...commit.Block) {
		t.Helper()
		for _, x := range blocks {
			if _, err := b.get(x.ID); (err == nil) != want {
				t.Errorf("block %d: %v, want it to be there: %v", x.ID, err, want)
			}
		}
	}
	held, other, kept := put(), put(), put()
	b.hold([]commit.Block{held, kept})
	b.drop(held.ID, other.ID)
	there(false, other)
	there(true, held)
	b.pin()
	b.letGo([]commit.Block{held, kept})
	there(true, held, kept)
	b.unpin()
	there(false, held)
	there(true, kept)
	b.letGo([]commit.Block{kept}) // once more
	b.drop(kept.ID)
	there(false, kept)
}

// A broken invariant while blocks are looked through is an error, and holds
// nothing for ever.
func TestLookingThroughIsGuarded(t *testing.T) {
	r := &runner{blocks: newTestBlocks(t), log: slog.New(slog.DiscardHandler)}
	list := []commit.Block{{ID: 1}}
	r.blocks.hold(list)
	x := r.lookThrough(context.Background(), map[int][]commit.Block{7: list}, []uint64{2})
	if x.err == nil || len(x.gone) > 0 || len(r.blocks.held) > 0 {
		t.Errorf("got %v, %d blocks are held", x, len(r.blocks.held))
	}
}
