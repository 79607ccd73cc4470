package coder

import (
	"encoding/binary"
	"fmt"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// Element is one windowed value of the data plane, taken apart. All slices
// alias the bytes that were scanned.
type Element struct {
	// Timestamp is as the SDK wrote it, not brought within the bounds.
	Timestamp timestamp.Time
	// Windows are the encodings of the windows back to back, without the count.
	Windows    []byte
	NumWindows int
	// Pane is the encoded pane; see DecodePane.
	Pane []byte
	// Value is the element in the element coder.
	Value []byte
	// Raw is the whole windowed value.
	Raw []byte
}

// headerLen is the length of what is in front of the windows: the timestamp
// and the number of windows.
const headerLen = timestamp.EncodedLen + 4

// Scanner takes apart windowed values of one coder. It has no state and may be
// used by several goroutines at once.
type Scanner struct {
	elem, window *Coder
	prog         []op
	mode         Kind // GlobalWindow, IntervalWindow, or Opaque for the rest
}

// NewScanner returns a scanner of windowed_value<elem, window>.
func NewScanner(elem, window *Coder) *Scanner {
	s := &Scanner{elem: elem, window: window, prog: elem.prog}
	if window.Kind == GlobalWindow || window.Kind == IntervalWindow {
		s.mode = window.Kind
	}
	return s
}

// Scan takes apart the windowed value at the front of b and returns its length.
// With ErrTruncated nothing is consumed, and e is not to be used.
func (s *Scanner) Scan(b []byte, e *Element) (n int, err error) {
	if len(b) <= headerLen {
		return 0, ErrTruncated
	}
	count := int(int32(binary.BigEndian.Uint32(b[timestamp.EncodedLen:])))
	off := headerLen
	if s.mode != GlobalWindow || count != 1 {
		if off, err = s.skipWindows(b, off, count); err != nil {
			return 0, s.explain(err)
		}
	}
	pane := off
	if off < len(b) && b[off] < paneOneIndex<<4 {
		off++
	} else if off, err = skipPane(b, off); err != nil {
		return 0, s.explain(err)
	}
	value := off
	// The common shapes of elements are one or two steps.
	if off, err = run(s.prog, b, off); err != nil {
		return 0, s.explain(err)
	}
	e.Timestamp = timestamp.Decode(b)
	e.Windows = b[headerLen:pane:pane]
	e.NumWindows = count
	e.Pane = b[pane:value:value]
	e.Value = b[value:off:off]
	e.Raw = b[:off:off]
	return off, nil
}

func (s *Scanner) skipWindows(b []byte, off, count int) (int, error) {
	if s.mode != IntervalWindow {
		return skipWindowsOf(s.window, count, b, off)
	}
	if count < 0 {
		return 0, errWindowCount
	}
	for ; count > 0; count-- {
		off += timestamp.EncodedLen
		for i := 0; ; i++ {
			if off >= len(b) {
				return 0, ErrTruncated
			}
			c := b[off]
			off++
			if c < 0x80 && (i < MaxVarintLen-1 || c <= 1) {
				break
			}
			if i >= MaxVarintLen-1 {
				return 0, errVarint
			}
		}
	}
	return off, nil
}

func (s *Scanner) explain(err error) error {
	if err == ErrTruncated {
		return err
	}
	return fmt.Errorf("windowed value of element coder %v, window coder %v: %w", s.elem, s.window, err)
}

var errWindowCount = wrapMalformed("impossible number of windows")

// skipWindowsOf skips count windows. An element cannot be in the same window
// twice, so a count of windows that take no bytes is at most one; that keeps an
// SDK from making the runner loop over windows that are not there.
func skipWindowsOf(window *Coder, count int, b []byte, off int) (int, error) {
	if count < 0 || count > 1 && window.width == 0 {
		return 0, errWindowCount
	}
	return skipN(window, int64(count), b, off)
}

// EachWindow calls fn with the encoding of each window of e, until it returns
// an error.
func (s *Scanner) EachWindow(e *Element, fn func(window []byte) error) error {
	return eachWindow(s.window, e.Windows, e.NumWindows, fn)
}

func eachWindow(c *Coder, windows []byte, count int, fn func(window []byte) error) error {
	if count == 1 {
		return fn(windows)
	}
	for ; count > 0; count-- {
		n, err := c.Skip(windows)
		if err != nil {
			return fmt.Errorf("window: %w", err)
		}
		if err := fn(windows[:n:n]); err != nil {
			return err
		}
		windows = windows[n:]
	}
	return nil
}

// AppendHeader appends everything of a windowed value that comes before the
// element. windows are numWindows encodings back to back, and pane is an
// encoded pane, NoFiring if it is empty.
func AppendHeader(dst []byte, t timestamp.Time, windows []byte, numWindows int, pane []byte) []byte {
	dst = timestamp.Append(dst, t)
	dst = binary.BigEndian.AppendUint32(dst, uint32(numWindows))
	dst = append(dst, windows...)
	if len(pane) == 0 {
		return append(dst, noFiring)
	}
	return append(dst, pane...)
}

// skipWindowedValue skips a windowed value inside another value.
func skipWindowedValue(c *Coder, b []byte, off int) (int, error) {
	if len(b)-off < timestamp.EncodedLen {
		return 0, ErrTruncated
	}
	count, off, err := int32At(b, off+timestamp.EncodedLen)
	if err != nil {
		return 0, err
	}
	if off, err = skipWindowsOf(c.Components[1], int(count), b, off); err != nil {
		return 0, err
	}
	if off, err = skipPane(b, off); err != nil {
		return 0, err
	}
	return run(c.Components[0].prog, b, off)
}
