package coder

import (
	"errors"
	"math/bits"
)

// Errors of scanning.
var (
	// ErrTruncated is the error for bytes that end before the encoding does.
	// With more bytes the same scan can succeed.
	ErrTruncated = errors.New("encoding is truncated")
	// ErrMalformed is the error for bytes that are no encoding, whatever follows.
	ErrMalformed = errors.New("malformed encoding")
	// ErrOpaque is the error of scanning for the end of an opaque encoding.
	ErrOpaque = errors.New("cannot find the end of an encoding by an unknown coder")

	errVarint = wrapMalformed("varint of more than 64 bits")
	errLength = wrapMalformed("length out of range")
)

// malformed is an ErrMalformed with a reason. These are made once, so that a
// scan does not allocate even when it fails.
type malformed string

func wrapMalformed(reason string) error { return malformed(reason) }

func (m malformed) Error() string { return ErrMalformed.Error() + ": " + string(m) }
func (m malformed) Unwrap() error { return ErrMalformed }

// MaxVarintLen is the length in bytes of the longest varint.
const MaxVarintLen = 10

// MaxLength is the largest length prefix and number of bytes of one value: what
// Java's SDK can hold. A larger one means that bytes have been lost, and would
// otherwise make the runner collect input for ever.
const MaxLength = 1<<31 - 1

// AppendVarint appends beam:coder:varint:v1. A negative int64 is encoded as its
// two's complement, in ten bytes.
func AppendVarint(dst []byte, v uint64) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// VarintLen returns the number of bytes AppendVarint appends.
func VarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// Varint reads a varint at the front of b and returns its length.
func Varint(b []byte) (v uint64, n int, err error) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1, nil
	}
	return longVarint(b)
}

func longVarint(b []byte) (v uint64, n int, err error) {
	for i, c := range b {
		if i == MaxVarintLen-1 && c > 1 {
			return 0, 0, errVarint
		}
		if c < 0x80 {
			return v | uint64(c)<<(7*i), i + 1, nil
		}
		v |= uint64(c&0x7f) << (7 * i)
	}
	return 0, 0, ErrTruncated
}

// AppendBytes appends beam:coder:bytes:v1, nested: a length, then the bytes. It
// is also the encoding of a string and the outside of a length prefix.
func AppendBytes(dst, v []byte) []byte {
	return append(AppendVarint(dst, uint64(len(v))), v...)
}

// DecodeBytes reads what AppendBytes wrote; v aliases b.
func DecodeBytes(b []byte) (v []byte, n int, err error) {
	end, err := skipDelimited(b, 0)
	if err != nil {
		return nil, 0, err
	}
	_, start, _ := Varint(b)
	return b[start:end], end, nil
}
