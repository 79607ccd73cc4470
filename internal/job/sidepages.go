package job

import (
	"encoding/binary"

	"github.com/pharos-beam/pharos/internal/model/coder"
)

// sidePageBytes is about how much of a side input one response carries. Pages
// end between elements, because SDKs decode them page by page.
const sidePageBytes = 1 << 20

// pageOverheadBytes is about what a sequence of pages takes in memory beside its
// bytes, with what finds it.
const pageOverheadBytes = 200

// pages is a sequence of encodings, cut between elements. Full pages are blocks
// of the spool. What is in pages never changes, they only become more or are
// replaced, so a copy of the struct stays what it is.
type pages struct {
	full  []sidePage
	last  []byte
	count int   // elements
	pane  int64 // index of the latest pane
}

// sidePage is a full page.
type sidePage struct {
	block uint64
	count int // elements
}

// add appends an element.
func (p *pages) add(b []byte, to *blocks) error {
	p.count++
	p.last = append(p.last, b...)
	if len(p.last) < sidePageBytes {
		return nil
	}
	return p.flush(to)
}

// flush makes a page of the rest.
func (p *pages) flush(to *blocks) error {
	if len(p.last) == 0 {
		return nil
	}
	id, err := to.put(p.last, nil)
	if err != nil {
		return err
	}
	p.full = append(p.full, sidePage{id, p.count - p.inPages()})
	p.last = nil
	return nil
}

// inPages is the number of elements in full pages.
func (p *pages) inPages() (n int) {
	for _, f := range p.full {
		n += f.count
	}
	return n
}

// page returns page n and whether there are more.
func (p *pages) page(n int, from *blocks) (data []byte, more bool, err error) {
	switch {
	case n < len(p.full):
		data, err = from.get(p.full[n].block)
		return data, n+1 < len(p.full) || len(p.last) > 0, err
	case n == len(p.full):
		return p.last, false, nil
	}
	return nil, false, nil
}

// appendIterable appends the pages as one iterable of known length.
func (p *pages) appendIterable(dst []byte, from *blocks) ([]byte, error) {
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.count))
	for _, f := range p.full {
		data, err := from.get(f.block)
		if err != nil {
			return nil, err
		}
		dst = append(dst, data...)
	}
	return append(dst, p.last...), nil
}

// ids are the blocks of the pages.
func (p *pages) ids() (ids []uint64) {
	for _, f := range p.full {
		ids = append(ids, f.block)
	}
	return ids
}

// outdated says whether what is in the pages came in an earlier pane than this
// one.
func (p *pages) outdated(by coder.Pane) bool {
	return by.Timing != coder.Unknown && by.Index > p.pane
}
