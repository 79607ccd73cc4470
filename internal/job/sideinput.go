package job

import (
	"encoding/binary"
	"fmt"
	"sync"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/plan"
)

// sidePageBytes is about how much of a side input one response carries. Pages
// end between elements, because SDKs decode them page by page.
const sidePageBytes = 1 << 20

// sideInput is one side input of a stage, indexed by window and, for
// multimaps, by key. Blocks are added as they commit, and indexed when the
// first bundle asks after that.
//
//	State: the blocks, in order of commit; an index over those seen so far.
//	Lifetime: the job's.
type sideInput struct {
	spec *plan.SideInput
	coll *collection
	// latest: the collection has panes that do not repeat what was in earlier
	// ones, and of which the last one counts.
	latest bool
	mu     sync.Mutex
	fresh  []uint64 // blocks not yet indexed
	index  map[string]*sideWindow
	get    func(id uint64) ([]byte, error)
}

// sideWindow is what a side input holds for one window.
type sideWindow struct {
	all    pages
	keys   pages
	values map[string]*pages
	order  []string // keys in order of arrival
}

// pages is a sequence of encodings, cut between elements.
type pages struct {
	full  [][]byte
	last  []byte
	count int   // elements
	pane  int64 // index of the latest pane
}

// renew forgets what came in earlier panes than this one.
func (p *pages) renew(pane coder.Pane) {
	if pane.Timing != coder.Unknown && pane.Index > p.pane {
		*p = pages{pane: pane.Index}
	}
}

func (p *pages) add(b []byte) {
	p.count++
	p.last = append(p.last, b...)
	if len(p.last) >= sidePageBytes {
		p.full = append(p.full, p.last)
		p.last = nil
	}
}

// page returns page n and whether there are more.
func (p *pages) page(n int) ([]byte, bool) {
	switch {
	case n < len(p.full):
		return p.full[n], n+1 < len(p.full) || len(p.last) > 0
	case n == len(p.full):
		return p.last, false
	}
	return nil, false
}

func (r *runner) sideInput(ps *plan.Stage, i int, si *plan.SideInput) (*sideInput, error) {
	c, err := r.collection(si.Collection)
	if err != nil {
		return nil, err
	}
	if si.Multimap && c.elem.Kind != coder.KV {
		return nil, fmt.Errorf("side input %s of %s: a multimap needs a KV coder", si.Local, si.Transform)
	}
	ws, err := window.Parse(r.plan.Windowings[si.Collection.Windowing], r.plan.Coders)
	if err != nil {
		return nil, fmt.Errorf("windowing strategy of %s: %w", si.Collection.ID, err)
	}
	latest := ws.Accumulation == pipepb.AccumulationMode_DISCARDING && !ws.FiresOnce()
	return &sideInput{spec: si, coll: c, latest: latest, index: map[string]*sideWindow{}, get: r.blocks.get}, nil
}

// add makes a committed block part of the side input.
func (s *sideInput) add(block uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh = append(s.fresh, block)
}

// routeSides hands the side input data of a durable record to where it is read.
func (r *runner) routeSides(rec *commit.Record) {
	for _, side := range rec.Sides {
		r.stages[side.Stage].sides[side.Input].add(side.Block)
	}
}

// grow indexes the blocks that have come since the last time.
func (s *sideInput) grow() error {
	for len(s.fresh) > 0 {
		data, err := s.get(s.fresh[0])
		if err != nil {
			return err
		}
		if err := s.indexBlock(data); err != nil {
			return fmt.Errorf("side input %s of %s: %w", s.spec.Local, s.spec.Transform, err)
		}
		s.fresh = s.fresh[1:]
	}
	return nil
}

