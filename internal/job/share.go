package job

import (
	"fmt"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/model/coder"
)

// shared is what is left to a bundle after parts of it were given to others.
type shared struct {
	// first is the number of the first element that was given away.
	first int64
	// whole elements from the front remain, and so many in parts.
	whole, parts int64
}

// input is the number of elements that the harness may still get.
func (s *splitter) input() int64 {
	if s.shared != nil {
		return s.shared.first
	}
	return s.a.total()
}

// primary is the number of elements that the bundle processes.
func (s *splitter) primary() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared != nil {
		return s.shared.whole + s.shared.parts
	}
	return s.a.total()
}

// share gives what the harness has given back to others, while the bundle runs.
//
// The bundle then has a smaller input, also for further attempts: the elements
// up to the last one before the split, and the parts that remain of one in the
// middle of which the split is.
func (s *splitter) share(resp *fnpb.ProcessBundleSplitResponse) error {
	if len(resp.GetChannelSplits()) == 0 {
		return s.add(resp) // nothing, or parts of nobody knows what
	}
	if len(resp.GetChannelSplits()) > 1 {
		return fmt.Errorf("the harness answered a split of one input with %d channel splits", len(resp.GetChannelSplits()))
	}
	c := resp.GetChannelSplits()[0]
	if err := s.check(c, resp); err != nil {
		return err
	}
	last := max(c.GetLastPrimaryElement(), -1)
	first := min(c.GetFirstResidualElement(), s.input())
	roots := resp.GetResidualRoots()
	if first == s.input() && len(roots) == 0 {
		return nil // nothing was given back
	}
	if s.shared != nil && s.shared.whole < s.shared.first && first < s.shared.first {
		// An element before the one that was split before this: parts of that
		// are with others.
		return fmt.Errorf("the harness answered a split with what it had given back before: %v", c)
	}
	s.stopAt(first)
	x := &sharing{s: s, event: core.Split{Bundle: s.a.ev.Bundle, Attempt: s.a.ev.Attempt}}
	if err := x.cut(last+1, first, s.input()); err != nil {
		return err
	}
	if err := x.roots(resp); err != nil {
		return err
	}
	s.shared = &shared{first: first, whole: last + 1, parts: int64(len(resp.GetPrimaryRoots()))}
	s.tell(x.event)
	return nil
}

// sharing is a split on its way to the core.
type sharing struct {
	s     *splitter
	event core.Split
}

func (x *sharing) primary(b commit.Block) { x.event.Primary = append(x.event.Primary, b) }

func (x *sharing) residual(b commit.Block) {
	x.event.Residual = append(x.event.Residual, commit.Residual{Block: b, Hold: commit.None})
}

// made notes that a block is new.
func (x *sharing) made(then func(commit.Block)) func(commit.Block) {
	return func(b commit.Block) {
		x.event.Made = append(x.event.Made, b.ID)
		then(b)
	}
}

// cut divides the input: elements before number primary stay, those from
// number residual to end go. Blocks that are wholly on one side stay as they
// are.
func (x *sharing) cut(primary, residual, end int64) error {
	from := int64(0)
	for _, l := range x.s.a.ev.Leases {
		for _, b := range l.Blocks {
			to := from + b.Count
			var err error
			switch {
			case to <= primary:
				x.primary(b)
			case from >= residual && to <= end:
				x.residual(b)
			case from < primary || to > residual && from < end:
				err = x.cutBlock(b, from, primary, residual, end)
			}
			if err != nil {
				return err
			}
			from = to
		}
	}
	return nil
}

// cutBlock copies the parts of a block, which begins with element number at.
func (x *sharing) cutBlock(block commit.Block, at, primary, residual, end int64) error {
	s := x.s
	data, err := s.a.r.blocks.get(block.ID)
	if err != nil {
		return fmt.Errorf("read block %d: %w", block.ID, err)
	}
	stay := newBuilder(s.a.r.blocks, false, x.made(x.primary))
	leave := newBuilder(s.a.r.blocks, s.a.s.plan.Splittable || s.a.s.plan.Spread, x.made(x.residual))
	leave.limit = s.a.r.maxInput(s.a.s.plan)
	err = s.a.s.input.eachElement(data, func(e *coder.Element) error {
		at++
		switch n := at - 1; {
		case n < primary:
			return s.put(stay, e)
		case n >= residual && n < end:
			return s.put(leave, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := stay.flush(); err != nil {
		return err
	}
	return leave.flush()
}

// roots adds the parts of an element in the middle of which the split is.
func (x *sharing) roots(resp *fnpb.ProcessBundleSplitResponse) error {
	for _, app := range resp.GetPrimaryRoots() {
		b, err := x.s.application(app)
		if err != nil {
			return err
		}
		x.made(x.primary)(b)
	}
	for _, root := range resp.GetResidualRoots() {
		res, err := x.s.residual(root)
		if err != nil {
			return err
		}
		x.event.Made = append(x.event.Made, res.Block.ID)
		x.event.Residual = append(x.event.Residual, res)
	}
	return nil
}
