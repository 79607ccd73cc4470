package pyflink

import (
	"encoding/binary"

	"github.com/pharos-beam/pharos/operator"
)

// OverKind is a kind of window that an aggregate over windows has for each row,
// with Flink's numbers.
type OverKind uint8

// Kinds of windows over ranges of values and over numbers of rows.
const (
	RangeUnbounded OverKind = iota
	RangeUnboundedPreceding
	RangeUnboundedFollowing
	RangeSliding
	RowUnbounded
	RowUnboundedPreceding
	RowUnboundedFollowing
	RowSliding
)

// Over is a window of aggregates over windows. Lower and Upper are offsets from
// the row, for windows over rows.
type Over struct {
	Kind         OverKind
	Lower, Upper int64
}

// PandasOver describes aggregates over windows: an element is the ordered rows
// of a partition, made by OverElement, and gives a batch with a row for each.
func (o Options) PandasOver(in, out Schema, windows []Over, udfs ...UDF) operator.Function {
	m := functions(udfs, false, o)
	for _, w := range windows {
		m = m.bytes(3, message(nil).int(1, int64(w.Kind)).int(2, w.Lower).int(3, w.Upper))
	}
	f := o.Pandas(in, out, udfs...)
	f.Name, f.URN, f.Payload = "pandas aggregate over windows", urnPandasOver, m
	f.Input = coder(overWindow, in.proto(), true, false)
	return f
}

// OverElement makes an element of an Arrow IPC stream and, for each window over
// a bounded range of values, the boundaries: for RangeSliding the first row and
// the row behind the last for each row, else one of the two.
func OverElement(boundaries [][]int32, stream []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(boundaries)))
	for _, w := range boundaries {
		b = binary.BigEndian.AppendUint32(b, uint32(len(w)))
		for _, n := range w {
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		}
	}
	return operator.AppendElement(nil, append(b, stream...))
}
