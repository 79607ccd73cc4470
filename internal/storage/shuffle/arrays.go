package shuffle

import (
	"bytes"
	"unsafe"
)

// chunked is a growing array. Only the first chunk moves while it grows, so
// that few elements cost little and many neither copying nor twofold memory.
// Pointers into it are valid until the next push.
type chunked[T any] struct {
	chunks [][]T
	n      int
}

const (
	chunkBits = 15
	chunkLen  = 1 << chunkBits
	// chunkMin is the length that the first chunk starts with.
	chunkMin = 16
)

func (c *chunked[T]) push(v T) {
	i := c.n >> chunkBits
	switch {
	case c.n == 0 && len(c.chunks) == 0:
		c.chunks = append(c.chunks, make([]T, chunkMin))
	case i == len(c.chunks):
		c.chunks = append(c.chunks, make([]T, chunkLen))
	case i == 0 && c.n == len(c.chunks[0]):
		c.chunks[0] = append(c.chunks[0], make([]T, c.n)...)
	}
	c.chunks[i][c.n&(chunkLen-1)] = v
	c.n++
}

func (c *chunked[T]) at(i uint32) *T { return &c.chunks[i>>chunkBits][i&(chunkLen-1)] }
func (c *chunked[T]) len() int       { return c.n }
func (c *chunked[T]) reset()         { c.n = 0 }

// interner numbers distinct byte strings: windows, which are few and come in
// runs of the same.
type interner struct {
	all   [][]byte
	byKey map[string]uint32
	last  uint32
	bytes int64
}

// internedBytes is about what an entry costs beside its bytes.
const internedBytes = 96

func (n *interner) index(b []byte) uint32 {
	if len(n.all) > 0 && bytes.Equal(n.all[n.last], b) {
		return n.last
	}
	i, ok := n.byKey[string(b)]
	if !ok {
		if n.byKey == nil {
			n.byKey = map[string]uint32{}
		}
		key := string(b)
		i = uint32(len(n.all))
		n.byKey[key] = i
		n.all = append(n.all, unsafe.Slice(unsafe.StringData(key), len(key))) // never written to
		n.bytes += int64(len(b)) + internedBytes
	}
	n.last = i
	return i
}

// keptMax is the number of strings up to which reset keeps the map.
const keptMax = 1 << 10

// reset takes time in proportion to what is there. Clearing the map would take
// as long as it took for the most that was ever there.
func (n *interner) reset() {
	if len(n.all) > keptMax {
		n.byKey = nil
	}
	for _, b := range n.all {
		delete(n.byKey, string(b))
	}
	clear(n.all)
	n.all, n.last, n.bytes = n.all[:0], 0, 0
}
