package job

import (
	"fmt"
	"slices"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/spool"
)

func testBlocks(t *testing.T) *blocks {
	t.Helper()
	s, err := spool.Open(spool.Options{Dir: t.TempDir(), MemoryBudget: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return newBlocks(s, 0)
}

// stringColl is a collection of strings in the global window.
func stringColl(t *testing.T) *collection {
	t.Helper()
	spec := func(urn string) *pipepb.Coder { return &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: urn}} }
	r := &runner{plan: &plan.Plan{Coders: map[string]*pipepb.Coder{"s": spec(urn.CoderStringUTF8), "w": spec(urn.CoderGlobalWindow)}}}
	c, err := r.collection(&plan.Collection{Coder: "s", WindowCoder: "w"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encodeString(s string) []byte {
	b := coder.AppendHeader(nil, timestamp.Min, nil, 1, coder.NoFiring)
	return append(coder.AppendVarint(b, uint64(len(s))), s...)
}

// Elements that bundles wrote to several shards come back in the order in which
// the bundles began, and within a bundle as written.
func TestArrival(t *testing.T) {
	const shards = 4
	r := &runner{blocks: testBlocks(t)}
	leases := make([]core.Lease, shards)
	var want []string
	for _, bundle := range []uint64{7, 3, 5} { // order of commit
		var builders [shards]*builder
		for i := range builders {
			leases[i].Shard = i
			builders[i] = newBuilder(r.blocks, false, func(b commit.Block) { leases[i].Blocks = append(leases[i].Blocks, b) })
			builders[i].order = &arrival{bundle: bundle}
		}
		for n := range 20 {
			s := fmt.Sprintf("%d-%02d", bundle, n)
			b := builders[n*7%shards]
			b.order.note(int64(n + 1))
			if err := b.add(encodeString(s), timestamp.Min); err != nil {
				t.Fatal(err)
			}
			want = append(want, s)
			if n == 10 { // a block need not be the only one
				if err := b.flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, b := range builders {
			if err := b.flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(want)
	a := &attempt{r: r, s: &stage{plan: &plan.Stage{}, input: stringColl(t)}, ev: core.StartBundle{Leases: leases}}
	all, ok, err := a.arrived()
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	var got []string
	err = a.s.input.eachElement(all, func(e *coder.Element) error {
		got = append(got, string(e.Value[1:]))
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, want %v (%v)", got, want, err)
	}
}

func TestArrivalOfMuchIsNotKept(t *testing.T) {
	r := &runner{blocks: testBlocks(t)}
	var made []commit.Block
	b := newBuilder(r.blocks, false, func(b commit.Block) { made = append(made, b) })
	b.order = &arrival{bundle: 1}
	for n := range int64(arrivalElements + 1) {
		b.order.note(n + 1)
		if err := b.add(encodeString("x"), timestamp.Min); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.flush(); err != nil || len(made) != 1 || r.blocks.order(made[0].ID) != nil {
		t.Errorf("blocks %v, order %v, %v", made, r.blocks.order(made[0].ID), err)
	}
}

// Blocks for an SDK that takes no more than so much at a time are no larger,
// except for one element.
func TestBlockLimit(t *testing.T) {
	var made []commit.Block
	b := newBuilder(testBlocks(t), false, func(b commit.Block) { made = append(made, b) })
	b.limit = 100
	for _, size := range []int{60, 60, 30, 500, 10, 10} {
		if err := b.add(make([]byte, size), timestamp.Min); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	var sizes []int64
	for _, m := range made {
		sizes = append(sizes, m.Bytes)
	}
	if want := []int64{60, 90, 500, 20}; !slices.Equal(sizes, want) {
		t.Errorf("blocks of %v bytes, want %v", sizes, want)
	}
}
