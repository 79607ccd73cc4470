package coder

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"unicode/utf8"
)

// Limits of Value: what people look at.
const (
	// valuesMax is how many elements of an iterable are decoded.
	valuesMax = 100
	// textMax is how many bytes of a text are decoded, of others half as many.
	textMax = 4096
)

// Field is a value of a row.
type Field struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// Pair is a KV.
type Pair struct {
	Key   any `json:"key"`
	Value any `json:"value"`
}

// Value decodes the encoding at the front of b, for people: into a bool, an
// int64, a float64, a string, nil, a Pair, a list or, for a row, its fields.
// Bytes, and what only the SDK can decode, are a string: as text if they look
// like some, else in hexadecimal. Long values are cut. An encoding that is
// broken, or of a coder that is not scannable, is shown like bytes.
func (c *Coder) Value(b []byte) any {
	v, _, err := c.value(b)
	if err != nil {
		return text(b)
	}
	return v
}

// value returns the value and the length of its encoding.
func (c *Coder) value(b []byte) (v any, n int, err error) {
	if c.Kind == Opaque {
		return text(b), len(b), nil // it is all there is, or within a length
	}
	if n, err = c.Skip(b); err != nil {
		// An opaque part at the end of a pair takes the rest.
		if c.Kind == KV {
			return c.pair(b)
		}
		return nil, 0, err
	}
	v, err = c.decode(b[:n])
	return v, n, err
}

// decode decodes one whole encoding.
func (c *Coder) decode(b []byte) (any, error) {
	switch c.Kind {
	case Bool:
		return b[0] != 0, nil
	case Varint64:
		v, _, err := Varint(b)
		return int64(v), err
	case Double:
		return double(binary.BigEndian.Uint64(b)), nil
	case Bytes, StringUTF8:
		v, _, err := DecodeBytes(b)
		return text(v), err
	case LengthPrefix:
		v, _, err := DecodeBytes(b)
		if err != nil {
			return nil, err
		}
		return c.Components[0].Value(v), nil
	case KV:
		v, _, err := c.pair(b)
		return v, err
	case ShardedKey:
		_, n, err := DecodeBytes(b)
		if err != nil {
			return nil, err
		}
		return c.Components[0].Value(b[n:]), nil
	case Nullable:
		if b[0] == 0 {
			return nil, nil
		}
		return c.Components[0].Value(b[1:]), nil
	case Iterable:
		return c.list(b)
	case Row:
		return c.row(b)
	}
	return text(b), nil
}

// double is a number that JSON has, or else its name.
func double(bits uint64) any {
	f := math.Float64frombits(bits)
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return f
}

func (c *Coder) pair(b []byte) (any, int, error) {
	key, n, err := c.Components[0].value(b)
	if err != nil {
		return nil, 0, err
	}
	value, m, err := c.Components[1].value(b[n:])
	if err != nil {
		return nil, 0, err
	}
	return Pair{key, value}, n + m, nil
}

// list decodes an iterable, whose encoding has been found to be whole.
func (c *Coder) list(b []byte) (any, error) {
	count, off, err := int32At(b, 0)
	if err != nil {
		return nil, err
	}
	list := []any{}
	left := int64(count)
	for {
		if count == unknownCount && left <= 0 {
			size, n, err := Varint(b[off:])
			if err != nil {
				return nil, err
			}
			off += n
			left = int64(size)
		}
		if left <= 0 || len(list) >= valuesMax {
			return list, nil
		}
		v, n, err := c.Components[0].value(b[off:])
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		off += n
		left--
	}
}

func (c *Coder) row(b []byte) (any, error) {
	count, off, err := Varint(b)
	if err != nil {
		return nil, err
	}
	nulls, n, err := DecodeBytes(b[off:])
	if err != nil {
		return nil, err
	}
	off += n
	fields := []Field{}
	for _, f := range c.fields[:min(count, uint64(len(c.fields)))] {
		if isNull(nulls, f.index) {
			fields = append(fields, Field{f.name, nil})
			continue
		}
		v, n, err := f.coder.value(b[off:])
		if err != nil {
			return nil, err
		}
		fields = append(fields, Field{f.name, v})
		off += n
	}
	return fields, nil
}

// text shows bytes.
func text(b []byte) string {
	cut := ""
	if len(b) > textMax {
		b, cut = b[:textMax], "…"
		for len(b) > textMax-utf8.UTFMax && !utf8.Valid(b) {
			b = b[:len(b)-1]
		}
	}
	if readable(b) {
		return string(b) + cut
	}
	if len(b) > textMax/2 {
		b, cut = b[:textMax/2], "…"
	}
	return "0x" + hex.EncodeToString(b) + cut
}

// readable says that bytes are text, as far as people can see.
func readable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}
