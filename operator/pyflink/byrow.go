package pyflink

import (
	_ "embed" // for byRowSource
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/pharos-beam/pharos/operator"
)

// byRowSource is Python that makes a function of columns of one of rows.
//
//go:embed byrow.py
var byRowSource string

// wrapByRow is a Python function that does that, for one that gives values that
// a conversion of byRowSource takes.
func wrapByRow(conversion string) string {
	return "(lambda names: (exec(" + strconv.QuoteToASCII(byRowSource) + ", names), " +
		"eval(" + strconv.QuoteToASCII("lambda of_rows: ByRow(of_rows, "+conversion+")") + ", names))[1])({})"
}

// InArrow are functions of rows whose rows travel in Arrow batches.
type InArrow struct {
	// Function is for Pool.Open: an element is the Arrow IPC stream of what
	// Batch gives, and comes back as one with a column for each function.
	Function operator.Function
	in       Schema
}

// ByRow describes functions that are called for each row, as those of Scalar,
// but their rows travel as Arrow batches, which PyFlink reads and writes several
// times as fast as its rows.
//
// pandas makes objects of its own of timestamps, arrays, maps and rows; a
// function would see the difference. So the arguments must be columns of other
// types. Rows as results have no place in PyFlink's columns, for they have a kind.
// Else ByRow gives an error, and Scalar is what there is.
//
// The results are the values that Scalar gives, NaN and NULL among them, or an
// error where that has one; a DECIMAL that is NaN is an error too. They come in
// columns of Arrow's type for the SQL type, except that of what PyFlink's row coder
// has only: TIME in milliseconds, TIMESTAMP and TIMESTAMP_LTZ without a zone, in
// milliseconds up to a precision of 3 and else in microseconds, and BINARY of any
// length.
func ByRow(in, out Schema, udfs ...UDF) (*InArrow, error) {
	if len(out) != len(udfs) {
		return nil, fmt.Errorf("by row over Arrow: %d functions for %d columns", len(udfs), len(out))
	}
	sent := make(Schema, len(in))
	for i, f := range in {
		sent[i] = f
		if f.Type.isMarked() {
			sent[i].Type = RowOf(Field{Name: "value", Type: f.Type}, Field{Name: "there", Type: Boolean})
		}
	}
	of, results := make([]UDF, len(udfs)), make(Schema, len(out))
	for n, udf := range udfs {
		result, conversion, err := out[n].Type.inColumn()
		if err != nil {
			return nil, fmt.Errorf("by row over Arrow: column %s of function %d: %w", out[n].Name, n, err)
		}
		results[n] = Field{Name: out[n].Name, Type: result}
		if udf.TakesRow || len(udf.Args) == 0 {
			return nil, fmt.Errorf("by row over Arrow: function %d takes the whole row, or nothing, and cannot be called so", n)
		}
		for i, a := range udf.Args {
			if a.Call != nil || a.Constant != nil || a.Column < 0 || a.Column >= len(in) {
				return nil, fmt.Errorf("by row over Arrow: argument %d of function %d is no column of the input", i, n)
			}
			if f := in[a.Column]; !f.Type.sameInPandas() {
				return nil, fmt.Errorf("by row over Arrow: argument %d of function %d: column %s has values that pandas changes", i, n, f.Name)
			}
		}
		udf.Payload = []byte(opProto3 + evaluated(wrapByRow(conversion)) + loaded(udf.Payload) + opTuple1 + opReduce + opStop)
		of[n] = udf
	}
	return &InArrow{Function: Pandas(sent, results, of...), in: in}, nil
}

// Batch makes a batch of the input's columns one to send. pandas has no NULL for
// numbers: it would make floats of integers. So a column of numbers that may be
// NULL travels as a struct of the numbers and of whether they are there, which
// are the buffers that it has. The caller releases both batches.
func (r *InArrow) Batch(b arrow.RecordBatch) (arrow.RecordBatch, error) {
	if b.NumCols() != int64(len(r.in)) {
		return nil, fmt.Errorf("by row over Arrow: a batch of %d columns, the input has %d", b.NumCols(), len(r.in))
	}
	fields, columns := make([]arrow.Field, len(r.in)), make([]arrow.Array, len(r.in))
	for i, f := range r.in {
		fields[i], columns[i] = b.Schema().Field(i), b.Column(i)
		if f.Type.isMarked() {
			if !arrow.IsPrimitive(columns[i].DataType().ID()) {
				return nil, fmt.Errorf("by row over Arrow: column %s is a %s, no number", f.Name, columns[i].DataType())
			}
			columns[i] = marked(columns[i])
			defer columns[i].Release()
			fields[i].Type = columns[i].DataType()
		}
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, b.NumRows()), nil
}

