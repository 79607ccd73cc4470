package operator

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
)

// StateProtocol answers a harness' state requests.
type StateProtocol interface {
	// Serve answers one request. An error goes to the harness.
	Serve(s *BundleState, req *fnpb.StateRequest) (*fnpb.StateResponse, error)
}

// BundleState is the state as one bundle sees it: the backend's, with the
// changes of the bundle, which the backend gets when the bundle has succeeded.
type BundleState struct {
	o *overlay
	// uncached says that workers may keep nothing from the next bundle on.
	uncached *atomic.Bool
}

// DoNotKeep has workers keep no state between bundles, as they may otherwise:
// for state that changes by itself.
func (s *BundleState) DoNotKeep() { s.uncached.Store(true) }

// Read is like Backend.Read.
func (s *BundleState) Read(cell Cell, mapKey []byte, from uint64) ([]byte, uint64, error) {
	return s.o.read(cell, mapKey, from, statePageBytes)
}

// ReadAll returns all of what has been appended to a map key.
func (s *BundleState) ReadAll(cell Cell, mapKey []byte) ([]byte, error) {
	var all []byte
	for from := uint64(0); ; {
		data, next, err := s.Read(cell, mapKey, from)
		if err != nil || next == 0 && all == nil {
			return data, err
		}
		all = append(all, data...)
		if from = next; from == 0 {
			return all, nil
		}
	}
}

// Keys is like Backend.Keys.
func (s *BundleState) Keys(cell Cell, after []byte, limit int) ([][]byte, error) {
	return s.o.keys(cell, after, limit)
}

// Change makes a change. Its bytes must not be changed later.
func (s *BundleState) Change(c Change) { s.o.change(c) }

// keysPage is how many map keys are looked at for one response.
const keysPage = 4096

// beamStates is Beam's state protocol: bags, multimaps, and their keys.
type beamStates struct{}

// Serve implements StateProtocol.
func (beamStates) Serve(s *BundleState, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	cell, mapKey, keys, err := beamCell(req.GetStateKey())
	if err != nil {
		return nil, err
	}
	switch r := req.GetRequest().(type) {
	case *fnpb.StateRequest_Get:
		if keys {
			return beamKeys(s, cell, r.Get.GetContinuationToken())
		}
		return beamGet(s, cell, mapKey, r.Get.GetContinuationToken())
	case *fnpb.StateRequest_Append:
		if keys {
			return nil, fmt.Errorf("state %q: the keys of a multimap cannot be appended to", cell.Name)
		}
		s.Change(Change{Op: Append, Cell: cell, MapKey: mapKey, Data: bytes.Clone(r.Append.GetData())})
		return &fnpb.StateResponse{Response: &fnpb.StateResponse_Append{Append: &fnpb.StateAppendResponse{}}}, nil
	case *fnpb.StateRequest_Clear:
		c := Change{Op: Clear, Cell: cell, MapKey: mapKey}
		if keys {
			c.Op = ClearAll
		}
		s.Change(c)
		return &fnpb.StateResponse{Response: &fnpb.StateResponse_Clear{Clear: &fnpb.StateClearResponse{}}}, nil
	}
	return nil, fmt.Errorf("state request %T is not supported", req.GetRequest())
}

// beamCell says what a state key names; keys is set for the keys of a multimap.
func beamCell(k *fnpb.StateKey) (cell Cell, mapKey []byte, keys bool, err error) {
	if b := k.GetBagUserState(); b != nil {
		return Cell{b.GetTransformId(), b.GetUserStateId(), b.GetKey(), b.GetWindow()}, nil, false, nil
	}
	if m := k.GetMultimapUserState(); m != nil {
		return Cell{m.GetTransformId(), m.GetUserStateId(), m.GetKey(), m.GetWindow()}, m.GetMapKey(), false, nil
	}
	if m := k.GetMultimapKeysUserState(); m != nil {
		return Cell{m.GetTransformId(), m.GetUserStateId(), m.GetKey(), m.GetWindow()}, nil, true, nil
	}
	return Cell{}, nil, false, fmt.Errorf("state key %T is not supported", k.GetType())
}

// beamGet answers with one page of values; the token is the position.
func beamGet(s *BundleState, cell Cell, mapKey, token []byte) (*fnpb.StateResponse, error) {
	from, err := position(token)
	if err != nil {
		return nil, err
	}
	data, next, err := s.Read(cell, mapKey, from)
	if err != nil {
		return nil, err
	}
	return got(data, next), nil
}

// beamKeys answers with one page of map keys; the token is the last one.
func beamKeys(s *BundleState, cell Cell, token []byte) (*fnpb.StateResponse, error) {
	if len(token) == 0 {
		token = nil
	} else {
		token = token[1:]
	}
	keys, err := s.Keys(cell, token, keysPage)
	if err != nil {
		return nil, err
	}
	r := &fnpb.StateGetResponse{Data: bytes.Join(keys, nil)}
	if len(keys) == keysPage {
		r.ContinuationToken = append([]byte{1}, keys[len(keys)-1]...)
	}
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Get{Get: r}}, nil
}

// position reads a continuation token.
func position(token []byte) (uint64, error) {
	switch len(token) {
	case 0:
		return 0, nil
	case 8:
		return binary.BigEndian.Uint64(token), nil
	}
	return 0, fmt.Errorf("continuation token %x is not valid", token)
}

// got is a page of a state get.
func got(data []byte, next uint64) *fnpb.StateResponse {
	r := &fnpb.StateGetResponse{Data: data}
	if next != 0 {
		r.ContinuationToken = binary.BigEndian.AppendUint64(nil, next)
	}
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Get{Get: r}}
}

// stateServer serves the state requests of one bundle.
type stateServer struct {
	protocol StateProtocol
	state    *BundleState
}

// State implements fnapi.StateHandler.
func (s *stateServer) State(_ context.Context, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	return s.protocol.Serve(s.state, req)
}
