package pyflink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/pharos-beam/pharos/operator"
)

// RowCoder writes and reads the elements of functions by row: a row each, with
// its length before it.
type RowCoder struct {
	codec rowCodec
	buf   []byte
}

// NewRowCoder returns the coder of rows of s. A coder is for one goroutine.
func NewRowCoder(s Schema) (*RowCoder, error) {
	c, err := s.codec()
	if err != nil {
		return nil, err
	}
	return &RowCoder{codec: c}, nil
}

// Append appends the element of a row.
func (c *RowCoder) Append(dst []byte, r Row) ([]byte, error) {
	b, err := c.codec.append(c.buf[:0], r)
	if err != nil {
		return nil, err
	}
	c.buf = b
	return operator.AppendElement(dst, b), nil
}

// Batch makes a batch of rows.
func (c *RowCoder) Batch(rows ...Row) (operator.Batch, error) {
	b := operator.Batch{Elements: int64(len(rows))}
	for i, r := range rows {
		var err error
		if b.Data, err = c.Append(b.Data, r); err != nil {
			return operator.Batch{}, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return b, nil
}

// Read reads all elements of data. Their byte strings alias it.
func (c *RowCoder) Read(data []byte) ([]Row, error) {
	var rows []Row
	err := eachElement(data, func(b []byte) error {
		r, err := c.row(b)
		rows = append(rows, r)
		return err
	})
	return rows, err
}

// row reads one row that is all of b.
func (c *RowCoder) row(b []byte) (Row, error) {
	v, rest, err := c.codec.read(b)
	if err != nil {
		return Row{}, err
	}
	if len(rest) > 0 {
		return Row{}, errors.New("row is too long")
	}
	return v.(Row), nil
}

// ReadGroups reads the output of a table function: the rows of each input row.
func (c *RowCoder) ReadGroups(data []byte) ([][]Row, error) {
	groups := [][]Row{}
	var rows []Row
	err := eachElement(data, func(b []byte) error {
		if len(b) == 1 && b[0] == 0 {
			groups = append(groups, rows)
			rows = nil
			return nil
		}
		r, err := c.row(b)
		rows = append(rows, r)
		return err
	})
	if err == nil && rows != nil {
		err = errors.New("output of a table function has no end")
	}
	return groups, err
}

// eachElement calls fn for each element.
func eachElement(data []byte, fn func([]byte) error) error {
	for len(data) > 0 {
		b, rest, ok := operator.NextElement(data)
		if !ok {
			return errShort
		}
		if err := fn(b); err != nil {
			return err
		}
		data = rest
	}
	return nil
}

// RowWriter writes rows of fixed columns without boxing values: Begin, then a
// call for each column in order, then End. It does not check types.
type RowWriter struct {
	// Data are the elements so far.
	Data []byte
	// Rows is how many there are.
	Rows int64

	mask  int // bytes
	row   []byte
	field int
}

// NewRowWriter returns a writer of rows with a number of columns.
func NewRowWriter(columns int) *RowWriter { return &RowWriter{mask: maskLen(columns)} }

// Begin begins a row.
func (w *RowWriter) Begin() {
	w.row = w.row[:0]
	for range w.mask {
		w.row = append(w.row, 0)
	}
	w.field = 2
}

// Null writes a null.
func (w *RowWriter) Null() {
	w.row[w.field/8] |= 0x80 >> (w.field % 8)
	w.field++
}

// Int64 writes a BIGINT.
func (w *RowWriter) Int64(v int64) {
	w.row = binary.BigEndian.AppendUint64(w.row, uint64(v))
	w.field++
}

// Int32 writes an INT, a DATE in days or a TIME in milliseconds.
func (w *RowWriter) Int32(v int32) {
	w.row = binary.BigEndian.AppendUint32(w.row, uint32(v))
	w.field++
}

// Float64 writes a DOUBLE.
func (w *RowWriter) Float64(v float64) { w.Int64(int64(math.Float64bits(v))) }

// String writes a CHAR, VARCHAR or DECIMAL.
func (w *RowWriter) String(v string) {
	w.row = appendSized(w.row, v)
	w.field++
}

// Bytes writes a BINARY or VARBINARY.
func (w *RowWriter) Bytes(v []byte) {
	w.row = appendSized(w.row, v)
	w.field++
}

// End ends a row.
func (w *RowWriter) End() {
	w.Data = operator.AppendElement(w.Data, w.row)
	w.Rows++
}

// Batch returns the rows so far as a batch, and begins a new one.
func (w *RowWriter) Batch(tag any) operator.Batch {
	b := operator.Batch{Data: w.Data, Elements: w.Rows, Tag: tag}
	w.Data, w.Rows = make([]byte, 0, len(w.Data)), 0
	return b
}

// RowReader reads rows of fixed columns without boxing values: Next, then a
// call for each column in order. Reading past the end of a row gives zero
// values, and Err.
type RowReader struct {
	rest, row, mask []byte
	width           int
	field           int
	err             error
}

// NewRowReader returns a reader of elements with a number of columns.
func NewRowReader(columns int, data []byte) *RowReader {
	return &RowReader{rest: data, width: maskLen(columns)}
}

// Next goes to the next row; false at the end and after an error.
func (r *RowReader) Next() bool {
	if len(r.rest) == 0 || r.err != nil {
		return false
	}
	var ok bool
	r.row, r.rest, ok = operator.NextElement(r.rest)
	if !ok || len(r.row) < r.width {
		r.err = errShort
		return false
	}
	r.mask, r.row = r.row[:r.width], r.row[r.width:]
	r.field = 2
	return true
}

// Err returns what stopped Next before the end.
func (r *RowReader) Err() error { return r.err }

// null goes to the next column and says whether it is null.
func (r *RowReader) null() bool {
	if r.field/8 >= len(r.mask) {
		r.err = errShort
		return true
	}
	null := r.mask[r.field/8]&(0x80>>(r.field%8)) != 0
	r.field++
	return null
}

// Int64 reads a BIGINT.
func (r *RowReader) Int64() (v int64, ok bool) {
	if r.null() {
		return 0, false
	}
	if len(r.row) < 8 {
		r.err = errShort
		return 0, false
	}
	v = int64(binary.BigEndian.Uint64(r.row))
	r.row = r.row[8:]
	return v, true
}

// Float64 reads a DOUBLE.
func (r *RowReader) Float64() (v float64, ok bool) {
	x, ok := r.Int64()
	return math.Float64frombits(uint64(x)), ok
}

// Bytes reads a CHAR, VARCHAR, DECIMAL, BINARY or VARBINARY; the bytes alias the
// output.
func (r *RowReader) Bytes() (v []byte, ok bool) {
	if r.null() {
		return nil, false
	}
	v, rest, err := readSized(r.row)
	if err != nil {
		r.err = err
		return nil, false
	}
	r.row = rest
	return v, true
}
