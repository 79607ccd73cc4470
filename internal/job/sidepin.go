package job

import "github.com/pharos-beam/pharos/internal/storage/store"

// sidePins are what one bundle has begun to read: the pages that follow are of
// the same content, whatever the side input becomes meanwhile. A side input's
// part of them is guarded by its lock.
type sidePins struct {
	pages map[sidePin]*pages
	views map[*sideInput]store.Reader // of rows
	sides map[*sideInput]bool         // all that the bundle has pinned
}

type sidePin struct {
	side        *sideInput
	kind        sideKind
	window, key string
}

// pin keeps pages as they are for the requests that follow.
func (p *sidePins) pin(s *sideInput, q sideRequest, of *pages) {
	if p.pages == nil {
		p.pages = map[sidePin]*pages{}
	}
	key := sidePin{s, q.kind, string(q.window), string(q.key)}
	if len(q.token) > 0 && p.pages[key] != nil {
		return
	}
	now := *of
	p.pages[key] = &now
	p.count(s)
}

// count notes that the bundle reads s.
func (p *sidePins) count(s *sideInput) {
	if !p.sides[s] {
		if p.sides == nil {
			p.sides = map[*sideInput]bool{}
		}
		p.sides[s] = true
		s.pins++
	}
}

// view is what the rows of a side input were when the bundle first asked.
func (p *sidePins) view(s *sideInput) store.Reader {
	if v := p.views[s]; v != nil {
		return v
	}
	if p.views == nil {
		p.views = map[*sideInput]store.Reader{}
	}
	v := s.rows.store.Snapshot()
	p.views[s] = v
	return v
}

// release gives all up, at the end of the bundle.
func (p *sidePins) release() {
	for _, v := range p.views {
		v.Close()
	}
	for s := range p.sides {
		s.unpin()
	}
	*p = sidePins{}
}

// unpin: a bundle less reads.
func (s *sideInput) unpin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pins--; s.pins == 0 {
		s.blocks.drop(s.retired...)
		s.retired = nil
	}
}
