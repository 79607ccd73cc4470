package job

import (
	"cmp"
	"io"
	"slices"

	"github.com/pharos-beam/pharos/internal/model/coder"
)

// Grouping hands out keys, and the values of a key, in order of arrival. A key
// goes to the shard of its hash, so keys of different shards would be handed
// out in an order that no user understands; where the keys are random numbers,
// as in TypeScript's Create and Reshuffle, each run would have another one. As
// long as the whole input of a grouping is small, the order is therefore kept
// over all shards: as if one worker had done everything, one thing after the
// other. Large inputs have no order that is worth its price.

const (
	// arrivalElements is the number of elements of an output from which on
	// their order is not kept.
	arrivalElements = 256
	// arrivalBytes is the size of a grouping's input from which on the order is
	// not restored.
	arrivalBytes = 16 << 20
)

// arrival says when the elements of a block came: behind how many others of
// the same output. Bundles are numbered in the order in which they began.
type arrival struct {
	bundle uint64
	port   int
	index  []int64
}

// note adds the next element, number n of the output.
func (a *arrival) note(n int64) {
	if a != nil && n <= arrivalElements {
		a.index = append(a.index, n)
	}
}

// of returns a if it knows all of count elements, otherwise nil.
func (a *arrival) of(count int64) *arrival {
	if a == nil || int64(len(a.index)) != count {
		return nil
	}
	return a
}

// next returns the arrival for the block that follows in the same output.
func (a *arrival) next() *arrival {
	if a == nil {
		return nil
	}
	return &arrival{bundle: a.bundle, port: a.port}
}

// element is an element with its place in the order.
type arrivedElement struct {
	*arrival
	n   int64
	raw []byte
}

func compareArrival(x, y arrivedElement) int {
	return cmp.Or(cmp.Compare(x.bundle, y.bundle), cmp.Compare(x.port, y.port), cmp.Compare(x.n, y.n))
}

// arrived returns the input of the bundle in order of arrival, over all its
// shards; false if it is too large for that.
func (a *attempt) arrived() ([]byte, bool, error) {
	if len(a.ev.Leases) < 2 {
		return nil, false, nil // its own order is the order
	}
	var bytes int64
	for _, l := range a.ev.Leases {
		for _, b := range l.Blocks {
			if bytes += b.Bytes; bytes > arrivalBytes || a.r.blocks.order(b.ID) == nil {
				return nil, false, nil
			}
		}
	}
	var elems []arrivedElement
	for _, l := range a.ev.Leases {
		for _, b := range l.Blocks {
			data, err := a.r.blocks.get(b.ID)
			if err != nil {
				return nil, false, err
			}
			order, i := a.r.blocks.order(b.ID), 0
			err = a.s.input.eachElement(data, func(e *coder.Element) error {
				elems = append(elems, arrivedElement{order, order.index[i], e.Raw})
				i++
				return nil
			})
			if err != nil {
				return nil, false, err
			}
		}
	}
	slices.SortStableFunc(elems, compareArrival)
	all := make([]byte, 0, bytes)
	for _, e := range elems {
		all = append(all, e.raw...)
	}
	return all, true, nil
}

// once yields one block.
func once(block []byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		b := block
		if block = nil; b == nil {
			return nil, io.EOF
		}
		return b, nil
	}
}
