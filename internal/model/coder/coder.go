package coder

import (
	"fmt"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Kind says which standard coder a coder is.
type Kind uint8

// The kinds of coder. Opaque is every coder that is not a standard one.
const (
	Opaque Kind = iota
	Bytes
	StringUTF8
	Bool
	Varint64
	Double
	KV
	Iterable
	StateBackedIterable
	LengthPrefix
	Timer
	WindowedValue
	ParamWindowedValue
	GlobalWindow
	IntervalWindow
	CustomWindow
	Row
	ShardedKey
	Nullable
	// fixed is a field of a row with a fixed width and no URN of its own.
	fixed
)

// standard has what there is to know about each kind: URN and components.
var standard = [...]struct {
	urn   string
	arity int
}{
	Bytes:               {urn.CoderBytes, 0},
	StringUTF8:          {urn.CoderStringUTF8, 0},
	Bool:                {urn.CoderBool, 0},
	Varint64:            {urn.CoderVarint, 0},
	Double:              {urn.CoderDouble, 0},
	KV:                  {urn.CoderKV, 2},
	Iterable:            {urn.CoderIterable, 1},
	StateBackedIterable: {urn.CoderStateBackedIterable, 1},
	LengthPrefix:        {urn.CoderLengthPrefix, 1},
	Timer:               {urn.CoderTimer, 2},
	WindowedValue:       {urn.CoderWindowedValue, 2},
	ParamWindowedValue:  {urn.CoderParamWindowedValue, 2},
	GlobalWindow:        {urn.CoderGlobalWindow, 0},
	IntervalWindow:      {urn.CoderIntervalWindow, 0},
	CustomWindow:        {urn.CoderCustomWindow, 1},
	Row:                 {urn.CoderRow, 0},
	ShardedKey:          {urn.CoderShardedKey, 1},
	Nullable:            {urn.CoderNullable, 1},
}

// kindOf returns the kind of a URN, Opaque if it is not a standard one.
func kindOf(u string) Kind {
	for k := range standard {
		if standard[k].urn == u && u != "" {
			return Kind(k)
		}
	}
	return Opaque
}

// String returns the URN of the kind.
func (k Kind) String() string {
	switch {
	case k == Opaque:
		return "opaque"
	case k == fixed:
		return "fixed"
	case int(k) < len(standard):
		return standard[k].urn
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Coder is a coder that has been parsed. It is immutable and can be shared.
type Coder struct {
	// Kind decides how the encoding is taken apart.
	Kind Kind
	// ID is the id in the pipeline's components; empty for parts of a row.
	ID string
	// URN is the URN in the pipeline, also for an Opaque coder.
	URN string
	// Components are the component coders. An Opaque coder has none here.
	Components []*Coder
	// Payload is the payload of the coder's spec.
	Payload []byte

	// fields are the fields of a Row, in the order in which they are encoded.
	fields []field
	// width is the length in bytes of each encoding, or variable.
	width int
	// prog finds the end of an encoding.
	prog []op
	// scannable: no part is opaque.
	scannable bool
}

// field is one field of a row.
type field struct {
	coder *Coder
	name  string
	// index is the position in the schema, which is that in the null bitmap.
	index int
}

// Scannable reports whether Skip can find the end of an encoding: there is no
// opaque coder outside a length prefix.
func (c *Coder) Scannable() bool { return c.scannable }

// String describes the coder for errors.
func (c *Coder) String() string {
	if c.ID == "" {
		return c.Kind.String()
	}
	if c.Kind == Opaque {
		return fmt.Sprintf("%q (%s)", c.ID, c.URN)
	}
	return fmt.Sprintf("%q (%v)", c.ID, c.Kind)
}
