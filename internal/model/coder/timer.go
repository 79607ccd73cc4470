package coder

import (
	"encoding/binary"
	"fmt"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// TimerElement is one timer of the data plane, taken apart. All slices alias
// the bytes that were scanned.
type TimerElement struct {
	// Key is the user's key in the key coder.
	Key []byte
	// Tag is the dynamic timer tag, in UTF-8 and without its length.
	Tag []byte
	// Windows are the encodings of the windows back to back, without the count.
	Windows    []byte
	NumWindows int
	// Clear says that the timer is to be cleared; Fire, Hold and Pane are then
	// not encoded, and zero.
	Clear      bool
	Fire, Hold timestamp.Time
	// Pane is the encoded pane.
	Pane []byte
	// Raw is the whole timer.
	Raw []byte
}

// TimerScanner takes apart timers of one coder. It has no state and may be used
// by several goroutines at once.
type TimerScanner struct {
	key, window *Coder
}

// NewTimerScanner returns a scanner of timer<key, window>.
func NewTimerScanner(key, window *Coder) *TimerScanner {
	return &TimerScanner{key: key, window: window}
}

var errClear = wrapMalformed("clear bit of a timer is neither 0 nor 1")

// Scan takes apart the timer at the front of b and returns its length.
func (s *TimerScanner) Scan(b []byte, e *TimerElement) (int, error) {
	n, err := scanTimer(s.key, s.window, b, 0, e)
	if err == nil || err == ErrTruncated {
		return n, err
	}
	return 0, fmt.Errorf("timer of key coder %v, window coder %v: %w", s.key, s.window, err)
}

// EachWindow calls fn with the encoding of each window of e, until it returns
// an error.
func (s *TimerScanner) EachWindow(e *TimerElement, fn func(window []byte) error) error {
	return eachWindow(s.window, e.Windows, e.NumWindows, fn)
}

// scanTimer takes apart the timer at b[start:] and returns the offset behind it.
func scanTimer(key, window *Coder, b []byte, start int, e *TimerElement) (int, error) {
	off, err := run(key.prog, b, start)
	if err != nil {
		return 0, err
	}
	e.Key = b[start:off:off]
	tag, n, err := DecodeBytes(b[off:])
	if err != nil {
		return 0, err
	}
	e.Tag = tag
	count, windows, err := int32At(b, off+n)
	if err != nil {
		return 0, err
	}
	if off, err = skipWindowsOf(window, int(count), b, windows); err != nil {
		return 0, err
	}
	e.Windows, e.NumWindows = b[windows:off:off], int(count)
	if off, err = scanFiring(b, off, e); err != nil {
		return 0, err
	}
	e.Raw = b[start:off:off]
	return off, nil
}

// scanFiring reads the clear bit and what follows it.
func scanFiring(b []byte, off int, e *TimerElement) (int, error) {
	if off >= len(b) {
		return 0, ErrTruncated
	}
	if b[off] > 1 {
		return 0, errClear
	}
	e.Clear = b[off] == 1
	off++
	if e.Clear {
		e.Fire, e.Hold, e.Pane = 0, 0, nil
		return off, nil
	}
	if len(b)-off < 2*timestamp.EncodedLen {
		return 0, ErrTruncated
	}
	e.Fire = timestamp.Decode(b[off:])
	e.Hold = timestamp.Decode(b[off+timestamp.EncodedLen:])
	pane := off + 2*timestamp.EncodedLen
	off, err := skipPane(b, pane)
	if err != nil {
		return 0, err
	}
	e.Pane = b[pane:off:off]
	return off, nil
}

// Append appends the encoding of the timer, from all fields but Raw. An empty
// Pane stands for NoFiring.
func (e *TimerElement) Append(dst []byte) []byte {
	dst = append(dst, e.Key...)
	dst = AppendBytes(dst, e.Tag)
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.NumWindows))
	dst = append(dst, e.Windows...)
	if e.Clear {
		return append(dst, 1)
	}
	dst = timestamp.Append(append(dst, 0), e.Fire)
	dst = timestamp.Append(dst, e.Hold)
	if len(e.Pane) == 0 {
		return append(dst, noFiring)
	}
	return append(dst, e.Pane...)
}

// skipTimer skips a timer inside another value.
func skipTimer(c *Coder, b []byte, off int) (int, error) {
	var e TimerElement
	return scanTimer(c.Components[0], c.Components[1], b, off, &e)
}
