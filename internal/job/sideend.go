package job

import (
	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// sideGraceMS is how long, in event time, a window of a side input is kept beyond
// the last element that should ask for it: what no GroupByKey has dropped for
// being late may come later still.
const sideGraceMS = 10 * 60 * 1000

// expireSides gives back the windows of side inputs that no element can ask for
// any more, and notes in the record which blocks are not needed after a restart.
func (a *attempt) expireSides() error {
	if a.s.strategy == nil || a.ev.Watermark >= timestamp.EndOfGlobalWindow {
		return nil // the end of the stage is near
	}
	oldest := a.ev.Watermark.Add(-a.s.strategy.AllowedLatenessMS - sideGraceMS)
	for _, s := range a.s.sides {
		gone, err := s.expire(s.windowed.SideEnd(oldest))
		if err != nil {
			return err
		}
		for _, t := range gone {
			a.expired = append(a.expired, expiredSide{s, t})
			a.record.Forget(t.Side)
		}
	}
	return nil
}

// expiredSide is a block that a record says is not needed any more.
type expiredSide struct {
	of    *sideInput
	block takenSide
}

// keepSides undoes what the record of a failed attempt would have said.
func (a *attempt) keepSides() {
	for _, x := range a.expired {
		x.of.mu.Lock()
		x.of.taken = append(x.of.taken, x.block)
		x.of.mu.Unlock()
	}
	a.expired = nil
}

// expire drops the windows that end before a time. It returns the blocks in
// which there is nothing else.
func (s *sideInput) expire(before timestamp.Time) (gone []takenSide, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first >= before {
		return nil, nil
	}
	s.first = timestamp.Max
	for win, w := range s.windows {
		if w.end >= before {
			s.first = min(s.first, w.end)
			continue
		}
		if err := s.dropWindow(win, w); err != nil {
			return nil, err
		}
	}
	kept := s.taken[:0]
	for _, t := range s.taken {
		if t.end < before {
			gone = append(gone, t)
		} else {
			kept = append(kept, t)
		}
	}
	s.taken = kept
	return gone, nil
}

func (s *sideInput) dropWindow(win string, w *sideWindow) error {
	s.retire(w.all.ids()...)
	s.retire(w.keys.ids()...)
	for _, p := range w.values {
		s.retire(p.ids()...)
	}
	s.hold(w, -w.held)
	delete(s.windows, win)
	if s.rows != nil {
		return s.rows.drop([]byte(win))
	}
	return nil
}

// finish drops everything: the stage is done. It returns the blocks that are not
// needed after a restart any more.
func (s *sideInput) finish() (gone []commit.Side, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	for win, w := range s.windows {
		if err := s.dropWindow(win, w); err != nil {
			return nil, err
		}
	}
	for _, t := range s.taken {
		gone = append(gone, t.Side)
	}
	gone = append(gone, s.fresh...)
	if !s.keep {
		for _, side := range s.fresh {
			s.blocks.drop(side.Block)
		}
	}
	s.taken, s.fresh = nil, nil
	return gone, nil
}

// finishSides gives back the side inputs of a stage that is done. The record is
// nil if there is nothing to write down.
func (r *runner) finishSides(stage int) (*commit.Record, error) {
	rec := &commit.Record{Job: r.job, Stage: stage}
	for _, s := range r.stages[stage].sides {
		gone, err := s.finish()
		if err != nil {
			return nil, err
		}
		for _, side := range gone {
			rec.Forget(side)
		}
	}
	if !r.durable || len(rec.Forgotten) == 0 {
		return nil, nil
	}
	return rec, nil
}

// dropSides gives back what the side inputs of the job hold outside of the
// spool, at the end of the job.
func (r *runner) dropSides() {
	for i := range r.stages {
		if _, err := r.finishSides(i); err != nil {
			r.log.Warn("a side input cannot be dropped", "err", err)
		}
	}
}
