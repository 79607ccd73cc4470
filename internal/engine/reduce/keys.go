package reduce

import (
	"encoding/binary"
	"math"
)

// First byte of a key after the prefix.
const (
	tagBag    = 'b'
	tagRecord = 'r'
	tagValues = 'v'
)

// windowKey returns the key of something of a window.
func (c *call) windowKey(tag byte, window []byte) []byte {
	key := make([]byte, 0, len(c.env.Prefix)+1+binary.MaxVarintLen32+len(window)+seqLen)
	key = append(append(key, c.env.Prefix...), tag)
	key = binary.AppendUvarint(key, uint64(len(window)))
	return append(key, window...)
}

// seqLen is the length of the order of arrival at the end of a chunk's key.
const seqLen = 8

// bagKey returns the beginning of the keys of a window's values.
func (c *call) bagKey(w *record) []byte {
	if !c.r.strategy.Merging {
		return c.windowKey(tagValues, w.window)
	}
	key := make([]byte, 0, len(c.env.Prefix)+1+8+seqLen)
	key = append(append(key, c.env.Prefix...), tagBag)
	return binary.BigEndian.AppendUint64(key, w.bag)
}

// bagEnd returns the end of the range of the chunks of a bag.
func bagEnd(bag []byte) []byte {
	// The order of arrival never gets there.
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(bag)+seqLen), bag...), math.MaxUint64)
}
