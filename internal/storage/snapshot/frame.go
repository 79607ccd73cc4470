package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Errors of reading a file.
var (
	// ErrCorrupt: the file is not what was written.
	ErrCorrupt = errors.New("the snapshot is corrupt")
	// ErrVersion: a later version of Pharos wrote the file.
	ErrVersion = errors.New("the snapshot was written by a later version of Pharos")
	// ErrForeign: the file is not a snapshot.
	ErrForeign = errors.New("not a snapshot of Pharos")
)

const (
	intro   = "pharos snapshot, version "
	version = 1

	blockFrame    = 'b'
	rowsFrame     = 'r'
	manifestFrame = 'm'

	headerBytes = 1 + 4 + 4
	// footerBytes: the offset of the manifest's frame, a CRC-32C and magic.
	footerBytes = 8 + 4 + 4
	footerMagic = 0x50485345 // "PHSE"
	// rowsBytes is the size from which a batch of rows is a frame.
	rowsBytes = 256 << 10
	// frameBytesMax bounds what a reader allocates for one frame: the largest
	// block with its id, or a batch with the largest row.
	frameBytesMax = 1<<32 - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers the kind and all parts of the payload.
func checksum(kind byte, parts ...[]byte) uint32 {
	sum := crc32.Checksum([]byte{kind}, castagnoli)
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

// writeFrame writes one frame, whose payload is in parts, and returns its size.
func writeFrame(w io.Writer, kind byte, parts ...[]byte) (int64, error) {
	length := 0
	for _, p := range parts {
		length += len(p)
	}
	if length > frameBytesMax {
		return 0, fmt.Errorf("a frame of %d bytes: limit is %d", length, int64(frameBytesMax))
	}
	head := binary.LittleEndian.AppendUint32([]byte{kind}, uint32(length))
	head = binary.LittleEndian.AppendUint32(head, checksum(kind, parts...))
	for _, p := range append([][]byte{head}, parts...) {
		if _, err := w.Write(p); err != nil {
			return 0, err
		}
	}
	return int64(headerBytes + length), nil
}

// readFrame reads one frame of at most limit bytes.
func readFrame(r io.Reader, limit int64) (kind byte, payload []byte, err error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, cut(err)
	}
	kind = head[0]
	length, sum := binary.LittleEndian.Uint32(head[1:]), binary.LittleEndian.Uint32(head[5:])
	if int64(length)+headerBytes > limit {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes where there are %d", ErrCorrupt, length, limit)
	}
	payload = make([]byte, length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, cut(err)
	}
	if checksum(kind, payload) != sum {
		return 0, nil, fmt.Errorf("%w: checksum of a frame of %d bytes", ErrCorrupt, length)
	}
	return kind, payload, nil
}

// cut says of a file that it ends too early.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut", ErrCorrupt)
	}
	return err
}
