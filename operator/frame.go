package operator

import (
	"encoding/binary"
	"errors"
)

// errFrame is reported for output that is not a sequence of elements.
var errFrame = errors.New("the harness sent an element whose length is not valid")

// AppendElement appends an element to a batch: its length as a varint, and its
// encoding.
func AppendElement(dst, encoding []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(encoding))), encoding...)
}

// NextElement splits the first element off b. It returns false if b is empty or
// does not hold a whole element.
func NextElement(b []byte) (encoding, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, b, false
	}
	end := size + int(n)
	return b[size:end:end], b[end:], true
}

// frameAt returns the offsets of the encoding of the element at the front of b;
// an end of zero means that it is not all there yet.
func frameAt(b []byte) (start, end int, err error) {
	n, size := binary.Uvarint(b)
	if size < 0 || n > 1<<40 {
		return 0, 0, errFrame
	}
	if size == 0 || n > uint64(len(b)-size) {
		return 0, 0, nil
	}
	return size, size + int(n), nil
}

// countFrames returns how many bytes of b the next missing groups take, and how
// many groups are then still missing. A group is an element, or with marked, all
// elements up to an end mark.
func countFrames(b []byte, missing int64, marked bool) (n int, left int64, err error) {
	for missing > 0 && n < len(b) {
		start, end, err := frameAt(b[n:])
		if err != nil {
			return 0, 0, err
		}
		if end == 0 {
			break
		}
		if !marked || (end-start == 1 && b[n+start] == 0) {
			missing--
		}
		n += end
	}
	return n, missing, nil
}
