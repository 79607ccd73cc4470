package reduce

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/trigger"
)

// ErrCorrupt is the error for state that this package has not written.
var ErrCorrupt = errors.New("corrupt grouping state")

// watch says what a window's event-time timer waits for.
type watch uint8

const (
	watchNothing watch = iota
	watchEnd
	watchExpiry
)

// holdKind says why a window holds the output watermark.
type holdKind uint8

const (
	holdNothing holdKind = iota
	holdElements
	holdEnd
	holdExpiry
)

// record is the state of one window of one key.
type record struct {
	window []byte
	maxTS  timestamp.Time
	expiry timestamp.Time
	stored []byte // the record as it is in the store; nil if it is not

	closed bool // the trigger has finished: a tombstone until expiry

	// pane is the previous pane, if hasPane.
	hasPane bool
	pane    coder.Pane

	bag   uint64 // merging windows: the id of the bag; 0 before the first value
	total int64  // values in the bag
	fresh int64  // values that have come since the last firing

	// elements is the combined timestamp of the elements of the pane that were
	// in time, at most maxTS, if hasElements.
	hasElements bool
	elements    timestamp.Time
	late        bool // elements of the pane came too late for a hold

	trigger *trigger.State

	// What has been set for this window.
	set outside
}

// outside is what is set for a window outside its record.
type outside struct {
	event watch
	wake  int64 // processing time, trigger.NoWakeup for none
	hold  holdKind
	at    timestamp.Time // of the hold
}

// Bits of the first number of a record.
const (
	flagClosed   = 1 << 0
	flagPane     = 1 << 1
	shiftTiming  = 2 // 2 bits
	flagElements = 1 << 4
	flagLate     = 1 << 5
	shiftEvent   = 6 // 2 bits
	shiftHold    = 8 // 2 bits
	flagWake     = 1 << 10
)

// encode appends the record: a number of flags and then only what they
// announce, so that a closed window takes 2 bytes and an open one about 10.
func (r *Reducer) encode(dst []byte, w *record) []byte {
	flags := uint64(w.set.event) << shiftEvent
	if w.closed {
		return binary.AppendUvarint(dst, flags|flagClosed)
	}
	flags |= uint64(w.set.hold)<<shiftHold |
		flagIf(w.hasPane, flagPane) | flagIf(w.hasElements, flagElements) | flagIf(w.late, flagLate) |
		flagIf(w.set.wake != trigger.NoWakeup, flagWake)
	if w.hasPane {
		flags |= uint64(w.pane.Timing) & 3 << shiftTiming
	}
	dst = binary.AppendUvarint(dst, flags)
	if w.hasPane {
		dst = binary.AppendUvarint(dst, uint64(w.pane.Index))
		dst = binary.AppendUvarint(dst, uint64(w.pane.NonSpeculative+1))
	}
	if w.hasElements {
		dst = binary.AppendUvarint(dst, uint64(w.maxTS-w.elements))
	}
	if w.set.wake != trigger.NoWakeup {
		dst = binary.AppendVarint(dst, w.set.wake)
	}
	dst = binary.AppendUvarint(dst, uint64(w.total))
	dst = binary.AppendUvarint(dst, uint64(w.fresh))
	if r.strategy.Merging {
		dst = binary.AppendUvarint(dst, w.bag)
	}
	return r.machine.Append(dst, w.trigger)
}

func flagIf(b bool, flag uint64) uint64 {
	if b {
		return flag
	}
	return 0
}

// decode fills in w, which has its window and times already, from stored.
func (r *Reducer) decode(w *record, stored []byte) error {
	d := decoder{b: stored}
	flags := d.uvarint()
	w.stored = stored
	w.closed = flags&flagClosed != 0
	w.set.event = watch(flags >> shiftEvent & 3)
	if w.closed {
		return d.done(w)
	}
	w.late = flags&flagLate != 0
	if w.hasPane = flags&flagPane != 0; w.hasPane {
		w.pane.Timing = coder.Timing(flags >> shiftTiming & 3)
		w.pane.Index = int64(d.uvarint())
		w.pane.NonSpeculative = int64(d.uvarint()) - 1
	}
	if w.hasElements = flags&flagElements != 0; w.hasElements {
		w.elements = w.maxTS - timestamp.Time(d.uvarint())
	}
	if flags&flagWake != 0 {
		w.set.wake = d.varint()
	}
	w.total = int64(d.uvarint())
	w.fresh = int64(d.uvarint())
	if r.strategy.Merging {
		w.bag = d.uvarint()
	}
	w.set.hold = holdKind(flags >> shiftHold & 3)
	w.set.at = w.holdTime(w.set.hold)
	var err error
	if w.trigger, err = r.machine.Decode(d.b); err != nil {
		return fmt.Errorf("%w: window %x: %w", ErrCorrupt, w.window, err)
	}
	d.b = nil
	return d.done(w)
}

// holdTime returns where a hold of the given kind is.
func (w *record) holdTime(k holdKind) timestamp.Time {
	switch k {
	case holdElements:
		return w.elements
	case holdEnd:
		return w.maxTS
	}
	return w.expiry
}

// decoder reads numbers and remembers that it could not.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) done(w *record) error {
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("%w: record of window %x", ErrCorrupt, w.window)
	}
	return nil
}
