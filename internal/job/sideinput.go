package job

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// sideInput is one side input of a stage, by window and, for multimaps, by key.
// Blocks are added as they commit, and taken in when the first bundle asks after
// that. Values are in pages of the spool; what is not a page yet, and what finds
// the values of a key, is in memory, until that is used up: then the multimap
// becomes rows of a store.
//
//	State: blocks, in order of commit; pages or rows of those seen so far.
//	Lifetime: a window's until no element can ask for it any more; all of it
//	until the stage is done.
type sideInput struct {
	spec     *plan.SideInput
	coll     *collection
	windowed *window.Strategy // of the side input
	// latest: the collection has panes that do not repeat what was in earlier
	// ones, and of which the last one counts.
	latest bool
	blocks *blocks
	room   *sideRoom
	prefix []byte // of the rows
	// keep: the blocks are what the job has after a restart, so they stay for as
	// long as what is in them.
	keep bool
	// whole: it is complete when it is first read.
	whole bool
	dir   string // for sorting it

	mu      sync.Mutex
	fresh   []commit.Side // blocks not yet taken in
	taken   []takenSide   // blocks that are kept
	windows map[string]*sideWindow
	rows    *sideRows      // nil: there are none
	loaded  bool           // rows are of the whole side input, and keys in pages
	first   timestamp.Time // no window ends before that
	held    int64          // bytes of the room, over all windows
	pins    int            // bundles that have begun to read
	retired []uint64       // pages that one of them may still read
	done    bool           // nobody will ask any more
	broken  error          // it could not be taken in
}

// takenSide is a block whose elements are in pages or rows.
type takenSide struct {
	commit.Side
	end timestamp.Time // the last end of a window in it
}

// sideWindow is what a side input holds for one window in memory.
type sideWindow struct {
	end    timestamp.Time
	held   int64 // bytes of the room
	all    pages
	keys   pages
	values map[string]*pages
	order  []string // keys in order of arrival
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
	return &sideInput{
		spec: si, coll: c, windowed: ws, latest: ws.Accumulation == pipepb.AccumulationMode_DISCARDING && !ws.FiresOnce(),
		blocks: r.blocks, room: r.sides, prefix: keyspace.Shard(r.job, keyspace.SideInputTable, ps.Index, i), keep: r.durable, whole: si.Collection.Bounded, dir: r.tempDir,
		windows: map[string]*sideWindow{}, first: timestamp.Max,
	}, nil
}

// add makes a committed block part of the side input. One that nobody will read
// is given back.
func (s *sideInput) add(side commit.Side) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.fresh = append(s.fresh, side)
	} else if !s.keep {
		s.blocks.drop(side.Block)
	}
}

// routeSides hands the side input data of a durable record to where it is read.
func (r *runner) routeSides(rec *commit.Record) {
	for _, side := range rec.Sides {
		r.stages[side.Stage].sides[side.Input].add(side)
	}
}

// grow takes in the blocks that have come since the last time. If it fails,
// nobody knows what has been taken in, and it is not tried again.
func (s *sideInput) grow() error {
	if len(s.fresh) == 0 || s.broken != nil {
		return s.broken
	}
	taken, err := s.takeFresh()
	if errors.Is(err, errLarge) {
		taken, err = s.load()
	}
	if err == nil && s.rows != nil {
		err = s.rows.flush()
	}
	if err != nil {
		s.broken = fmt.Errorf("side input %s of %s: %w", s.spec.Local, s.spec.Transform, err)
		return s.broken
	}
	if s.keep {
		s.taken = append(s.taken, taken...)
	} else {
		for _, t := range taken {
			s.blocks.drop(t.Block)
		}
	}
	s.fresh = nil
	return nil
}

// takeFresh takes in block by block.
func (s *sideInput) takeFresh() (taken []takenSide, err error) {
	for _, side := range s.fresh {
		data, err := s.blocks.get(side.Block)
		if err != nil {
			return nil, err
		}
		end, err := s.takeBlock(data)
		if err != nil {
			return nil, err
		}
		taken = append(taken, takenSide{side, end})
	}
	return taken, nil
}

// takeBlock takes in the elements of a block and returns the last end of their
// windows.
func (s *sideInput) takeBlock(data []byte) (last timestamp.Time, err error) {
	last = timestamp.Min
	err = s.coll.eachElement(data, func(e *coder.Element) error {
		pane := coder.Pane{Timing: coder.Unknown}
		if s.latest {
			if pane, _, err = coder.DecodePane(e.Pane); err != nil {
				return err
			}
		}
		return s.coll.scanner.EachWindow(e, func(w []byte) error {
			win, err := s.window(w)
			if err != nil {
				return err
			}
			last = max(last, win.end)
			return s.insert(win, w, e.Value, pane)
		})
	})
	return last, err
}

// window returns a window, which is new or was there.
func (s *sideInput) window(win []byte) (*sideWindow, error) {
	if w := s.windows[string(win)]; w != nil {
		return w, nil
	}
	end, err := s.coll.kind.MaxTimestamp(win)
	if err != nil {
		return nil, err
	}
	w := &sideWindow{end: end, values: map[string]*pages{}}
	s.windows[string(win)] = w
	s.first = min(s.first, end)
	s.hold(w, pageOverheadBytes+int64(len(win)))
	return w, nil
}

// hold counts memory of a window and says whether there is room for it.
func (s *sideInput) hold(w *sideWindow, n int64) bool {
	w.held += n
	s.held += n
	return s.room.take(n)
}

