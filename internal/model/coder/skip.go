package coder

import (
	"encoding/binary"
	"fmt"
)

// op is one step over an encoding. Most coders of real pipelines are a handful
// of these in a row, with no recursion: kv<bytes, kv<varint, double>> is
// delimited, varint, skip 8.
type op struct {
	code opcode
	n    int    // opFixed
	c    *Coder // opCall
}

type opcode uint8

const (
	// opFixed skips n bytes.
	opFixed opcode = iota
	// opVarint skips one varint.
	opVarint
	// opDelimited skips a length and as many bytes.
	opDelimited
	// opCall skips an encoding of c, whatever it takes.
	opCall
)

// maxInline is how many steps of a component are written into the program of
// the coder around it. Without a limit a tower of coders that use each other
// twice would give a program of exponential size.
const maxInline = 8

// compile writes the program of c.
func compile(c *Coder) []op {
	if c.width != variable {
		return []op{{code: opFixed, n: c.width}}
	}
	switch c.Kind {
	case Varint64:
		return []op{{code: opVarint}}
	case Bytes, StringUTF8, LengthPrefix:
		return []op{{code: opDelimited}}
	case IntervalWindow:
		return []op{{code: opFixed, n: 8}, {code: opVarint}}
	case KV:
		return inline(inline(nil, c.Components[0]), c.Components[1])
	case ShardedKey:
		return inline([]op{{code: opDelimited}}, c.Components[0])
	case CustomWindow:
		return inline([]op{{code: opFixed, n: 8}}, c.Components[0])
	case ParamWindowedValue:
		return inline(nil, c.Components[0])
	}
	return []op{{code: opCall, c: c}}
}

// inline appends the steps over c.
func inline(prog []op, c *Coder) []op {
	if len(c.prog) > maxInline {
		return append(prog, op{code: opCall, c: c})
	}
	for _, o := range c.prog {
		if last := len(prog) - 1; last >= 0 && o.code == opFixed && prog[last].code == opFixed {
			prog[last].n = addWidths(prog[last].n, o.n)
			continue
		}
		prog = append(prog, o)
	}
	return prog
}

// Skip returns the length of the one encoding at the front of b. The error is
// ErrTruncated if b ends too early, and names the coder otherwise.
func (c *Coder) Skip(b []byte) (n int, err error) {
	n, err = run(c.prog, b, 0)
	if err != nil {
		return 0, c.explain(err)
	}
	return n, nil
}

// explain names the coder in an error. ErrTruncated stays as it is: it is an
// ordinary event at the end of each message, and must not allocate.
func (c *Coder) explain(err error) error {
	if err == ErrTruncated {
		return err
	}
	return fmt.Errorf("coder %v: %w", c, err)
}

// run takes the steps of prog from off and returns the offset behind them.
func run(prog []op, b []byte, off int) (int, error) {
	for i := range prog {
		o := &prog[i]
		switch o.code {
		case opFixed:
			if len(b)-off < o.n {
				return 0, ErrTruncated
			}
			off += o.n
		case opVarint:
			if off < len(b) && b[off] < 0x80 {
				off++
				continue
			}
			_, n, err := longVarint(b[off:])
			if err != nil {
				return 0, err
			}
			off += n
		case opDelimited:
			if off < len(b) && b[off] < 0x80 && int(b[off]) < len(b)-off {
				off += 1 + int(b[off])
				continue
			}
			end, err := skipDelimited(b, off)
			if err != nil {
				return 0, err
			}
			off = end
		default:
			end, err := call(o.c, b, off)
			if err != nil {
				return 0, err
			}
			off = end
		}
	}
	return off, nil
}

// skipDelimited skips a length and as many bytes.
func skipDelimited(b []byte, off int) (int, error) {
	v, n, err := Varint(b[off:])
	if err != nil {
		return 0, err
	}
	if v > MaxLength {
		return 0, errLength
	}
	off += n
	if uint64(len(b)-off) < v {
		return 0, ErrTruncated
	}
	return off + int(v), nil
}

// call skips the kinds that are no fixed row of steps.
func call(c *Coder, b []byte, off int) (int, error) {
	switch c.Kind {
	case Iterable, StateBackedIterable:
		return skipIterable(c, b, off)
	case Nullable:
		return skipNullable(c, b, off)
	case Row:
		return skipRow(c, b, off)
	case WindowedValue:
		return skipWindowedValue(c, b, off)
	case Timer:
		return skipTimer(c, b, off)
	case Opaque:
		return 0, ErrOpaque
	}
	return run(c.prog, b, off)
}

