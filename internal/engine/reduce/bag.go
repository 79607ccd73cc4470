package reduce

import (
	"encoding/binary"
	"fmt"

	"github.com/pharos-beam/pharos/internal/model/coder"
)

// Limits of the bag.
const (
	// chunkBytes is how much of the values that arrive together share one key.
	// It bounds what is read at once, but for values that are larger.
	chunkBytes = 32 << 10
	// moveBytes is how much of a bag is in memory while it is moved.
	moveBytes = 1 << 20
)

// A chunk is values one after the other, each after its length. Chunks have
// the order of arrival in their key, so a bag reads in order, also after two
// have become one. Only values that came in one call for different windows,
// which have been merged since, read window by window.

// addValues puts the values of elements, by their positions, into the bag.
func (c *call) addValues(w *record, elems []coder.Element, positions []int) error {
	if c.r.strategy.Merging && w.bag == 0 {
		// Any number that has been used by no other bag will do; 0 means none.
		w.bag = c.env.Seq() + 1
	}
	bag := c.bagKey(w)
	var chunk []byte
	flush := func() error {
		key := binary.BigEndian.AppendUint64(bag[:len(bag):len(bag)], c.env.Seq())
		err := c.env.KV.Set(key, chunk)
		chunk = nil // Set may keep it
		return err
	}
	for i, p := range positions {
		v := elems[p].Value
		if len(chunk) > 0 && len(chunk)+len(v) > chunkBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		if chunk == nil {
			chunk = make([]byte, 0, c.chunkSize(elems, positions[i:]))
		}
		chunk = binary.AppendUvarint(chunk, uint64(len(v)))
		chunk = append(chunk, v...)
	}
	if err := flush(); err != nil {
		return err
	}
	w.total += int64(len(positions))
	return nil
}

// chunkSize returns the size of the chunk that begins with the first of
// positions, or more.
func (c *call) chunkSize(elems []coder.Element, positions []int) int {
	n := 0
	for _, p := range positions {
		add := len(elems[p].Value) + binary.MaxVarintLen32
		if n > 0 && n+add > chunkBytes {
			break
		}
		n += add
	}
	return n
}

// values yields the values of the bag.
func (c *call) values(w *record, yield func([]byte) error) error {
	if w.total == 0 {
		return nil
	}
	bag := c.bagKey(w)
	var failed error
	err := c.env.KV.Scan(bag, bagEnd(bag), func(_, chunk []byte) bool {
		for len(chunk) > 0 && failed == nil {
			size, n := binary.Uvarint(chunk)
			if n <= 0 || size > uint64(len(chunk)-n) {
				failed = fmt.Errorf("%w: values of window %x", ErrCorrupt, w.window)
				break
			}
			chunk = chunk[n:]
			failed = yield(chunk[:size:size])
			chunk = chunk[size:]
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// clearValues empties the bag.
func (c *call) clearValues(w *record) error {
	if w.total == 0 {
		return nil
	}
	w.total = 0
	bag := c.bagKey(w)
	return c.env.KV.DeleteRange(bag, bagEnd(bag))
}

// moveValues puts the values of the bag of from into that of to.
func (c *call) moveValues(from, to *record) error {
	if from.total == 0 {
		return nil
	}
	if to.total == 0 {
		to.bag, to.total = from.bag, from.total
		from.bag, from.total = 0, 0
		return nil
	}
	if from.total > to.total { // so that a value is moved only a few times
		from.bag, to.bag = to.bag, from.bag
		from.total, to.total = to.total, from.total
	}
	src, dst := c.bagKey(from), c.bagKey(to)
	for lo, end := src, bagEnd(src); lo != nil; {
		var keys, chunks [][]byte
		size := 0
		if err := c.env.KV.Scan(lo, end, func(key, chunk []byte) bool {
			keys = append(keys, append(dst[:len(dst):len(dst)], key[len(src):]...))
			chunks = append(chunks, append([]byte(nil), chunk...))
			size += len(chunk)
			return size < moveBytes
		}); err != nil {
			return err
		}
		for i, key := range keys {
			if err := c.env.KV.Set(key, chunks[i]); err != nil {
				return err
			}
		}
		lo = nil
		if size >= moveBytes {
			last := keys[len(keys)-1]
			lo = append(append(append([]byte(nil), src...), last[len(dst):]...), 0)
		}
	}
	to.total += from.total
	return c.clearValues(from)
}