// insert adds an element to a window.
func (s *sideInput) insert(w *sideWindow, win, value []byte, pane coder.Pane) error {
	if !s.spec.Multimap {
		return s.append(w, &w.all, value, pane)
	}
	key, val, err := coder.SplitKV(s.coll.elem, value)
	if err != nil {
		return err
	}
	if s.rows != nil {
		return s.rows.add(win, key, 1, val)
	}
	vs := w.values[string(key)]
	if vs == nil {
		vs = &pages{}
		w.values[string(key)] = vs
		w.order = append(w.order, string(key))
		before := len(w.keys.last)
		if err := w.keys.add(key, s.blocks); err != nil {
			return err
		}
		s.hold(w, pageOverheadBytes+int64(len(key)+len(w.keys.last)-before))
	}
	return s.append(w, vs, val, pane)
}

// append adds an element to pages, and makes room if there is none.
func (s *sideInput) append(w *sideWindow, p *pages, b []byte, pane coder.Pane) error {
	if p.outdated(pane) {
		s.retire(p.ids()...)
		s.hold(w, -int64(len(p.last)))
		*p = pages{pane: pane.Index}
	}
	before := len(p.last)
	if err := p.add(b, s.blocks); err != nil {
		return err
	}
	if s.hold(w, int64(len(p.last)-before)) {
		return nil
	}
	return s.spill()
}

// spillMinBytes is the least that a side input has in memory for it to be worth
// spilling.
const spillMinBytes = 64 << 10

// spill makes room: a multimap becomes rows, all else pages.
func (s *sideInput) spill() error {
	switch {
	case s.held < min(spillMinBytes, s.room.limit/8):
		return nil
	case s.spec.Multimap && !s.latest && s.whole:
		return errLarge
	case s.spec.Multimap && !s.latest:
		return s.toRows()
	case s.spec.Multimap:
		return nil // what replaces what came before stays in memory
	}
	for _, w := range s.windows {
		n := int64(len(w.all.last))
		if err := w.all.flush(s.blocks); err != nil {
			return err
		}
		s.hold(w, -n)
	}
	return nil
}

// toRows moves the multimap to the store.
func (s *sideInput) toRows() error {
	rows, err := s.room.store()
	if err != nil {
		return err
	}
	s.rows = &sideRows{store: rows, prefix: s.prefix}
	for win, w := range s.windows {
		for _, key := range w.order {
			if err := s.moveKey([]byte(win), []byte(key), w.values[key]); err != nil {
				return err
			}
		}
		s.retire(w.keys.ids()...)
		w.keys, w.values, w.order = pages{}, nil, nil
		s.hold(w, -w.held)
	}
	return s.rows.flush()
}

// moveKey makes rows of the values of a key.
func (s *sideInput) moveKey(win, key []byte, p *pages) error {
	for _, f := range p.full {
		data, err := s.blocks.get(f.block)
		if err != nil {
			return err
		}
		if err := s.rows.add(win, key, f.count, data); err != nil {
			return err
		}
	}
	s.retire(p.ids()...)
	if n := p.count - p.inPages(); n > 0 {
		return s.rows.add(win, key, n, p.last)
	}
	return nil
}

// retire gives pages back, once no bundle can be reading them.
func (s *sideInput) retire(ids ...uint64) {
	if s.pins > 0 {
		s.retired = append(s.retired, ids...)
		return
	}
	s.blocks.drop(ids...)
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

// read answers a request of the bundle with these pins.
func (s *sideInput) read(q sideRequest, pins *sidePins) (*fnpb.StateGetResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.grow(); err != nil {
		return nil, err
	}
	w := s.windows[string(q.window)]
	if p := pins.pages[sidePin{s, q.kind, string(q.window), string(q.key)}]; p != nil && len(q.token) > 0 {
		return s.readPage(p, q)
	}
	if w == nil {
		return &fnpb.StateGetResponse{}, nil
	}
	if s.rows != nil && !(s.loaded && q.kind == sideKeys) {
		return s.readRows(q, pins)
	}
	if q.kind == sideKeysValues {
		return s.keysValues(w, q)
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
	if len(p.full) > 0 { // else there is one page
		pins.pin(s, q, p)
	}
	return s.readPage(p, q)
}

// readRows answers from the store. Its tokens cannot be taken for page numbers.
func (s *sideInput) readRows(q sideRequest, pins *sidePins) (*fnpb.StateGetResponse, error) {
	if len(q.token) > 0 {
		if q.token[0] != rowsToken {
			return nil, errSideToken
		}
		q.token = q.token[1:]
	}
	resp, err := s.rows.read(pins.view(s), q)
	if err != nil {
		return nil, err
	}
	if t := resp.GetContinuationToken(); t != nil {
		resp.ContinuationToken = append([]byte{rowsToken}, t...)
	}
	return resp, nil
}

// readPage answers with a page.
func (s *sideInput) readPage(p *pages, q sideRequest) (*fnpb.StateGetResponse, error) {
	n, err := pageNumber(q.token)
	if err != nil {
		return nil, err
	}
	data, more, err := p.page(n, s.blocks)
	if err != nil {
		return nil, err
	}
	return pageResponse(data, n, more), nil
}

// keysValues encodes KV<key, iterable<value>> from key number n on.
func (s *sideInput) keysValues(w *sideWindow, q sideRequest) (*fnpb.StateGetResponse, error) {
	n, err := pageNumber(q.token)
	if err != nil {
		return nil, err
	}
	var data []byte
	for ; n < len(w.order) && len(data) < sidePageBytes; n++ {
		data = append(data, w.order[n]...)
		if data, err = w.values[w.order[n]].appendIterable(data, s.blocks); err != nil {
			return nil, err
		}
	}
	return pageResponse(data, n-1, n < len(w.order)), nil
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
	n := binary.BigEndian.Uint32(token)
	if n > math.MaxInt32 {
		return 0, fmt.Errorf("continuation token %x is not one of this runner's", token)
	}
	return int(n), nil
}
