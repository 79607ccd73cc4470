package monitoring

import (
	"encoding/binary"
	"slices"

	"github.com/pharos-beam/pharos/internal/model/coder"
)

// MaxStrings is how many strings a string set has; of more it keeps the first
// in sorted order.
const MaxStrings = 1 << 16

// stringSet has its strings sorted, each once.
type stringSet struct{ values []string }

func readStrings(r *reader) accumulator {
	s := &stringSet{}
	r.each(func() { s.values = append(s.values, r.string()) })
	s.tidy()
	return s
}

func (s *stringSet) tidy() {
	slices.Sort(s.values)
	s.values = slices.Compact(s.values)
	s.values = slices.Clip(s.values[:min(len(s.values), MaxStrings)])
}

// merge is cheap when there is nothing new, as for most bundles of a job.
func (s *stringSet) merge(o accumulator) {
	known := s.values
	for _, v := range o.(*stringSet).values {
		if _, ok := slices.BinarySearch(known, v); !ok {
			s.values = append(s.values, v)
		}
	}
	if len(s.values) > len(known) {
		s.tidy()
	}
}

func (s *stringSet) encode() []byte {
	dst := binary.BigEndian.AppendUint32(nil, uint32(len(s.values)))
	for _, v := range s.values {
		dst = coder.AppendBytes(dst, []byte(v))
	}
	return dst
}

func (s *stringSet) state() []byte      { return s.encode() }
func (s *stringSet) clone() accumulator { return &stringSet{values: slices.Clone(s.values)} }
