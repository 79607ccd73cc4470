package arrow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/pharos-beam/pharos/operator"
)

// lengthRoom is left before a stream for its length.
const lengthRoom = binary.MaxVarintLen64

// streamRoom is about what a stream needs besides the columns.
const streamRoom = 1024

// Encode makes an element of a batch: an Arrow IPC stream with its length
// before it.
func Encode(b arrow.RecordBatch) ([]byte, error) {
	if b == nil {
		return nil, errors.New("there is no record batch to encode")
	}
	buf := bytes.NewBuffer(make([]byte, lengthRoom, lengthRoom+streamRoom+size(b)))
	w := ipc.NewWriter(buf, ipc.WithSchema(b.Schema()))
	err := errors.Join(w.Write(b), w.Close())
	if err != nil {
		return nil, fmt.Errorf("encode a record batch: %w", err)
	}
	data := buf.Bytes()
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(data)-lengthRoom))
	start := lengthRoom - n
	copy(data[start:], length[:n])
	return data[start:], nil
}

// size is about how many bytes the columns of b have.
func size(b arrow.RecordBatch) int {
	n := 0
	for _, c := range b.Columns() {
		n += int(c.Data().SizeInBytes())
	}
	return n
}

// Decode makes a batch of the only element of data, an Arrow IPC stream with a
// batch in it, as Encode makes one. It copies what it needs of data. The caller
// releases the batch.
func Decode(data []byte) (arrow.RecordBatch, error) {
	stream, rest, ok := operator.NextElement(data)
	if !ok || len(rest) > 0 {
		return nil, errors.New("the function's output is not one record batch")
	}
	r, err := ipc.NewReader(bytes.NewReader(stream))
	if err != nil {
		return nil, fmt.Errorf("decode a record batch: %w", err)
	}
	defer r.Release()
	if !r.Next() {
		if r.Err() != nil {
			return nil, fmt.Errorf("decode a record batch: %w", r.Err())
		}
		return nil, errors.New("the function's output has no record batch")
	}
	b := r.RecordBatch()
	b.Retain()
	return b, nil
}
