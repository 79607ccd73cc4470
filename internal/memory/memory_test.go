package memory

import "testing"

// TestSharesLeaveRoom holds the promise of the package: whatever the budget,
// all shares together leave room for garbage.
func TestSharesLeaveRoom(t *testing.T) {
	for _, budget := range []int64{0, Min, 100 << 20, 256 << 20, 1 << 30, 12 << 30, 1 << 40} {
		s := Divide(budget)
		if all := s.Spool + s.Grouping + s.Store + s.SideInputs + s.Transit; all > s.Heap/100*85 {
			t.Errorf("budget %d: the shares are %d of %d", budget, all, s.Heap)
		}
		if s.Heap+program > max(budget, Min) {
			t.Errorf("budget %d: %d for the heap", budget, s.Heap)
		}
	}
}

// TestLargeBudgets have the sizes that cost least.
func TestLargeBudgets(t *testing.T) {
	s := Divide(4 << 30)
	if s.Block() != blockMax || s.Inbox() != inboxMax || s.Window() != windowMax || s.Bundle() != bundleMax {
		t.Errorf("block %d, inbox %d, window %d, bundle %d", s.Block(), s.Inbox(), s.Window(), s.Bundle())
	}
}

// TestTransit: what is between workers and blocks keeps to its share.
func TestTransit(t *testing.T) {
	for _, budget := range []int64{256 << 20, 1 << 30, 12 << 30} {
		s := Divide(budget)
		if used := int64(blocksAtOnce/2*s.Block() + bundlesAtOnce*s.Inbox()); used > s.Transit {
			t.Errorf("budget %d: %d in transit, of %d", budget, used, s.Transit)
		}
	}
}
