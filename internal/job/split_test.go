package job

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/model/monitoring"
	"github.com/pharos-beam/pharos/internal/plan"
)

// bareSplitter is the splitter of a bundle of n elements.
func bareSplitter(n int64) *splitter {
	r := &runner{log: slog.New(slog.DiscardHandler)}
	a := &attempt{r: r, ev: core.StartBundle{Leases: []core.Lease{{Blocks: []commit.Block{{Count: n}}}}}}
	a.split = newSplitter(a)
	a.split.source = &chunks{a: a, stop: -1}
	return a.split
}

func splitAt(last, first int64) *fnpb.ProcessBundleSplitResponse {
	return &fnpb.ProcessBundleSplitResponse{ChannelSplits: []*fnpb.ProcessBundleSplitResponse_ChannelSplit{
		{LastPrimaryElement: last, FirstResidualElement: first}}}
}

// Parts of element 5 are with others: who gives back what is before it would
// have them twice.
func TestSplitOfWhatIsGone(t *testing.T) {
	s := bareSplitter(10)
	s.shared = &shared{first: 6, whole: 5, parts: 1}
	if err := s.answered(splitAt(2, 3), true); err == nil || !strings.Contains(err.Error(), "given back before") {
		t.Errorf("error %v", err)
	}
}

func TestCheckpointWithAGap(t *testing.T) {
	if err := bareSplitter(10).answered(splitAt(2, 4), false); err == nil || !strings.Contains(err.Error(), "gap") {
		t.Errorf("error %v", err)
	}
	if err := bareSplitter(10).answered(splitAt(9, 12), false); err != nil {
		t.Errorf("a split behind the input: %v", err)
	}
}

// A broken invariant where the harness' data is handled fails the attempt.
func TestPanicsAreErrors(t *testing.T) {
	s := bareSplitter(10)
	s.a.s = nil
	resp := splitAt(2, 3)
	resp.ResidualRoots = []*fnpb.DelayedBundleApplication{{}}
	if err := s.answered(resp, true); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("error %v", err)
	}
	c := &chunks{a: s.a, stop: -1, blocks: []uint64{1}}
	if _, err := c.Next(context.Background()); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("error %v", err)
	}
}

// The progress of a bundle that has ended does not count beside what it has
// committed.
func TestLateProgress(t *testing.T) {
	d := &driver{j: &Job{}, running: map[uint64]*execution{2: {}}}
	d.handle(progressed{1, &execution{}, nil, &monitoring.Set{}})
	d.handle(progressed{2, &execution{}, nil, &monitoring.Set{}}) // of an earlier attempt
	if len(d.j.metrics.live) != 0 {
		t.Errorf("%d live sets", len(d.j.metrics.live))
	}
	d.handle(progressed{2, d.running[2], nil, &monitoring.Set{}})
	if len(d.j.metrics.live) != 1 {
		t.Errorf("%d live sets", len(d.j.metrics.live))
	}
}

// What an attempt has kept for its record is lost with it: what is given back
// after that must not make the input smaller, or the next attempt would have
// neither.
func TestNothingIsSharedAfterACheckpoint(t *testing.T) {
	s := bareSplitter(10)
	if err := s.answered(splitAt(6, 7), false); err != nil {
		t.Fatal(err)
	}
	if err := s.answered(splitAt(3, 4), true); err != nil {
		t.Fatal(err)
	}
	if s.shared != nil || s.source.stop != 4 {
		t.Errorf("shared %v, stops at %d; want nothing and 4", s.shared, s.source.stop)
	}
}

// A checkpoint after a part was shared does not touch blocks that others have,
// and may be done with.
func TestCheckpointAfterSharing(t *testing.T) {
	a := &attempt{r: &runner{blocks: testBlocks(t)}, s: &stage{plan: &plan.Stage{}, input: stringColl(t)}, record: &commit.Record{}}
	a.split = newSplitter(a)
	var lease core.Lease
	for _, text := range []string{"a", "b", "c"} {
		b := newBuilder(a.r.blocks, false, func(b commit.Block) { lease.Blocks = append(lease.Blocks, b) })
		if err := b.add(encodeString(text), 0); err != nil {
			t.Fatal(err)
		}
		if err := b.flush(); err != nil {
			t.Fatal(err)
		}
	}
	a.ev.Leases = []core.Lease{lease}
	a.split.shared = &shared{first: 2, whole: 2}
	a.r.blocks.drop(lease.Blocks[2].ID)
	if err := a.split.rest(1); err != nil {
		t.Fatal(err)
	}
	if len(a.record.Residual) != 1 || a.record.Residual[0].Block.Count != 1 {
		t.Errorf("left: %v, want one element", a.record.Residual)
	}
}
