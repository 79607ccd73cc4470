package keyspace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Byte strings are escaped and terminated: 0x00 becomes 0x00 0xff and the end
// is 0x00 0x01. That keeps their order and makes the encoding prefix-free.
const (
	escape     = 0x00
	escapedNul = 0xff
	terminator = 0x01
)

// ErrMalformed is wrapped by every error of parsing a key.
var ErrMalformed = errors.New("malformed store key")

// AppendBytes appends the order-preserving, prefix-free encoding of b.
func AppendBytes(dst, b []byte) []byte {
	for {
		i := bytes.IndexByte(b, escape)
		if i < 0 {
			break
		}
		dst = append(dst, b[:i]...)
		dst = append(dst, escape, escapedNul)
		b = b[i+1:]
	}
	dst = append(dst, b...)
	return append(dst, escape, terminator)
}

// AppendString is AppendBytes for a string.
func AppendString(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == escape {
			return AppendBytes(dst, []byte(s))
		}
	}
	dst = append(dst, s...)
	return append(dst, escape, terminator)
}

// Bytes parses what AppendBytes wrote at the front of b. The value aliases b
// when nothing in it was escaped.
func Bytes(b []byte) (value, rest []byte, err error) {
	i := bytes.IndexByte(b, escape)
	if i >= 0 && i+1 < len(b) && b[i+1] == terminator {
		return b[:i:i], b[i+2:], nil
	}
	for i >= 0 && i+1 < len(b) {
		value = append(value, b[:i]...)
		mark := b[i+1]
		b = b[i+2:]
		switch mark {
		case terminator:
			return value, b, nil
		case escapedNul:
			value = append(value, 0)
		default:
			return nil, nil, fmt.Errorf("%w: escape byte %#x", ErrMalformed, mark)
		}
		i = bytes.IndexByte(b, escape)
	}
	return nil, nil, fmt.Errorf("%w: unterminated component", ErrMalformed)
}

// AppendUint32 appends n, big-endian.
func AppendUint32(dst []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(dst, n) }

// AppendUint64 appends n, big-endian.
func AppendUint64(dst []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(dst, n) }

// AppendInt64 appends n such that negative numbers come first.
func AppendInt64(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(n)^(1<<63))
}

// Uint64 parses what AppendUint64 wrote.
func Uint64(b []byte) (n uint64, rest []byte, err error) {
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("%w: %d bytes where a number should be", ErrMalformed, len(b))
	}
	return binary.BigEndian.Uint64(b), b[8:], nil
}

// Int64 parses what AppendInt64 wrote.
func Int64(b []byte) (n int64, rest []byte, err error) {
	u, rest, err := Uint64(b)
	return int64(u ^ (1 << 63)), rest, err
}

// PrefixEnd returns the smallest key that is greater than every key with the
// given prefix: the upper bound of a scan. It is nil, "no bound", when there
// is none.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := bytes.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return nil
}
