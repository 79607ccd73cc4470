package pyflink

import (
	"encoding/binary"
	"fmt"
)

// wrapByRow is a Python function that makes a function of columns of one of
// rows. What it gives are objects, so that integers beside a NULL stay integers.
const wrapByRow = `lambda of_rows: type('ByRow', (__import__('pyflink.table.udf', fromlist=['ScalarFunction']).ScalarFunction,), {
	'open': lambda self, context: of_rows.open(context),
	'close': lambda self: of_rows.close(),
	'eval': lambda self, *columns: __import__('pandas').Series(
		[of_rows.eval(*row) for row in zip(*(c.tolist() for c in columns))], dtype=object),
})()`

// ByRow makes a function for Pandas of one for Scalar: it is still called for
// each row, but its rows travel as Arrow batches, which PyFlink reads and writes
// several times as fast as its rows.
//
// pandas has no NULL for numbers and makes objects of its own of times, decimals
// apart; a function would see the difference. So the arguments must be columns,
// and of the types BOOLEAN, CHAR, VARCHAR, BINARY, VARBINARY, DECIMAL and, if
// NOT NULL, of integers, FLOAT and DOUBLE. Else ByRow gives an error, and Scalar
// is what there is.
func ByRow(in Schema, udf UDF) (UDF, error) {
	if udf.TakesRow || len(udf.Args) == 0 {
		return UDF{}, fmt.Errorf("by row over Arrow: a function that takes the whole row, or nothing, cannot be called so")
	}
	for i, a := range udf.Args {
		if a.Call != nil || a.Constant != nil || a.Column < 0 || a.Column >= len(in) {
			return UDF{}, fmt.Errorf("by row over Arrow: argument %d is no column of the input", i)
		}
		if f := in[a.Column]; !f.Type.sameInPandas() {
			return UDF{}, fmt.Errorf("by row over Arrow: argument %d: column %s may have values that pandas has not", i, f.Name)
		}
	}
	udf.Payload = []byte(opProto3 + evaluated(wrapByRow) + loaded(udf.Payload) + opTuple1 + opReduce + opStop)
	return udf, nil
}

// sameInPandas says whether pandas hands a function the values that PyFlink's
// rows have.
func (t Type) sameInPandas() bool {
	switch t.Kind {
	case KindBoolean, KindChar, KindVarChar, KindBinary, KindVarBinary, KindDecimal:
		return true
	case KindTinyInt, KindSmallInt, KindInt, KindBigInt, KindFloat, KindDouble:
		return t.NotNull
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
