package coder

import "fmt"

// Timing says how a pane relates to the end of its window.
type Timing uint8

// The timings, with the numbers of their encoding.
const (
	Early Timing = iota
	OnTime
	Late
	Unknown
)

// String names the timing as Beam does.
func (t Timing) String() string {
	switch t {
	case Early:
		return "EARLY"
	case OnTime:
		return "ON_TIME"
	case Late:
		return "LATE"
	case Unknown:
		return "UNKNOWN"
	}
	return fmt.Sprintf("Timing(%d)", uint8(t))
}

// Pane says which firing of its window an element belongs to. The zero value is
// an early pane; elements that no trigger has fired have Unfired.
type Pane struct {
	Timing Timing
	// First and Last say whether it is the first and the last of its window.
	First, Last bool
	// Index counts the panes of the window; NonSpeculative counts those that are
	// not early, and is -1 in an early pane.
	Index, NonSpeculative int64
}

// Unfired is the pane of elements that no trigger has fired.
var Unfired = Pane{Timing: Unknown, First: true, Last: true}

// NoFiring is the encoding of Unfired. Nobody may change it.
var NoFiring = []byte{noFiring}

const noFiring = 0x0f

// Encodings of a pane, in the upper half of its first byte.
const (
	paneByte       = 0 // both indexes are implied
	paneOneIndex   = 1 // NonSpeculative is implied
	paneTwoIndexes = 2
)

const (
	paneFirst       = 0x01
	paneLast        = 0x02
	paneTimingShift = 2
)

var errPane = wrapMalformed("unknown encoding of a pane")

// Append appends the encoding of p, the same bytes as Beam's SDKs do.
func (p Pane) Append(dst []byte) []byte {
	head := byte(p.Timing&3) << paneTimingShift
	if p.First {
		head |= paneFirst
	}
	if p.Last {
		head |= paneLast
	}
	switch {
	case p.Timing == Unknown, p.Index == 0 && p.NonSpeculative == 0:
		return append(dst, head|paneByte<<4)
	case p.Timing == Early, p.Index == p.NonSpeculative:
		return AppendVarint(append(dst, head|paneOneIndex<<4), uint64(p.Index))
	}
	dst = AppendVarint(append(dst, head|paneTwoIndexes<<4), uint64(p.Index))
	return AppendVarint(dst, uint64(p.NonSpeculative))
}

// DecodePane reads a pane at the front of b and returns its length.
func DecodePane(b []byte) (Pane, int, error) {
	n, err := skipPane(b, 0)
	if err != nil {
		return Pane{}, 0, err
	}
	p := Pane{
		Timing: Timing(b[0] >> paneTimingShift & 3),
		First:  b[0]&paneFirst != 0,
		Last:   b[0]&paneLast != 0,
	}
	w := 0
	if b[0]>>4 != paneByte {
		var v uint64
		v, w, _ = Varint(b[1:])
		p.Index, p.NonSpeculative = int64(v), int64(v)
	}
	if b[0]>>4 == paneTwoIndexes {
		v, _, _ := Varint(b[1+w:])
		p.NonSpeculative = int64(v)
	} else if p.Timing == Early {
		p.NonSpeculative = -1
	}
	return p, n, nil
}

// skipPane returns the offset behind the pane at off.
func skipPane(b []byte, off int) (int, error) {
	if off >= len(b) {
		return 0, ErrTruncated
	}
	indexes := b[off] >> 4
	if indexes > paneTwoIndexes {
		return 0, errPane
	}
	off++
	for ; indexes > 0; indexes-- {
		_, n, err := Varint(b[off:])
		if err != nil {
			return 0, err
		}
		off += n
	}
	return off, nil
}
