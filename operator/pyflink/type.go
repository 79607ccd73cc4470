package pyflink

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Kind is a kind of SQL type, with the numbers of Flink's Schema.TypeName.
type Kind uint8

// Kinds of SQL types that PyFlink's row coder has.
const (
	KindRow            Kind = 0
	KindTinyInt        Kind = 1
	KindSmallInt       Kind = 2
	KindInt            Kind = 3
	KindBigInt         Kind = 4
	KindDecimal        Kind = 5
	KindFloat          Kind = 6
	KindDouble         Kind = 7
	KindDate           Kind = 8
	KindTime           Kind = 9
	KindTimestamp      Kind = 10
	KindBoolean        Kind = 11
	KindBinary         Kind = 12
	KindVarBinary      Kind = 13
	KindChar           Kind = 14
	KindVarChar        Kind = 15
	KindArray          Kind = 16
	KindMap            Kind = 17
	KindLocalTimestamp Kind = 19
)

// Type is a SQL type. Its values in Go are:
//
//	TINYINT int8, SMALLINT int16, INT int32, BIGINT int64
//	FLOAT float32, DOUBLE float64, BOOLEAN bool
//	DECIMAL Decimal
//	CHAR, VARCHAR string; BINARY, VARBINARY []byte
//	DATE, TIMESTAMP, TIMESTAMP_LTZ time.Time; TIME time.Duration since midnight
//	ARRAY []any, MAP map[any]any, ROW Row
//
// and nil for NULL.
type Type struct {
	Kind    Kind
	NotNull bool
	// Precision is that of DECIMAL and of times; Length that of CHAR and BINARY.
	Precision, Scale, Length int
	// Elem is the type of an array's elements or a map's values, Key that of a
	// map's keys.
	Key, Elem *Type
	// Fields are those of a row.
	Fields Schema
}

// Field is a column.
type Field struct {
	Name string
	Type Type
}

// Schema are the columns of a row.
type Schema []Field

// Types without parameters.
var (
	TinyInt   = Type{Kind: KindTinyInt}
	SmallInt  = Type{Kind: KindSmallInt}
	Int       = Type{Kind: KindInt}
	BigInt    = Type{Kind: KindBigInt}
	Float     = Type{Kind: KindFloat}
	Double    = Type{Kind: KindDouble}
	Boolean   = Type{Kind: KindBoolean}
	Date      = Type{Kind: KindDate}
	Time      = Type{Kind: KindTime}
	String    = Type{Kind: KindVarChar, Length: math.MaxInt32}
	VarBinary = Type{Kind: KindVarBinary, Length: math.MaxInt32}
)

// DecimalOf is DECIMAL(precision, scale).
func DecimalOf(precision, scale int) Type {
	return Type{Kind: KindDecimal, Precision: precision, Scale: scale}
}

// Timestamp is TIMESTAMP(precision).
func Timestamp(precision int) Type { return Type{Kind: KindTimestamp, Precision: precision} }

// LocalTimestamp is TIMESTAMP_LTZ(precision).
func LocalTimestamp(precision int) Type {
	return Type{Kind: KindLocalTimestamp, Precision: precision}
}

// Char is CHAR(length).
func Char(length int) Type { return Type{Kind: KindChar, Length: length} }

// Binary is BINARY(length).
func Binary(length int) Type { return Type{Kind: KindBinary, Length: length} }

// ArrayOf is ARRAY<elem>.
func ArrayOf(elem Type) Type { return Type{Kind: KindArray, Elem: &elem} }

// MapOf is MAP<key, value>.
func MapOf(key, value Type) Type { return Type{Kind: KindMap, Key: &key, Elem: &value} }

// RowOf is ROW<fields>.
func RowOf(fields ...Field) Type { return Type{Kind: KindRow, Fields: fields} }

// Fields of FieldType's messages with details, by kind.
var detailFields = map[Kind]protowire.Number{
	KindTime: 7, KindTimestamp: 8, KindLocalTimestamp: 9,
	KindBinary: 11, KindVarBinary: 12, KindChar: 13, KindVarChar: 14,
}

// proto writes a FieldType.
func (t Type) proto() message {
	m := message(nil).int(1, int64(t.Kind)).bool(2, !t.NotNull)
	switch t.Kind {
	case KindRow:
		return m.bytes(5, t.Fields.proto())
	case KindArray:
		return m.bytes(3, t.Elem.proto())
	case KindMap:
		return m.bytes(4, message(nil).bytes(1, t.Key.proto()).bytes(2, t.Elem.proto()))
	case KindDecimal:
		return m.bytes(6, message(nil).int(1, int64(t.Precision)).int(2, int64(t.Scale)))
	case KindTime, KindTimestamp, KindLocalTimestamp:
		return m.bytes(detailFields[t.Kind], message(nil).int(1, int64(t.Precision)))
	case KindBinary, KindVarBinary, KindChar, KindVarChar:
		return m.bytes(detailFields[t.Kind], message(nil).int(1, int64(t.Length)))
	}
	return m
}

// proto writes a Schema.
func (s Schema) proto() message {
	var m message
	for _, f := range s {
		m = m.bytes(1, message(nil).bytes(1, []byte(f.Name)).bytes(3, f.Type.proto()))
	}
	return m
}

// codec returns what writes and reads values of t.
func (t Type) codec() (codec, error) {
	switch t.Kind {
	case KindArray:
		elem, err := t.Elem.codec()
		return arrayCodec{elem}, err
	case KindMap:
		key, err := t.Key.codec()
		if err != nil {
			return nil, err
		}
		value, err := t.Elem.codec()
		return mapCodec{key, value}, err
	case KindRow:
		return t.Fields.codec()
	case KindTimestamp, KindLocalTimestamp:
		return timestampCodec{compact: t.Precision <= 3}, nil
	}
	if c := scalarCodecs[t.Kind]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("PyFlink has no coder for SQL type %d", t.Kind)
}

// codec returns what writes and reads rows of s.
func (s Schema) codec() (rowCodec, error) {
	c := make(rowCodec, len(s))
	for i, f := range s {
		var err error
		if c[i], err = f.Type.codec(); err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
	}
	return c, nil
}

// scalarCodecs are those of types without parameters that matter.
var scalarCodecs = map[Kind]codec{
	KindTinyInt: int8Codec{}, KindSmallInt: int16Codec{}, KindInt: int32Codec{}, KindBigInt: int64Codec{},
	KindFloat: floatCodec{}, KindDouble: doubleCodec{}, KindBoolean: boolCodec{}, KindDecimal: decimalCodec{},
	KindBinary: bytesCodec{}, KindVarBinary: bytesCodec{}, KindChar: stringCodec{}, KindVarChar: stringCodec{},
	KindDate: dateCodec{}, KindTime: timeCodec{},
}
