package job

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/plan"
)

// Pages of large iterables are named by tokens within elements, which bundles
// may give back, split and read again. So nobody counts who needs a page: from
// time to time the elements that still wait or are in flight are looked
// through, and pages that none of them names are dropped.

// sweepFrom is how many bytes of pages there must be before they are looked
// through; after that, twice as many as were left.
var sweepFrom int64 = 64 << 20 // a variable for tests

// page is a block of a large iterable.
type page struct {
	id    uint64
	bytes int64
}

// keptPages are the pages that are durable.
type keptPages struct {
	all     map[uint64]int64 // bytes, by block
	total   int64
	next    int64 // the total from which they are looked through
	looking bool
}

func (k *keptPages) add(pages []page) {
	if k.all == nil {
		k.all, k.next = map[uint64]int64{}, sweepFrom
	}
	for _, p := range pages {
		k.all[p.id] = p.bytes
		k.total += p.bytes
	}
}

func (k *keptPages) remove(ids []uint64) {
	for _, id := range ids {
		k.total -= k.all[id]
		delete(k.all, id)
	}
}

// pagesFound tells the driver which pages no element names any more.
type pagesFound struct {
	gone []uint64
	err  error
}

// sweepPages begins to look for pages that can go, if there may be many.
func (d *driver) sweepPages() {
	k := &d.kept
	if k.looking || k.total < k.next || k.total == 0 {
		return
	}
	blocks, bytes, ok := d.pageReaders()
	if !ok || bytes > k.total { // to read all of that costs more than it gives
		k.next = 2 * k.total
		return
	}
	known := make([]uint64, 0, len(k.all))
	for id := range k.all {
		known = append(known, id)
	}
	k.looking = true
	for _, list := range blocks {
		d.r.blocks.hold(list) // what is in flight now may be dropped meanwhile
	}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		d.tell(d.r.lookThrough(d.ctx, blocks, known))
	}()
}

// lookThrough finds the known pages that no element of the blocks names. The
// blocks are held, and let go.
func (r *runner) lookThrough(ctx context.Context, blocks map[int][]commit.Block, known []uint64) (x pagesFound) {
	defer func() {
		for _, list := range blocks {
			r.blocks.letGo(list)
		}
	}()
	defer r.guard(&x.err)
	named, err := r.namedPages(ctx, blocks)
	x.err = err
	for _, id := range known {
		if !named[id] {
			x.gone = append(x.gone, id)
		}
	}
	return x
}

// pageReaders returns the blocks that may name pages, by the stage that they are
// the input of. It is not ok if elements with names of pages are elsewhere, too:
// in rows.
func (d *driver) pageReaders() (blocks map[int][]commit.Block, bytes int64, ok bool) {
	blocks = map[int][]commit.Block{}
	for _, s := range d.r.plan.Stages {
		if s.Kind != plan.Group || !s.Group.Paged {
			continue
		}
		for _, to := range s.Outputs[0].Consumers {
			if d.r.plan.Stages[to.Stage].TimeSorted {
				return nil, 0, false
			}
			if blocks[to.Stage] == nil {
				blocks[to.Stage] = d.core.Input(to.Stage)
				for _, b := range blocks[to.Stage] {
					bytes += b.Bytes
				}
			}
		}
	}
	return blocks, bytes, true
}

// namedPages returns the pages that elements of the blocks name.
func (r *runner) namedPages(ctx context.Context, blocks map[int][]commit.Block) (map[uint64]bool, error) {
	named := map[uint64]bool{}
	for stage, list := range blocks {
		in := r.stages[stage].input
		for _, b := range list {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			data, err := r.blocks.get(b.ID)
			r.blocks.letGo([]commit.Block{b})
			if err != nil {
				return nil, err
			}
			err = in.eachElement(data, func(e *coder.Element) error {
				ids, err := pagesOf(in.elem, e.Value)
				for _, id := range ids {
					named[r.blocks.named(id)] = true
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("block %d of the input of %s: %w", b.ID, r.stages[stage].plan.Name, err)
			}
		}
	}
	return named, nil
}

// pagesOf returns the pages that a grouped element names, see appendIterable.
func pagesOf(kv *coder.Coder, value []byte) (ids []uint64, err error) {
	_, values, err := coder.SplitKV(kv, value)
	if err != nil || len(values) < 4 || binary.BigEndian.Uint32(values) != unknownLength {
		return nil, err
	}
	values = values[4:]
	n, used, err := coder.Varint(values)
	if err != nil || n != tokenFollows {
		return nil, err
	}
	token, _, err := coder.DecodeBytes(values[used:])
	if err != nil {
		return nil, err
	}
	for len(token) > 0 {
		id, used := binary.Uvarint(token)
		if used <= 0 {
			return nil, errToken
		}
		ids, token = append(ids, id), token[used:]
	}
	return ids, nil
}

// pagesFound drops pages that no element names.
func (d *driver) pagesFound(x pagesFound) {
	k := &d.kept
	k.looking = false
	if x.err != nil {
		k.next = 2 * k.total
		if !errors.Is(x.err, context.Canceled) {
			d.log.Warn("pages of large iterables stay, because the elements that may name them cannot be read", "err", x.err)
		}
		return
	}
	k.remove(x.gone)
	k.next = max(sweepFrom, 2*k.total)
	if len(x.gone) > 0 {
		d.committer.add(&commit.Record{Job: d.j.id, Unkept: x.gone, Freed: x.gone})
	}
}
