package window

import (
	"cmp"
	"slices"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// Merged is one result of merging windows: Result takes the place of From,
// which holds at least one window other than Result and may hold Result
// itself.
type Merged struct {
	Result []byte
	From   [][]byte
}

// MergeIntervals merges interval windows that overlap, as sessions do. Windows
// that only touch stay apart. Windows that overlap no other are not mentioned
// in the result, which is in order of time.
func MergeIntervals(windows [][]byte) ([]Merged, error) {
	type span struct {
		start, end timestamp.Time
		enc        []byte
	}
	spans := make([]span, 0, len(windows))
	for _, w := range windows {
		start, end, err := DecodeInterval(w)
		if err != nil {
			return nil, err
		}
		spans = append(spans, span{start, end, w})
	}
	slices.SortStableFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	spans = slices.CompactFunc(spans, func(a, b span) bool { return a.start == b.start && a.end == b.end })
	var merged []Merged
	for i := 0; i < len(spans); {
		end, n := spans[i].end, i+1
		for ; n < len(spans) && spans[n].start < end; n++ {
			end = max(end, spans[n].end)
		}
		if n > i+1 {
			m := Merged{Result: AppendInterval(nil, spans[i].start, end)}
			for _, s := range spans[i:n] {
				m.From = append(m.From, s.enc)
			}
			merged = append(merged, m)
		}
		i = n
	}
	return merged, nil
}
