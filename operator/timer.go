package operator

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Domain is what a timer's time is measured by.
type Domain uint8

// Time domains.
const (
	EventTime Domain = iota
	ProcessingTime
)

// proto is Beam's name of d.
func (d Domain) proto() pipepb.TimeDomain_Enum {
	if d == ProcessingTime {
		return pipepb.TimeDomain_PROCESSING_TIME
	}
	return pipepb.TimeDomain_EVENT_TIME
}

// TimerFamily is a kind of timers that a function sets.
type TimerFamily struct {
	// Name is the family's.
	Name string
	// Domain is the family's time domain.
	Domain Domain
	// Key encodes the keys.
	Key Coder
	// Codec reads and writes timers; nil for Beam's timer coder.
	Codec TimerCodec
}

// TimerCodec reads and writes the timers of a family.
type TimerCodec interface {
	// Decode takes the first timer off data, which a harness sent.
	Decode(data []byte) (t Timer, rest []byte, err error)
	// Fire appends what tells the harness that a timer has fired, when the
	// watermark, or the time, is now.
	Fire(dst []byte, t Timer, now int64) []byte
}

// RowTimers are timers that are elements among others.
type RowTimers interface {
	// Split parts the output of a bundle into elements for the engine and
	// timers. Their family is "".
	Split(data []byte) (out []byte, timers []Timer, err error)
	// Fire appends an element that tells the function that a timer has fired.
	Fire(dst []byte, t Timer, now int64) []byte
}

// Timer is a timer that a function has set or cleared.
type Timer struct {
	// Family is the family's name.
	Family string
	Domain Domain
	// ID tells timers of a family apart: setting one replaces that with the
	// same ID.
	ID []byte
	// FireAt is when it fires, in milliseconds since the Unix epoch.
	FireAt int64
	// Clear says that the timer is no more.
	Clear bool
	// Data is what the codec needs to fire it.
	Data []byte
}

// id identifies a timer within one operator.
func (t *Timer) id() string {
	return string(append(appendOrdered(nil, []byte(t.Family)), t.ID...))
}

// compareTimers orders timers as they fire.
func compareTimers(a, b Timer) int {
	return cmp.Or(cmp.Compare(a.FireAt, b.FireAt), cmp.Compare(a.Family, b.Family), bytes.Compare(a.ID, b.ID))
}

// encode writes a timer for a KVStore.
func (t *Timer) encode() []byte {
	b := AppendElement([]byte{byte(t.Domain)}, []byte(t.Family))
	b = AppendElement(b, t.ID)
	return append(binary.BigEndian.AppendUint64(b, uint64(t.FireAt)), t.Data...)
}

var errTimer = errors.New("stored timer is damaged")

// decodeTimer is the reverse of encode.
func decodeTimer(b []byte) (Timer, error) {
	if len(b) == 0 {
		return Timer{}, errTimer
	}
	family, rest, ok1 := NextElement(b[1:])
	id, rest, ok2 := NextElement(rest)
	if !ok1 || !ok2 || len(rest) < 8 {
		return Timer{}, errTimer
	}
	return Timer{
		Domain: Domain(b[0]), Family: string(family), ID: bytes.Clone(id),
		FireAt: int64(binary.BigEndian.Uint64(rest)), Data: bytes.Clone(rest[8:]),
	}, nil
}

// beamTimers is the codec of Beam's timer coder with keys that begin with their
// length, in the global window.
type beamTimers struct {
	scanner *coder.TimerScanner
	domain  Domain
}

// newBeamTimers returns Beam's codec.
func newBeamTimers(d Domain) (*beamTimers, error) {
	const key, window = "key", "window"
	coders := map[string]*pipepb.Coder{
		key:    {Spec: &pipepb.FunctionSpec{Urn: urn.CoderBytes}},
		window: {Spec: &pipepb.FunctionSpec{Urn: urn.CoderGlobalWindow}},
	}
	k, err := coder.Parse(coders, key)
	if err != nil {
		return nil, err
	}
	w, err := coder.Parse(coders, window)
	if err != nil {
		return nil, err
	}
	return &beamTimers{scanner: coder.NewTimerScanner(k, w), domain: d}, nil
}

// Decode implements TimerCodec. A timer's key and tag identify it.
func (c *beamTimers) Decode(data []byte) (Timer, []byte, error) {
	var e coder.TimerElement
	n, err := c.scanner.Scan(data, &e)
	if err != nil {
		return Timer{}, nil, err
	}
	t := Timer{
		Domain: c.domain, Clear: e.Clear, FireAt: int64(e.Fire),
		ID: append(bytes.Clone(e.Key), e.Tag...), Data: bytes.Clone(e.Raw),
	}
	return t, data[n:], nil
}

// Fire implements TimerCodec. A timer of processing time fires with the time
// that it has now; its output has the timestamp that it was set with.
func (c *beamTimers) Fire(dst []byte, t Timer, now int64) []byte {
	var e coder.TimerElement
	if _, err := c.scanner.Scan(t.Data, &e); err != nil {
		return dst // Decode has read it before
	}
	if c.domain == ProcessingTime {
		e.Fire = timestamp.Clamp(now)
	}
	e.Pane = nil
	return e.Append(dst)
}