func (s *sideInput) indexBlock(data []byte) error {
	var e coder.Element
	for len(data) > 0 {
		n, err := s.coll.scanner.Scan(data, &e)
		if err != nil {
			return err
		}
		data = data[n:]
		pane := coder.Pane{Timing: coder.Unknown}
		if s.latest {
			if pane, _, err = coder.DecodePane(e.Pane); err != nil {
				return err
			}
		}
		err = s.coll.scanner.EachWindow(&e, func(w []byte) error { return s.insert(w, e.Value, pane) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sideInput) insert(win, value []byte, pane coder.Pane) error {
	w := s.index[string(win)]
	if w == nil {
		w = &sideWindow{values: map[string]*pages{}}
		s.index[string(win)] = w
	}
	if !s.spec.Multimap {
		w.all.renew(pane)
		w.all.add(value)
		return nil
	}
	key, val, err := coder.SplitKV(s.coll.elem, value)
	if err != nil {
		return err
	}
	vs := w.values[string(key)]
	if vs == nil {
		vs = &pages{}
		w.values[string(key)] = vs
		w.order = append(w.order, string(key))
		w.keys.add(key)
	}
	vs.renew(pane)
	vs.add(val)
	return nil
}

// sideRequest is a state request for a side input, whatever its kind.
type sideRequest struct {
	window []byte
	key    []byte
	kind   sideKind
	token  []byte
}

type sideKind uint8

const (
	sideAll sideKind = iota + 1
	sideKeys
	sideValues
	sideKeysValues
)

// sidePins are what one bundle has begun to read in pages: the pages that follow
// are of the same content, whatever the side input becomes meanwhile. What is in
// pages never changes, they only become more or are replaced.
type sidePins struct {
	mu    sync.Mutex
	pages map[sidePin]pages
}

type sidePin struct {
	side        *sideInput
	kind        sideKind
	window, key string
}

// pin returns the pages that a request is about: p, if it is the first.
func (s *sidePins) pin(side *sideInput, q sideRequest, n int, p *pages) *pages {
	if n == 0 && len(p.full) == 0 {
		return p // there is one page
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sidePin{side, q.kind, string(q.window), string(q.key)}
	if n == 0 {
		if s.pages == nil {
			s.pages = map[sidePin]pages{}
		}
		s.pages[key] = *p
	} else if old, ok := s.pages[key]; ok {
		p = &old
	}
	return p
}

// read answers a request of the bundle with these pins.
func (s *sideInput) read(q sideRequest, pins *sidePins) (*fnpb.StateGetResponse, error) {
	n, err := pageNumber(q.token)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.grow(); err != nil {
		return nil, err
	}
	w := s.index[string(q.window)]
	if w == nil {
		return &fnpb.StateGetResponse{}, nil
	}
	if q.kind == sideKeysValues {
		return w.keysValues(n), nil
	}
	p := &w.all
	switch q.kind {
	case sideKeys:
		p = &w.keys
	case sideValues:
		if p = w.values[string(q.key)]; p == nil {
			return &fnpb.StateGetResponse{}, nil
		}
	}
	data, more := pins.pin(s, q, n, p).page(n)
	return pageResponse(data, n, more), nil
}

// keysValues encodes KV<key, iterable<value>> from key number n on.
func (w *sideWindow) keysValues(n int) *fnpb.StateGetResponse {
	var data []byte
	for ; n < len(w.order) && len(data) < sidePageBytes; n++ {
		vs := w.values[w.order[n]]
		data = append(data, w.order[n]...)
		data = vs.appendIterable(data)
	}
	return pageResponse(data, n-1, n < len(w.order))
}

// appendIterable appends the pages as one iterable of known length.
func (p *pages) appendIterable(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.count))
	for _, f := range p.full {
		dst = append(dst, f...)
	}
	return append(dst, p.last...)
}

func pageResponse(data []byte, n int, more bool) *fnpb.StateGetResponse {
	resp := &fnpb.StateGetResponse{Data: data}
	if more {
		resp.ContinuationToken = binary.BigEndian.AppendUint32(nil, uint32(n+1))
	}
	return resp
}

func pageNumber(token []byte) (int, error) {
	if len(token) == 0 {
		return 0, nil
	}
	if len(token) != 4 {
		return 0, fmt.Errorf("continuation token %x is not one of this runner's", token)
	}
	return int(binary.BigEndian.Uint32(token)), nil
}
