package window

import "github.com/pharos-beam/pharos/internal/model/timestamp"

// SideEnd returns the maximum timestamp of the side input window that goes with
// a main input window with maximum timestamp end, where s is the strategy of
// the side input. It follows the default mapping of the SDKs: the earliest
// window that contains end. For WindowFns that only an SDK understands it is
// end itself, before which no window that contains it is over.
func (s *Strategy) SideEnd(end timestamp.Time) timestamp.Time {
	step := s.SizeMS
	switch s.FnURN {
	case urnGlobalWindows:
		return timestamp.EndOfGlobalWindow
	case urnSlidingWindows:
		step = s.PeriodMS
	case urnFixedWindows:
	default:
		return end
	}
	if step <= 0 || end >= timestamp.EndOfGlobalWindow {
		return end
	}
	// The earliest window that contains end is the one that starts first after
	// end-size.
	from := int64(end) - s.SizeMS - s.OffsetMS
	start := from - mod(from, step) + step + s.OffsetMS
	return min(timestamp.Clamp(start+s.SizeMS-1), timestamp.EndOfGlobalWindow)
}

// mod is the remainder with the sign of the divisor.
func mod(a, n int64) int64 {
	if r := a % n; r < 0 {
		return r + n
	} else {
		return r
	}
}
