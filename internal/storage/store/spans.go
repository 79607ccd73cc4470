package store

import (
	"bytes"
	"slices"
)

// span is the range [lo, hi) of keys; a nil hi is no bound.
type span struct{ lo, hi []byte }

// spans is a set of keys as disjoint, non-adjacent ranges in order.
type spans struct {
	spans []span
	bytes int64
}

// contains says whether key is in the set.
func (s *spans) contains(key []byte) bool {
	if len(s.spans) == 0 {
		return false
	}
	i := s.after(key)
	return i < len(s.spans) && bytes.Compare(s.spans[i].lo, key) <= 0
}

// after returns the index of the first span that ends after key.
func (s *spans) after(key []byte) int {
	i, _ := slices.BinarySearchFunc(s.spans, key, func(e span, key []byte) int {
		if e.hi == nil || bytes.Compare(e.hi, key) > 0 {
			return 1
		}
		return -1
	})
	return i
}

// add puts the keys in [lo, hi) into the set. Spans that overlap it or touch
// it become one with it.
func (s *spans) add(lo, hi []byte) {
	n := span{bytes.Clone(lo), bytes.Clone(hi)}
	first := s.after(lo)
	if first > 0 && bytes.Equal(s.spans[first-1].hi, lo) {
		first--
	}
	last := first
	for last < len(s.spans) && (hi == nil || bytes.Compare(s.spans[last].lo, hi) <= 0) {
		last++
	}
	if first < last {
		if bytes.Compare(s.spans[first].lo, n.lo) < 0 {
			n.lo = s.spans[first].lo
		}
		if e := s.spans[last-1].hi; hi != nil && (e == nil || bytes.Compare(e, hi) > 0) {
			n.hi = e
		}
	}
	for _, e := range s.spans[first:last] {
		s.bytes -= e.size()
	}
	s.bytes += n.size()
	s.spans = slices.Replace(s.spans, first, last, n)
}

func (e span) size() int64 { return int64(len(e.lo)+len(e.hi)) + opOverheadBytes }

// nextGap returns the first range in [lo, hi) that lies outside the set. The
// start is nil when there is none, and never nil otherwise.
func (s *spans) nextGap(lo, hi []byte) (start, end []byte) {
	if lo == nil {
		lo = []byte{}
	}
	i := s.after(lo)
	if i < len(s.spans) && bytes.Compare(s.spans[i].lo, lo) <= 0 {
		lo = s.spans[i].hi
		i++
		if lo == nil {
			return nil, nil
		}
	}
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return nil, nil
	}
	if i < len(s.spans) && (hi == nil || bytes.Compare(s.spans[i].lo, hi) < 0) {
		return lo, s.spans[i].lo
	}
	return lo, hi
}
