// Package timestamp holds Beam's notion of event time: milliseconds since the
// Unix epoch, between two bounds that also serve as the initial and the final
// watermark.
package timestamp

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Time is an instant of event time, or a watermark, in milliseconds since the
// Unix epoch.
type Time int64

// Bounds of event time, from beam_runner_api.proto (BeamConstants).
const (
	// Min is the smallest timestamp and the initial watermark.
	Min Time = -9223372036854775
	// Max is the largest timestamp and the final watermark.
	Max Time = 9223372036854775
	// EndOfGlobalWindow is the maximum timestamp of the global window: one
	// day before Max.
	EndOfGlobalWindow Time = 9223371950454775
)

// EncodedLen is the length in bytes of an encoded timestamp.
const EncodedLen = 8

// Append appends the order-preserving encoding of t that Beam's windowed value
// and interval window coders use: big-endian with the sign bit flipped.
func Append(dst []byte, t Time) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(t)^(1<<63))
}

// Decode reads a timestamp from the first EncodedLen bytes of b, which must be
// there.
func Decode(b []byte) Time {
	return Time(binary.BigEndian.Uint64(b) ^ (1 << 63))
}

// FromTime converts wall-clock time, rounding down to the millisecond and
// clamping to the bounds.
func FromTime(t time.Time) Time { return Clamp(t.UnixMilli()) }

// Clamp brings a count of milliseconds within the bounds.
func Clamp(ms int64) Time { return max(Min, min(Max, Time(ms))) }

// Add returns t+d, where d is in milliseconds, clamped to the bounds.
func (t Time) Add(d int64) Time {
	s := int64(t) + d
	if d > 0 && s < int64(t) {
		return Max
	}
	if d < 0 && s > int64(t) {
		return Min
	}
	return Clamp(s)
}

// String writes the bounds by name and everything else as RFC 3339.
func (t Time) String() string {
	switch {
	case t <= Min:
		return "-inf"
	case t >= Max:
		return "+inf"
	case t == EndOfGlobalWindow:
		return "end-of-global-window"
	case t < -62135596800000 || t > 253402300799999: // outside years 1 to 9999
		return fmt.Sprintf("%dms", int64(t))
	}
	return time.UnixMilli(int64(t)).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}
