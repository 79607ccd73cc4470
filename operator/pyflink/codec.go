package pyflink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// codec writes and reads values of one type that are not null, as
// pyflink.fn_execution.coder_impl does.
type codec interface {
	append(dst []byte, v any) ([]byte, error)
	read(b []byte) (v any, rest []byte, err error)
}

// Decimal is a decimal number in digits, such as "-12.50".
type Decimal string

// errShort is reported for rows that end too early.
var errShort = errors.New("row is too short")

// mismatch reports a value of another type than the column has.
func mismatch(want string, v any) error {
	return fmt.Errorf("value of type %T where the column has %s", v, want)
}

type (
	int8Codec    struct{}
	int16Codec   struct{}
	int32Codec   struct{}
	int64Codec   struct{}
	floatCodec   struct{}
	doubleCodec  struct{}
	boolCodec    struct{}
	bytesCodec   struct{}
	stringCodec  struct{}
	decimalCodec struct{}
	dateCodec    struct{}
	timeCodec    struct{}
	// timestampCodec writes milliseconds, and unless it is compact, the
	// nanoseconds of the last one.
	timestampCodec struct{ compact bool }
)

func (int8Codec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(int8)
	if !ok {
		return nil, mismatch("int8", v)
	}
	return append(dst, byte(x)), nil
}

func (int8Codec) read(b []byte) (any, []byte, error) {
	if len(b) < 1 {
		return nil, nil, errShort
	}
	return int8(b[0]), b[1:], nil
}

func (int16Codec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(int16)
	if !ok {
		return nil, mismatch("int16", v)
	}
	return binary.BigEndian.AppendUint16(dst, uint16(x)), nil
}

func (int16Codec) read(b []byte) (any, []byte, error) {
	if len(b) < 2 {
		return nil, nil, errShort
	}
	return int16(binary.BigEndian.Uint16(b)), b[2:], nil
}

func (int32Codec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(int32)
	if !ok {
		return nil, mismatch("int32", v)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(x)), nil
}

func (int32Codec) read(b []byte) (any, []byte, error) {
	x, rest, err := readUint32(b)
	return int32(x), rest, err
}

func readUint32(b []byte) (uint32, []byte, error) {
	if len(b) < 4 {
		return 0, nil, errShort
	}
	return binary.BigEndian.Uint32(b), b[4:], nil
}

func readUint64(b []byte) (uint64, []byte, error) {
	if len(b) < 8 {
		return 0, nil, errShort
	}
	return binary.BigEndian.Uint64(b), b[8:], nil
}

func (int64Codec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(int64)
	if !ok {
		return nil, mismatch("int64", v)
	}
	return binary.BigEndian.AppendUint64(dst, uint64(x)), nil
}

func (int64Codec) read(b []byte) (any, []byte, error) {
	x, rest, err := readUint64(b)
	return int64(x), rest, err
}

func (floatCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(float32)
	if !ok {
		return nil, mismatch("float32", v)
	}
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(x)), nil
}

func (floatCodec) read(b []byte) (any, []byte, error) {
	x, rest, err := readUint32(b)
	return math.Float32frombits(x), rest, err
}

func (doubleCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(float64)
	if !ok {
		return nil, mismatch("float64", v)
	}
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(x)), nil
}

func (doubleCodec) read(b []byte) (any, []byte, error) {
	x, rest, err := readUint64(b)
	return math.Float64frombits(x), rest, err
}

func (boolCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(bool)
	if !ok {
		return nil, mismatch("bool", v)
	}
	return appendBool(dst, x), nil
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func (boolCodec) read(b []byte) (any, []byte, error) {
	if len(b) < 1 {
		return nil, nil, errShort
	}
	return b[0] != 0, b[1:], nil
}

// appendSized writes a length of four bytes and v.
func appendSized[T ~string | ~[]byte](dst []byte, v T) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
}

// readSized is the reverse of appendSized; the result aliases b.
func readSized(b []byte) (v, rest []byte, err error) {
	n, rest, err := readUint32(b)
	if err != nil || uint64(n) > uint64(len(rest)) {
		return nil, nil, errShort
	}
	return rest[:n:n], rest[n:], nil
}

func (bytesCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.([]byte)
	if !ok {
		return nil, mismatch("[]byte", v)
	}
	return appendSized(dst, x), nil
}

func (bytesCodec) read(b []byte) (any, []byte, error) {
	v, rest, err := readSized(b)
	return v, rest, err
}

func (stringCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(string)
	if !ok {
		return nil, mismatch("string", v)
	}
	return appendSized(dst, x), nil
}

func (stringCodec) read(b []byte) (any, []byte, error) {
	v, rest, err := readSized(b)
	return string(v), rest, err
}

func (decimalCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(Decimal)
	if !ok {
		return nil, mismatch("Decimal", v)
	}
	return appendSized(dst, x), nil
}

func (decimalCodec) read(b []byte) (any, []byte, error) {
	v, rest, err := readSized(b)
	return Decimal(v), rest, err
}

func (dateCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(time.Time)
	if !ok {
		return nil, mismatch("time.Time", v)
	}
	day := time.Date(x.Year(), x.Month(), x.Day(), 0, 0, 0, 0, time.UTC)
	return binary.BigEndian.AppendUint32(dst, uint32(day.Unix()/86400)), nil
}

func (dateCodec) read(b []byte) (any, []byte, error) {
	x, rest, err := readUint32(b)
	return time.Unix(int64(int32(x))*86400, 0).UTC(), rest, err
}

func (timeCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(time.Duration)
	if !ok {
		return nil, mismatch("time.Duration", v)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(x.Milliseconds())), nil
}

func (timeCodec) read(b []byte) (any, []byte, error) {
	x, rest, err := readUint32(b)
	return time.Duration(int32(x)) * time.Millisecond, rest, err
}

func (c timestampCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(time.Time)
	if !ok {
		return nil, mismatch("time.Time", v)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(x.UnixMilli()))
	if c.compact {
		return dst, nil
	}
	return binary.BigEndian.AppendUint32(dst, uint32(x.Nanosecond()%int(time.Millisecond))), nil
}

func (c timestampCodec) read(b []byte) (any, []byte, error) {
	ms, rest, err := readUint64(b)
	if err != nil {
		return nil, nil, err
	}
	t := time.UnixMilli(int64(ms)).UTC()
	if c.compact {
		return t, rest, nil
	}
	ns, rest, err := readUint32(rest)
	return t.Add(time.Duration(ns)), rest, err
}
