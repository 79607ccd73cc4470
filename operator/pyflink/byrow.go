package pyflink

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/pharos-beam/pharos/operator"
)

// wrapByRow is a Python function that makes a function of columns of one of
// rows. A column of two is one of numbers and whether there is one, see
// [InArrow.Batch]. What it gives are objects, so that integers beside a NULL stay
// integers.
const wrapByRow = `lambda of_rows: (lambda pd, values: type('ByRow', (__import__('pyflink.table.udf', fromlist=['ScalarFunction']).ScalarFunction,), {
	'open': lambda self, context: of_rows.open(context),
	'close': lambda self: of_rows.close(),
	'eval': lambda self, *columns: pd.Series(
		[of_rows.eval(*row) for row in zip(*(values(c) for c in columns))], dtype=object),
})())(
	__import__('pandas'),
	lambda c: c.tolist() if c.ndim == 1
		else c.iloc[:, 0].tolist() if c.iloc[:, 1].all()
		else [v if there else None for v, there in zip(c.iloc[:, 0].tolist(), c.iloc[:, 1].tolist())])`

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
// types. Else ByRow gives an error, and Scalar is what there is.
func ByRow(in, out Schema, udfs ...UDF) (*InArrow, error) {
	sent := make(Schema, len(in))
	for i, f := range in {
		sent[i] = f
		if f.Type.isMarked() {
			sent[i].Type = RowOf(Field{Name: "value", Type: f.Type}, Field{Name: "there", Type: Boolean})
		}
	}
	of := make([]UDF, len(udfs))
	for n, udf := range udfs {
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
		udf.Payload = []byte(opProto3 + evaluated(wrapByRow) + loaded(udf.Payload) + opTuple1 + opReduce + opStop)
		of[n] = udf
	}
	return &InArrow{Function: Pandas(sent, out, of...), in: in}, nil
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
