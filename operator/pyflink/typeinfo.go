package pyflink

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// InfoKind is a kind of DataStream type, with the numbers of Flink's
// TypeInfo.TypeName.
type InfoKind uint8

// Kinds of DataStream types.
const (
	InfoRow            InfoKind = 0
	InfoString         InfoKind = 1
	InfoByte           InfoKind = 2
	InfoBoolean        InfoKind = 3
	InfoShort          InfoKind = 4
	InfoInt            InfoKind = 5
	InfoLong           InfoKind = 6
	InfoFloat          InfoKind = 7
	InfoDouble         InfoKind = 8
	InfoChar           InfoKind = 9
	InfoBigInt         InfoKind = 10
	InfoBigDecimal     InfoKind = 11
	InfoDate           InfoKind = 12
	InfoTime           InfoKind = 13
	InfoTimestamp      InfoKind = 14
	InfoBasicArray     InfoKind = 15
	InfoPrimitiveArray InfoKind = 16
	InfoTuple          InfoKind = 17
	InfoList           InfoKind = 18
	InfoMap            InfoKind = 19
	InfoPickled        InfoKind = 20
	InfoObjectArray    InfoKind = 21
	InfoInstant        InfoKind = 22
)

// TypeInfo is a type of the DataStream API. Its values in Go are those of the
// SQL type of the same name; a tuple and an array are []any, an instant is a
// time.Time, and a pickled value is its []byte.
type TypeInfo struct {
	Kind InfoKind
	// Fields are those of a row or tuple. Those of a row may have names.
	Fields []TypeInfo
	Names  []string
	// Key and Elem are the types of a map's keys and of values or elements.
	Key, Elem *TypeInfo
}

// Types without parameters.
var (
	LongInfo    = TypeInfo{Kind: InfoLong}
	IntInfo     = TypeInfo{Kind: InfoInt}
	ByteInfo    = TypeInfo{Kind: InfoByte}
	BooleanInfo = TypeInfo{Kind: InfoBoolean}
	DoubleInfo  = TypeInfo{Kind: InfoDouble}
	StringInfo  = TypeInfo{Kind: InfoString}
	PickledInfo = TypeInfo{Kind: InfoPickled}
	bytesInfo   = TypeInfo{Kind: InfoPrimitiveArray, Elem: &ByteInfo}
)

// RowInfo is a row of fields.
func RowInfo(fields ...TypeInfo) TypeInfo { return TypeInfo{Kind: InfoRow, Fields: fields} }

// TupleInfo is a tuple of fields.
func TupleInfo(fields ...TypeInfo) TypeInfo { return TypeInfo{Kind: InfoTuple, Fields: fields} }

// proto writes a TypeInfo.
func (t TypeInfo) proto() message {
	m := message(nil).int(1, int64(t.Kind))
	switch t.Kind {
	case InfoRow:
		var fields message
		for i, f := range t.Fields {
			fields = fields.bytes(1, message(nil).bytes(1, []byte(t.fieldName(i))).bytes(2, f.proto()))
		}
		return m.bytes(3, fields)
	case InfoTuple:
		var fields message
		for _, f := range t.Fields {
			fields = fields.bytes(1, f.proto())
		}
		return m.bytes(4, fields)
	case InfoMap:
		return m.bytes(5, message(nil).bytes(1, t.Key.proto()).bytes(2, t.Elem.proto()))
	case InfoBasicArray, InfoPrimitiveArray, InfoObjectArray, InfoList:
		return m.bytes(2, t.Elem.proto())
	}
	return m
}

// fieldName is the name of a row's field.
func (t TypeInfo) fieldName(i int) string {
	if i < len(t.Names) {
		return t.Names[i]
	}
	return "f" + strconv.Itoa(i)
}

// codec returns what writes and reads values of t.
func (t TypeInfo) codec() (codec, error) {
	if c := infoCodecs[t.Kind]; c != nil {
		return c, nil
	}
	switch t.Kind {
	case InfoRow:
		c, err := codecs(t.Fields)
		return rowCodec(c), err
	case InfoTuple:
		c, err := codecs(t.Fields)
		return tupleCodec(c), err
	case InfoMap:
		c, err := codecs([]TypeInfo{*t.Key, *t.Elem})
		if err != nil {
			return nil, err
		}
		return mapCodec{c[0], c[1]}, nil
	case InfoPrimitiveArray, InfoList:
		if t.Elem.Kind == InfoByte {
			return bytesCodec{}, nil
		}
		elem, err := t.Elem.codec()
		return plainArrayCodec{elem}, err
	case InfoBasicArray, InfoObjectArray:
		elem, err := t.Elem.codec()
		return arrayCodec{elem}, err
	}
	return nil, fmt.Errorf("PyFlink type %d is not supported", t.Kind)
}

// codecs returns the codecs of several types.
func codecs(types []TypeInfo) ([]codec, error) {
	c := make([]codec, len(types))
	for i, t := range types {
		var err error
		if c[i], err = t.codec(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// infoCodecs are those of types without parameters.
var infoCodecs = map[InfoKind]codec{
	InfoString: stringCodec{}, InfoChar: stringCodec{}, InfoByte: int8Codec{}, InfoBoolean: boolCodec{},
	InfoShort: int16Codec{}, InfoInt: int32Codec{}, InfoLong: int64Codec{}, InfoBigInt: int64Codec{},
	InfoFloat: floatCodec{}, InfoDouble: doubleCodec{}, InfoBigDecimal: decimalCodec{}, InfoDate: dateCodec{},
	InfoTime: timeCodec{}, InfoTimestamp: timestampCodec{compact: true}, InfoPickled: bytesCodec{},
	InfoInstant: instantCodec{},
}

// instantCodec writes seconds and nanoseconds.
type instantCodec struct{}

func (instantCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(time.Time)
	if !ok {
		return nil, mismatch("time.Time", v)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(x.Unix()))
	return binary.BigEndian.AppendUint32(dst, uint32(x.Nanosecond())), nil
}

func (instantCodec) read(b []byte) (any, []byte, error) {
	s, b, err := readUint64(b)
	if err != nil {
		return nil, nil, err
	}
	ns, b, err := readUint32(b)
	return time.Unix(int64(s), int64(int32(ns))).UTC(), b, err
}

// NewStreamCoder returns the coder of rows with fields of DataStream types.
func NewStreamCoder(fields ...TypeInfo) (*RowCoder, error) {
	c, err := codecs(fields)
	if err != nil {
		return nil, err
	}
	return &RowCoder{codec: c}, nil
}
