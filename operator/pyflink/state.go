package pyflink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/operator"
)

// States answers the state requests of PyFlink's harness. Value and list state
// are Beam's bags. Map state travels as side inputs, with the request in the
// continuation token. A state with a time to live has a stamp with each value;
// what has expired is never returned, and removed when it is met.
type States struct {
	// Now is the clock of times to live; time.Now if it is nil.
	Now func() time.Time
}

// Names that PyFlink gives to transforms where it means something else.
const (
	markMerge          = "merge_namespaces"
	markClearIterators = "clear_iterators"
)

// Requests and responses about map state.
const (
	mapGet     = 0
	mapIterate = 1
	mapEmpty   = 2

	mapFound    = 0
	mapIsNone   = 1
	mapMissing  = 2
	mapIsEmpty  = 3
	mapNotEmpty = 4

	iterateKeys = 1

	mapDelete   = 0
	mapSetNone  = 1
	mapSetValue = 2
)

// iteratePage is how many entries of a map go into one response.
const iteratePage = 1000

var errMapRequest = errors.New("request about a map state is not valid")

// Serve implements operator.StateProtocol.
func (s States) Serve(b *operator.BundleState, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	key := req.GetStateKey()
	if k := key.GetBagUserState(); k != nil {
		d := describe(b, k.GetUserStateId())
		cell := operator.Cell{Name: d.name, Key: k.GetKey(), Window: k.GetWindow()}
		switch {
		case k.GetTransformId() == markMerge:
			return merge(b, d, cell, req.GetAppend().GetData())
		case d.mortal():
			return s.mortalBag(b, d, cell, req)
		}
		return bag(b, cell, req)
	}
	if k := key.GetMultimapSideInput(); k != nil {
		if k.GetTransformId() == markClearIterators {
			return cleared(), nil // nothing is kept for iterators
		}
		d := describe(b, k.GetSideInputId())
		m := mapState{b, d, s.now(), operator.Cell{Name: d.name, Key: k.GetKey(), Window: k.GetWindow()}}
		return m.serve(req)
	}
	if k := key.GetMultimapKeysSideInput(); k != nil {
		d := describe(b, k.GetSideInputId())
		m := mapState{b, d, s.now(), operator.Cell{Transform: "broadcast", Name: d.name, Window: k.GetWindow()}}
		return m.serve(req)
	}
	return nil, fmt.Errorf("state key %T is not supported", key.GetType())
}

func got(data, token []byte) *fnpb.StateResponse {
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Get{Get: &fnpb.StateGetResponse{Data: data, ContinuationToken: token}}}
}

func appended() *fnpb.StateResponse {
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Append{Append: &fnpb.StateAppendResponse{}}}
}

func cleared() *fnpb.StateResponse {
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Clear{Clear: &fnpb.StateClearResponse{}}}
}

// bag serves value and list state.
func bag(s *operator.BundleState, cell operator.Cell, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	switch r := req.GetRequest().(type) {
	case *fnpb.StateRequest_Get:
		var from uint64
		if t := r.Get.GetContinuationToken(); len(t) == 8 {
			from = binary.BigEndian.Uint64(t)
		}
		data, next, err := s.Read(cell, nil, from)
		if err != nil {
			return nil, err
		}
		var token []byte
		if next != 0 {
			token = binary.BigEndian.AppendUint64(nil, next)
		}
		return got(data, token), nil
	case *fnpb.StateRequest_Append:
		s.Change(operator.Change{Op: operator.Append, Cell: cell, Data: bytes.Clone(r.Append.GetData())})
		return appended(), nil
	case *fnpb.StateRequest_Clear:
		s.Change(operator.Change{Op: operator.Clear, Cell: cell})
		return cleared(), nil
	}
	return nil, fmt.Errorf("state request %T is not supported", req.GetRequest())
}

// merge moves the values of some namespaces into that of cell. The request is a
// count and as many namespaces of equal length.
func merge(s *operator.BundleState, d descriptor, cell operator.Cell, data []byte) (*fnpb.StateResponse, error) {
	count, namespaces, err := readUint32(data)
	if err != nil || count == 0 || len(namespaces)%int(count) != 0 {
		return nil, errors.New("request to merge namespaces is not valid")
	}
	size := len(namespaces) / int(count)
	for ; len(namespaces) > 0; namespaces = namespaces[size:] {
		source := cell
		source.Window = namespaces[:size]
		if bytes.Equal(source.Window, cell.Window) {
			continue
		}
		if d.mortal() {
			if err := mortalMerge(s, source, cell); err != nil {
				return nil, err
			}
			continue
		}
		values, err := s.ReadAll(source, nil)
		if err != nil {
			return nil, err
		}
		s.Change(operator.Change{Op: operator.Clear, Cell: source})
		if len(values) > 0 {
			s.Change(operator.Change{Op: operator.Append, Cell: cell, Data: values})
		}
	}
	return appended(), nil
}

// mapState serves map and broadcast state. What is stored with a key begins with
// a byte, whether it is None or a value, and a stamp if the state expires.
type mapState struct {
	b    *operator.BundleState
	d    descriptor
	now  int64
	cell operator.Cell
}

