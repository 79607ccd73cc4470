package core

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/plan"
)

// Blocks that have to wait do not make room for others that do not.
func TestLimitCountsWhatIsTaken(t *testing.T) {
	coll := &plan.Collection{ID: "c", Bounded: true}
	c := New(&plan.Plan{Stages: []*plan.Stage{{Kind: plan.SDK, Keyed: true, Environment: "e", Input: coll}}},
		Config{Shards: 1, InputBytes: map[string]int64{"e": 100}})
	s := c.stages[0]
	for i := range 5 {
		it := item{Block: commit.Block{ID: uint64(i), Count: 1, Bytes: 1}}
		if i > 0 {
			it.Block.Bytes = 60
		} else {
			it.ReadyMS = 1 << 40
		}
		s.push(it)
	}
	c.launchShards(s, []int{0}, true)
	if l := c.effects[0].(StartBundle).Leases[0]; len(l.Blocks) != 1 || l.Blocks[0].ID != 1 {
		t.Errorf("leased %v, want one block of 60 bytes", l.Blocks)
	}
}