// marked is a struct of numbers and whether they are there.
func marked(column arrow.Array) arrow.Array {
	d := column.Data()
	there := d.Buffers()[0]
	if there == nil {
		all := make([]byte, (d.Offset()+d.Len()+7)/8)
		memory.Set(all, 0xff)
		there = memory.NewBufferBytes(all)
	}
	part := func(t arrow.DataType, values *memory.Buffer) arrow.ArrayData {
		return array.NewData(t, d.Len(), []*memory.Buffer{nil, values}, nil, 0, d.Offset())
	}
	parts := []arrow.ArrayData{part(d.DataType(), d.Buffers()[1]), part(arrow.FixedWidthTypes.Boolean, there)}
	t := arrow.StructOf(arrow.Field{Name: "value", Type: d.DataType()}, arrow.Field{Name: "there", Type: arrow.FixedWidthTypes.Boolean})
	whole := array.NewData(t, d.Len(), []*memory.Buffer{nil}, parts, 0, 0)
	defer whole.Release()
	for _, p := range parts {
		p.Release()
	}
	return array.NewStructData(whole)
}

// isMarked says whether the column travels with a mark of what is there.
func (t Type) isMarked() bool {
	switch t.Kind {
	case KindTinyInt, KindSmallInt, KindInt, KindBigInt, KindFloat, KindDouble:
		return !t.NotNull
	}
	return false
}

// sameInPandas says whether pandas can hand a function the values that PyFlink's
// rows have.
func (t Type) sameInPandas() bool {
	switch t.Kind {
	case KindBoolean, KindChar, KindVarChar, KindBinary, KindVarBinary, KindDecimal, KindDate, KindTime,
		KindTinyInt, KindSmallInt, KindInt, KindBigInt, KindFloat, KindDouble:
		return true
	}
	return false
}

// inColumn returns the type of Arrow columns of results, and the conversion of
// byRowSource that makes what is in them.
func (t Type) inColumn() (column Type, conversion string, err error) {
	column = t
	column.NotNull = false // PyFlink's row coder does not look
	switch t.Kind {
	case KindTinyInt, KindSmallInt, KindInt, KindBigInt:
		return column, "integer", nil
	case KindFloat, KindDouble:
		return column, "real", nil
	case KindBoolean:
		return column, "boolean", nil
	case KindChar, KindVarChar:
		return column, "text", nil
	case KindBinary, KindVarBinary:
		column.Kind = KindVarBinary
		return column, "binary", nil
	case KindDecimal:
		return column, fmt.Sprintf("decimals(%d, %d)", t.Precision, t.Scale), nil
	case KindDate:
		return column, "date", nil
	case KindTime:
		column.Precision = 3
		return column, "time", nil
	case KindTimestamp, KindLocalTimestamp:
		column.Kind, column.Precision = KindTimestamp, 3
		if t.Precision > 3 {
			column.Precision = 6
		}
		return column, fmt.Sprintf("timestamp(%d)", column.Precision), nil
	case KindArray:
		elem, of, err := t.Elem.inColumn()
		column.Elem = &elem
		return column, "array(" + of + ")", err
	case KindMap:
		key, ofKey, err := t.Key.inColumn()
		if err != nil {
			return column, "", err
		}
		elem, ofElem, err := t.Elem.inColumn()
		column.Key, column.Elem = &key, &elem
		return column, "mapping(" + ofKey + ", " + ofElem + ")", err
	case KindRow:
		return column, "", errors.New("a ROW cannot be a result")
	}
	return column, "", fmt.Errorf("PyFlink has no column for SQL type %d", t.Kind)
}

// Opcodes of a protocol that has bytes.
const (
	opProto3 = "\x80\x03"
	opBytes  = "B"
)

// loaded is the object of a pickle within a pickle.
func loaded(pickle []byte) string {
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(pickle)))
	return global("pickle", "loads") + opBytes + string(size) + string(pickle) + opTuple1 + opReduce
}