func (m *mapState) serve(req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	switch r := req.GetRequest().(type) {
	case *fnpb.StateRequest_Get:
		token := r.Get.GetContinuationToken()
		if len(token) == 0 {
			return nil, errMapRequest
		}
		switch token[0] {
		case mapGet:
			return m.value(token[1:])
		case mapIterate:
			return m.entries(token[1:])
		case mapEmpty:
			return m.isThere()
		}
		return nil, errMapRequest
	case *fnpb.StateRequest_Append:
		if err := m.write(r.Append.GetData()); err != nil {
			return nil, err
		}
		return appended(), nil
	case *fnpb.StateRequest_Clear:
		m.b.Change(operator.Change{Op: operator.ClearAll, Cell: m.cell})
		return cleared(), nil
	}
	return nil, fmt.Errorf("state request %T is not supported", req.GetRequest())
}

// get returns what is stored with a key, without the stamp; nothing if there is
// nothing or it has expired.
func (m *mapState) get(key []byte) ([]byte, error) {
	v, err := m.b.ReadAll(m.cell, key)
	if err != nil || len(v) == 0 || !m.d.mortal() {
		return v, err
	}
	if m.d.dead(v[1:], m.now) {
		m.b.Change(operator.Change{Op: operator.Clear, Cell: m.cell, MapKey: bytes.Clone(key)})
		return nil, nil
	}
	v = append([]byte{v[0]}, v[1+stampSize:]...)
	if m.d.onRead {
		m.put(bytes.Clone(key), v)
	}
	return v, nil
}

// put stores something with a key.
func (m *mapState) put(key, v []byte) {
	m.b.Change(operator.Change{Op: operator.Clear, Cell: m.cell, MapKey: key})
	data := []byte{v[0]}
	if m.d.mortal() {
		data = append(data, stamp(m.now)...)
	}
	m.b.Change(operator.Change{Op: operator.Append, Cell: m.cell, MapKey: key, Data: append(data, v[1:]...)})
}

// value answers with the value of a key.
func (m *mapState) value(key []byte) (*fnpb.StateResponse, error) {
	v, err := m.get(key)
	switch {
	case err != nil:
		return nil, err
	case len(v) == 0:
		return got([]byte{mapMissing}, nil), nil
	case v[0] == mapSetNone:
		return got([]byte{mapIsNone}, nil), nil
	}
	return got(append([]byte{mapFound}, v[1:]...), nil), nil
}

// entries answers with a page of entries. The request is what is wanted and the
// token of the page before, the last key of it.
func (m *mapState) entries(request []byte) (*fnpb.StateResponse, error) {
	if len(request) < 1 {
		return nil, errMapRequest
	}
	token, _, err := readSized(request[1:])
	if err != nil {
		return nil, errMapRequest
	}
	var after []byte
	if len(token) > 0 {
		after = token[1:]
	}
	keys, err := m.b.Keys(m.cell, after, iteratePage)
	if err != nil {
		return nil, err
	}
	var data, next []byte
	for _, k := range keys {
		if data, err = m.entry(data, k, request[0] == iterateKeys); err != nil {
			return nil, err
		}
	}
	if len(keys) == iteratePage {
		next = append([]byte{1}, keys[len(keys)-1]...)
	}
	return got(data, next), nil
}

// entry appends an entry, if it has not expired, or its key only.
func (m *mapState) entry(data, key []byte, keyOnly bool) ([]byte, error) {
	if keyOnly && !m.d.mortal() {
		return append(data, key...), nil
	}
	v, err := m.get(key)
	switch {
	case err != nil:
		return nil, err
	case len(v) == 0:
		return data, nil
	}
	data = append(data, key...)
	switch {
	case keyOnly:
		return data, nil
	case v[0] == mapSetNone:
		return append(data, 0), nil
	}
	return append(append(data, 1), v[1:]...), nil
}

// isThere answers whether the map is empty.
func (m *mapState) isThere() (*fnpb.StateResponse, error) {
	var after []byte
	for {
		keys, err := m.b.Keys(m.cell, after, 1)
		if err != nil {
			return nil, err
		}
		if len(keys) == 0 {
			return got([]byte{mapIsEmpty}, nil), nil
		}
		if v, err := m.get(keys[0]); err != nil || len(v) > 0 {
			return got([]byte{mapNotEmpty}, nil), err
		}
		after = keys[0]
	}
}

// write makes a number of changes: what to do, the key, and maybe a value.
func (m *mapState) write(data []byte) error {
	count, data, err := readUint32(data)
	if err != nil {
		return errMapRequest
	}
	for range count {
		if len(data) == 0 {
			return errMapRequest
		}
		op := data[0]
		var key, value []byte
		if key, data, err = readSized(data[1:]); err != nil {
			return errMapRequest
		}
		key = bytes.Clone(key)
		switch op {
		case mapDelete:
			m.b.Change(operator.Change{Op: operator.Clear, Cell: m.cell, MapKey: key})
			continue
		case mapSetValue:
			if value, data, err = readSized(data); err != nil {
				return errMapRequest
			}
		case mapSetNone:
		default:
			return errMapRequest
		}
		m.put(key, append([]byte{op}, value...))
	}
	return nil
}
