package window

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// Kind says how a window is encoded.
type Kind uint8

// The kinds of window.
const (
	// Global is the one global window: no bytes.
	Global Kind = iota + 1
	// Interval is [start, end): 8 bytes of end, then the varint end-start, in
	// milliseconds.
	Interval
	// Custom is a user's window: 8 bytes of maximum timestamp, then the
	// encoding by the user's coder (beam:coder:custom_window:v1).
	Custom
)

// ErrBadWindow is the error for bytes that are no window of their kind.
var ErrBadWindow = errors.New("malformed window encoding")

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Global:
		return "global"
	case Interval:
		return "interval"
	case Custom:
		return "custom"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MaxTimestamp returns the largest timestamp that an element of the window can
// have. It is always before timestamp.Max, so that the final watermark has
// passed the end of every window.
func (k Kind) MaxTimestamp(enc []byte) (timestamp.Time, error) {
	switch k {
	case Global:
		if len(enc) != 0 {
			return 0, fmt.Errorf("%w: global window of %d bytes", ErrBadWindow, len(enc))
		}
		return timestamp.EndOfGlobalWindow, nil
	case Interval:
		if len(enc) <= timestamp.EncodedLen {
			return 0, fmt.Errorf("%w: interval window of %d bytes", ErrBadWindow, len(enc))
		}
		return timestamp.Clamp(int64(timestamp.Decode(enc))).Add(-1), nil
	case Custom:
		if len(enc) < timestamp.EncodedLen {
			return 0, fmt.Errorf("%w: custom window of %d bytes", ErrBadWindow, len(enc))
		}
		return min(timestamp.Clamp(int64(timestamp.Decode(enc))), timestamp.Max-1), nil
	}
	return 0, fmt.Errorf("%w: %v", ErrBadWindow, k)
}

// AppendInterval appends the encoding of the interval window [start, end).
func AppendInterval(dst []byte, start, end timestamp.Time) []byte {
	dst = timestamp.Append(dst, end)
	return binary.AppendUvarint(dst, uint64(end-start))
}

// DecodeInterval reads an interval window, which must take up all of enc.
func DecodeInterval(enc []byte) (start, end timestamp.Time, err error) {
	if len(enc) <= timestamp.EncodedLen {
		return 0, 0, fmt.Errorf("%w: interval window of %d bytes", ErrBadWindow, len(enc))
	}
	end = timestamp.Decode(enc)
	span, n := binary.Uvarint(enc[timestamp.EncodedLen:])
	if n <= 0 || timestamp.EncodedLen+n != len(enc) {
		return 0, 0, fmt.Errorf("%w: interval window ending at %v has a bad length", ErrBadWindow, end)
	}
	// Two's complement subtraction undoes what the encoder did, also for spans
	// beyond the range of int64.
	start = end - timestamp.Time(span)
	if start > end {
		return 0, 0, fmt.Errorf("%w: interval window ending at %v starts after its end", ErrBadWindow, end)
	}
	return start, end, nil
}

// IntervalLen returns the length of the interval window at the front of b, or
// 0 if there is none.
func IntervalLen(b []byte) int {
	if len(b) <= timestamp.EncodedLen {
		return 0
	}
	_, n := binary.Uvarint(b[timestamp.EncodedLen:])
	if n <= 0 {
		return 0
	}
	return timestamp.EncodedLen + n
}
