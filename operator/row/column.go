package row

import (
	"bytes"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Type is the type of a column's values.
type Type uint8

// Types, with the Go types of their values. Every value may be nil.
const (
	Int64   Type = iota // int64, or int
	Float64             // float64
	Bool                // bool
	String              // string
	Bytes               // []byte
	Time                // time.Time, in microseconds and UTC
)

// Column is a column of rows.
type Column struct {
	Name string
	Type Type
}

// arrowTypes are Arrow's names of the types.
var arrowTypes = map[Type]arrow.DataType{
	Int64: arrow.PrimitiveTypes.Int64, Float64: arrow.PrimitiveTypes.Float64, Bool: arrow.FixedWidthTypes.Boolean,
	String: arrow.BinaryTypes.String, Bytes: arrow.BinaryTypes.Binary, Time: arrow.FixedWidthTypes.Timestamp_us,
}

// schema is the Arrow schema of columns.
func schema(columns []Column) (*arrow.Schema, error) {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		t := arrowTypes[c.Type]
		if t == nil {
			return nil, fmt.Errorf("column %s has type %d, which there is not", c.Name, c.Type)
		}
		fields[i] = arrow.Field{Name: c.Name, Type: t, Nullable: true}
	}
	return arrow.NewSchema(fields, nil), nil
}

// put appends a value to a column.
func put(b array.Builder, v any) error {
	if v == nil {
		b.AppendNull()
		return nil
	}
	ok := false
	switch b := b.(type) {
	case *array.Int64Builder:
		ok = appendAs(b.Append, v)
		if x, isInt := v.(int); isInt {
			b.Append(int64(x))
			ok = true
		}
	case *array.Float64Builder:
		ok = appendAs(b.Append, v)
	case *array.BooleanBuilder:
		ok = appendAs(b.Append, v)
	case *array.StringBuilder:
		if s, isString := v.(string); isString && !utf8.ValidString(s) {
			return fmt.Errorf("%q is not UTF-8; a column of bytes takes it", s)
		}
		ok = appendAs(b.Append, v)
	case *array.BinaryBuilder:
		ok = appendAs(b.Append, v)
	case *array.TimestampBuilder:
		ok = appendAs(func(t time.Time) { b.Append(arrow.Timestamp(t.UnixMicro())) }, v)
	}
	if !ok {
		return fmt.Errorf("value of type %T in a column of %v", v, b.Type())
	}
	return nil
}

// appendAs appends v if it has the type.
func appendAs[T any](add func(T), v any) bool {
	x, ok := v.(T)
	if ok {
		add(x)
	}
	return ok
}

// get reads a value; small integers and floats come as int64 and float64.
func get(a arrow.Array, i int) (any, error) {
	if a.IsNull(i) {
		return nil, nil
	}
	switch a := a.(type) {
	case *array.Int64:
		return a.Value(i), nil
	case *array.Int32:
		return int64(a.Value(i)), nil
	case *array.Int16:
		return int64(a.Value(i)), nil
	case *array.Int8:
		return int64(a.Value(i)), nil
	case *array.Float64:
		return a.Value(i), nil
	case *array.Float32:
		return float64(a.Value(i)), nil
	case *array.Boolean:
		return a.Value(i), nil
	case *array.String:
		return a.Value(i), nil
	case *array.LargeString:
		return a.Value(i), nil
	case *array.Binary:
		return bytes.Clone(a.Value(i)), nil
	case *array.Timestamp:
		return a.Value(i).ToTime(a.DataType().(*arrow.TimestampType).Unit), nil
	case *array.Null:
		return nil, nil
	}
	return nil, fmt.Errorf("rows cannot have values of Arrow type %v", a.DataType())
}
