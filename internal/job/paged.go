package job

import (
	"encoding/binary"
	"errors"
	"fmt"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/engine/reduce"
	"github.com/pharos-beam/pharos/internal/model/coder"
)

// Sizes of state-backed iterables.
const (
	// inlineBytes is how large the values of a pane may be before they stay
	// with the runner, where the SDK can read them from there.
	inlineBytes = 64 << 10
	// pageBytes is about how much of them one state response carries. A page
	// ends between values, because SDKs decode page by page.
	pageBytes = 1 << 20
)

// What is in the place of the count, and after it, where the values of an
// iterable are not in the element.
const (
	unknownLength = 0xffffffff         // -1
	tokenFollows  = 0xffffffffffffffff // -1
)

// appendIterable appends the values of a pane: in one piece with their count
// in front or, when they are large and the readers understand it, as an
// iterable of which only a token goes with the element
// (beam:coder:state_backed_iterable:v1).
func (a *attempt) appendIterable(dst []byte, f reduce.Firing) ([]byte, error) {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.Count))
	p := pager{a: a}
	err := f.Values(func(v []byte) error {
		if p.open {
			return p.add(v)
		}
		dst = append(dst, v...)
		if a.s.plan.Group.Paged && len(dst)-start > inlineBytes {
			p.open = true
			p.page = append(p.page, dst[start+4:]...)
		}
		return nil
	})
	if err != nil || !p.open {
		return dst, err
	}
	token, err := p.token()
	if err != nil {
		return nil, err
	}
	dst = binary.BigEndian.AppendUint32(dst[:start], unknownLength)
	dst = coder.AppendVarint(dst, tokenFollows)
	return coder.AppendBytes(dst, token), nil
}

// pager writes values into blocks, one for each page.
//
//	Lifetime of the blocks: until no element names them any more, see
//	pagesweep.go.
type pager struct {
	a    *attempt
	open bool
	page []byte
	ids  []uint64
}

func (p *pager) add(v []byte) error {
	if len(p.page) > 0 && len(p.page)+len(v) > pageBytes {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.page = append(p.page, v...)
	return nil
}

func (p *pager) flush() error {
	id, err := p.a.r.blocks.put(p.page, nil)
	if err != nil {
		return err
	}
	p.ids = append(p.ids, id)
	p.a.pages = append(p.a.pages, page{id, int64(len(p.page))})
	p.page = nil
	return nil
}

// token names the pages.
func (p *pager) token() ([]byte, error) {
	if err := p.flush(); err != nil {
		return nil, err
	}
	var t []byte
	for _, id := range p.ids {
		t = binary.AppendUvarint(t, id)
	}
	return t, nil
}

var errToken = errors.New("the key of a state-backed iterable is not one that this runner gave out")

// pagedState serves the pages of a state-backed iterable.
func (a *attempt) pagedState(req *fnpb.StateRequest, token []byte) (*fnpb.StateResponse, error) {
	if req.GetGet() == nil {
		return nil, fmt.Errorf("a state-backed iterable can only be read")
	}
	n, err := pageNumber(req.GetGet().GetContinuationToken())
	if err != nil {
		return nil, err
	}
	var id uint64
	for i := 0; i <= n; i++ {
		used := 0
		if id, used = binary.Uvarint(token); used <= 0 {
			return nil, errToken
		}
		token = token[used:]
	}
	if id = a.r.blocks.named(id); !a.r.blocks.has(id) {
		return nil, errToken
	}
	data, err := a.r.blocks.get(id)
	if err != nil {
		return nil, fmt.Errorf("read block %d: %w", id, err)
	}
	resp := pageResponse(data, n, len(token) > 0)
	return &fnpb.StateResponse{Id: req.GetId(), Response: &fnpb.StateResponse_Get{Get: resp}}, nil
}
