package pyflink

import (
	"encoding/binary"
	"fmt"
)

// RowKind says what a row of a changelog does, in Flink's numbers.
type RowKind uint8

// Kinds of rows.
const (
	Insert RowKind = iota
	UpdateBefore
	UpdateAfter
	Delete
)

// kindBits are the first two bits of a row, by kind.
var kindBits = [4]byte{0x00, 0x80, 0x40, 0xc0}

// kindOf is the reverse of kindBits.
func kindOf(mask byte) RowKind { return RowKind(mask>>7 | mask>>5&2) }

// Row is a row of a changelog, or a nested one.
type Row struct {
	Kind   RowKind
	Fields []any
}

// Values is a row that is inserted.
func Values(fields ...any) Row { return Row{Fields: fields} }

// rowCodec writes rows: two bits of kind and a bit for each null, in whole
// bytes, then the fields that are not null.
type rowCodec []codec

// maskLen is how many bytes the bits of a row with n fields take.
func maskLen(n int) int { return (n + 2 + 7) / 8 }

func (c rowCodec) append(dst []byte, v any) ([]byte, error) {
	r, ok := v.(Row)
	if !ok {
		return nil, mismatch("Row", v)
	}
	if len(r.Fields) != len(c) || r.Kind > Delete {
		return nil, fmt.Errorf("row of kind %d with %d fields where the type has %d", r.Kind, len(r.Fields), len(c))
	}
	at := len(dst)
	dst = append(dst, make([]byte, maskLen(len(c)))...)
	dst[at] = kindBits[r.Kind]
	for i, f := range r.Fields {
		if f == nil {
			dst[at+(i+2)/8] |= 0x80 >> ((i + 2) % 8)
			continue
		}
		var err error
		if dst, err = c[i].append(dst, f); err != nil {
			return nil, fmt.Errorf("field %d: %w", i, err)
		}
	}
	return dst, nil
}

func (c rowCodec) read(b []byte) (any, []byte, error) {
	n := maskLen(len(c))
	if len(b) < n {
		return nil, nil, errShort
	}
	mask, rest := b[:n], b[n:]
	r := Row{Kind: kindOf(mask[0]), Fields: make([]any, len(c))}
	for i := range c {
		if mask[(i+2)/8]&(0x80>>((i+2)%8)) != 0 {
			continue
		}
		var err error
		if r.Fields[i], rest, err = c[i].read(rest); err != nil {
			return nil, nil, fmt.Errorf("field %d: %w", i, err)
		}
	}
	return r, rest, nil
}

// arrayCodec writes a count, and before each element whether it is there.
type arrayCodec struct{ elem codec }

func (c arrayCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.([]any)
	if !ok {
		return nil, mismatch("[]any", v)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(x)))
	for i, e := range x {
		dst = appendBool(dst, e != nil)
		if e == nil {
			continue
		}
		var err error
		if dst, err = c.elem.append(dst, e); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return dst, nil
}

func (c arrayCodec) read(b []byte) (any, []byte, error) {
	n, b, err := readUint32(b)
	if err != nil || int64(n) > int64(len(b)) {
		return nil, nil, errShort
	}
	x := make([]any, n)
	for i := range x {
		if len(b) < 1 {
			return nil, nil, errShort
		}
		there := b[0] != 0
		b = b[1:]
		if !there {
			continue
		}
		if x[i], b, err = c.elem.read(b); err != nil {
			return nil, nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return x, b, nil
}

// plainArrayCodec writes a count and the elements, none of which is null.
type plainArrayCodec struct{ elem codec }

func (c plainArrayCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.([]any)
	if !ok {
		return nil, mismatch("[]any", v)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(x)))
	for i, e := range x {
		var err error
		if dst, err = c.elem.append(dst, e); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return dst, nil
}

func (c plainArrayCodec) read(b []byte) (any, []byte, error) {
	n, b, err := readUint32(b)
	if err != nil || int64(n) > int64(len(b)) {
		return nil, nil, errShort
	}
	x := make([]any, n)
	for i := range x {
		if x[i], b, err = c.elem.read(b); err != nil {
			return nil, nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return x, b, nil
}

// mapCodec writes a count, and for each entry the key, whether the value is
// null, and the value.
type mapCodec struct{ key, value codec }

func (c mapCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.(map[any]any)
	if !ok {
		return nil, mismatch("map[any]any", v)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(x)))
	for k, e := range x {
		var err error
		if dst, err = c.key.append(dst, k); err != nil {
			return nil, fmt.Errorf("key %v: %w", k, err)
		}
		dst = appendBool(dst, e == nil)
		if e == nil {
			continue
		}
		if dst, err = c.value.append(dst, e); err != nil {
			return nil, fmt.Errorf("value of %v: %w", k, err)
		}
	}
	return dst, nil
}

func (c mapCodec) read(b []byte) (any, []byte, error) {
	n, b, err := readUint32(b)
	if err != nil || int64(n) > int64(len(b)) {
		return nil, nil, errShort
	}
	x := make(map[any]any, n)
	for range n {
		var k, v any
		if k, b, err = c.key.read(b); err != nil {
			return nil, nil, fmt.Errorf("map key: %w", err)
		}
		if k, err = mapKey(k); err != nil {
			return nil, nil, err
		}
		if len(b) < 1 {
			return nil, nil, errShort
		}
		null := b[0] != 0
		if b = b[1:]; !null {
			if v, b, err = c.value.read(b); err != nil {
				return nil, nil, fmt.Errorf("map value: %w", err)
			}
		}
		x[k] = v
	}
	return x, b, nil
}

// mapKey refuses what Go cannot have as a key.
func mapKey(k any) (any, error) {
	switch k.(type) {
	case []byte, []any, map[any]any, Row:
		return nil, fmt.Errorf("a map with keys of type %T cannot be read", k)
	}
	return k, nil
}

// tupleCodec writes fields one after the other, none of which is null.
type tupleCodec []codec

func (c tupleCodec) append(dst []byte, v any) ([]byte, error) {
	x, ok := v.([]any)
	if !ok || len(x) != len(c) {
		return nil, mismatch(fmt.Sprintf("[]any of %d", len(c)), v)
	}
	for i, e := range x {
		var err error
		if dst, err = c[i].append(dst, e); err != nil {
			return nil, fmt.Errorf("field %d: %w", i, err)
		}
	}
	return dst, nil
}

func (c tupleCodec) read(b []byte) (any, []byte, error) {
	x := make([]any, len(c))
	for i := range c {
		var err error
		if x[i], b, err = c[i].read(b); err != nil {
			return nil, nil, fmt.Errorf("field %d: %w", i, err)
		}
	}
	return x, b, nil
}
