package monitoring

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/pharos-beam/pharos/internal/model/coder"
)

// number is what metrics count.
type number interface{ int64 | float64 }

var (
	errTruncated = fmt.Errorf("%w: too short", ErrBadPayload)
	errTrailing  = fmt.Errorf("%w: too long", ErrBadPayload)
)

// reader reads the parts of a payload. After an error everything is zero.
type reader struct {
	rest []byte
	err  error
}

// fail records the first error.
func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// take returns the next n bytes, nil if they are not there.
func (r *reader) take(n int) []byte {
	if len(r.rest) < n {
		r.fail(errTruncated)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// all returns everything that is left.
func (r *reader) all() []byte { return r.take(len(r.rest)) }

func (r *reader) int64() int64 {
	v, n, err := coder.Varint(r.rest)
	if err != nil {
		r.fail(fmt.Errorf("%w: %w", ErrBadPayload, err))
		return 0
	}
	r.take(n)
	return int64(v)
}

func (r *reader) double() float64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b))
}

func (r *reader) string() string {
	v, n, err := coder.DecodeBytes(r.rest)
	if err != nil {
		r.fail(fmt.Errorf("%w: %w", ErrBadPayload, err))
		return ""
	}
	r.take(n)
	return string(v)
}

// each reads an iterable whose elements have at least one byte.
func (r *reader) each(element func()) {
	b := r.take(4)
	if b == nil {
		return
	}
	if n := int32(binary.BigEndian.Uint32(b)); n >= 0 {
		r.repeat(int64(n), element)
		return
	} else if n != -1 {
		r.fail(fmt.Errorf("%w: iterable of %d elements", ErrBadPayload, n))
	}
	for r.err == nil {
		n := r.int64()
		if n == 0 {
			return
		}
		r.repeat(n, element)
	}
}

func (r *reader) repeat(n int64, element func()) {
	if n < 0 || n > int64(len(r.rest)) {
		r.fail(fmt.Errorf("%w: %d elements in %d bytes", ErrBadPayload, n, len(r.rest)))
	}
	for ; n > 0 && r.err == nil; n-- {
		element()
	}
}

func readNumber[T number](r *reader) T {
	var zero T
	if _, ok := any(zero).(float64); ok {
		return T(r.double())
	}
	return T(r.int64())
}

func appendNumber[T number](dst []byte, v T) []byte {
	if f, ok := any(v).(float64); ok {
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(f))
	}
	return coder.AppendVarint(dst, uint64(int64(v)))
}

func appendNumbers[T number](dst []byte, values []T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(values)))
	for _, v := range values {
		dst = appendNumber(dst, v)
	}
	return dst
}