// Counts in front of the chunks of an iterable.
const (
	// unknownCount, in place of the number of elements, says that chunks follow.
	unknownCount = -1
	// stateToken, in place of the size of a chunk, says that the rest is to be
	// had from the state API.
	stateToken = ^uint64(0)
)

var (
	errCount      = wrapMalformed("negative number of elements in an iterable")
	errStateToken = wrapMalformed("state token in an iterable that is not state-backed")
	errNull       = wrapMalformed("null indicator is neither 0 nor 1")
)

func skipIterable(c *Coder, b []byte, off int) (int, error) {
	n, off, err := int32At(b, off)
	if err != nil {
		return 0, err
	}
	if n != unknownCount {
		return skipN(c.Components[0], int64(n), b, off)
	}
	for {
		size, w, err := Varint(b[off:])
		if err != nil {
			return 0, err
		}
		off += w
		switch {
		case size == 0:
			return off, nil
		case size == stateToken:
			if c.Kind != StateBackedIterable {
				return 0, errStateToken
			}
			return skipDelimited(b, off)
		}
		if off, err = skipN(c.Components[0], int64(size), b, off); err != nil {
			return 0, err
		}
	}
}

// skipN skips n encodings of c. Its time is bounded by len(b): a coder of fixed
// width takes one step, and one of variable width uses up a byte each time.
func skipN(c *Coder, n int64, b []byte, off int) (int, error) {
	if n < 0 {
		return 0, errCount
	}
	if c.width != variable {
		if c.width > 0 && n > int64(len(b)-off)/int64(c.width) {
			return 0, ErrTruncated
		}
		return off + int(n)*c.width, nil
	}
	var err error
	for ; n > 0; n-- {
		if off, err = run(c.prog, b, off); err != nil {
			return 0, err
		}
	}
	return off, nil
}

func skipNullable(c *Coder, b []byte, off int) (int, error) {
	if off >= len(b) {
		return 0, ErrTruncated
	}
	switch b[off] {
	case 0:
		return off + 1, nil
	case 1:
		return run(c.Components[0].prog, b, off+1)
	}
	return 0, errNull
}

// int32At reads a big-endian count.
func int32At(b []byte, off int) (int32, int, error) {
	if len(b)-off < 4 {
		return 0, 0, ErrTruncated
	}
	return int32(binary.BigEndian.Uint32(b[off:])), off + 4, nil
}

var errFieldCount = wrapMalformed("row has more fields than its schema")

// skipRow skips the number of fields, the bitmap of nulls, and the fields that
// are there. A row can have fewer fields than its schema, when one written
// before an update of the pipeline is read after it. One with more cannot be
// skipped, because nobody knows what the additional fields are.
func skipRow(c *Coder, b []byte, off int) (int, error) {
	count, n, err := Varint(b[off:])
	if err != nil {
		return 0, err
	}
	if count > uint64(len(c.fields)) {
		return 0, errFieldCount
	}
	off += n
	nulls, n, err := DecodeBytes(b[off:])
	if err != nil {
		return 0, err
	}
	off += n
	for _, f := range c.fields[:count] {
		if isNull(nulls, f.index) {
			continue
		}
		if off, err = run(f.coder.prog, b, off); err != nil {
			return 0, err
		}
	}
	return off, nil
}

// isNull looks up a field in a bitmap, whose trailing zero bytes are left out.
func isNull(nulls []byte, i int) bool {
	return i>>3 < len(nulls) && nulls[i>>3]&(1<<(i&7)) != 0
}

// SplitKV returns the parts of an encoded KV. They alias value, and val is all
// that follows the key.
func SplitKV(c *Coder, value []byte) (key, val []byte, err error) {
	if c.Kind != KV {
		return nil, nil, fmt.Errorf("%w: coder %v is not a kv", ErrBadCoder, c)
	}
	n, err := c.Components[0].Skip(value)
	if err != nil {
		return nil, nil, fmt.Errorf("key of %v: %w", c, err)
	}
	return value[:n:n], value[n:], nil
}
