package window

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

func TestSideEnd(t *testing.T) {
	global := &Strategy{FnURN: urnGlobalWindows}
	fixed := &Strategy{FnURN: urnFixedWindows, SizeMS: 10}
	shifted := &Strategy{FnURN: urnFixedWindows, SizeMS: 10, OffsetMS: 3}
	sliding := &Strategy{FnURN: urnSlidingWindows, SizeMS: 20, PeriodMS: 10}
	custom := &Strategy{FnURN: "mine"}
	for _, c := range []struct {
		name      string
		s         *Strategy
		end, want timestamp.Time
	}{
		{"global", global, 5, timestamp.EndOfGlobalWindow},
		{"fixed, first of a window", fixed, 0, 9},
		{"fixed, last of a window", fixed, 9, 9},
		{"fixed, next window", fixed, 10, 19},
		{"fixed, before the epoch", fixed, -1, -1},
		{"fixed, at the end of time", fixed, timestamp.EndOfGlobalWindow, timestamp.EndOfGlobalWindow},
		{"offset, first", shifted, 3, 12},
		{"offset, last of the one before", shifted, 2, 2},
		{"sliding, earliest of two", sliding, 9, 9},
		{"sliding, earliest of two, first instant", sliding, 10, 19},
		{"custom", custom, 7, 7},
	} {
		if got := c.s.SideEnd(c.end); got != c.want {
			t.Errorf("%s: SideEnd(%d) = %d, want %d", c.name, c.end, got, c.want)
		}
	}
}
