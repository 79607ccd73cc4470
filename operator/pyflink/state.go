package pyflink

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pharos-beam/pharos/operator"
)

// States answers the state requests of PyFlink's harness. Value and list state
// are Beam's bags. Map state travels as side inputs, with the request in the
// continuation token. Time to live of state is not kept to.
type States struct{}

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
func (States) Serve(s *operator.BundleState, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	key := req.GetStateKey()
	if b := key.GetBagUserState(); b != nil {
		cell := operator.Cell{Name: stateName(b.GetUserStateId()), Key: b.GetKey(), Window: b.GetWindow()}
		if b.GetTransformId() == markMerge {
			return merge(s, cell, req.GetAppend().GetData())
		}
		return bag(s, cell, req)
	}
	if m := key.GetMultimapSideInput(); m != nil {
		if m.GetTransformId() == markClearIterators {
			return cleared(), nil // nothing is kept for iterators
		}
		return mapState(s, operator.Cell{Name: stateName(m.GetSideInputId()), Key: m.GetKey(), Window: m.GetWindow()}, req)
	}
	if m := key.GetMultimapKeysSideInput(); m != nil {
		cell := operator.Cell{Transform: "broadcast", Name: stateName(m.GetSideInputId()), Window: m.GetWindow()}
		return mapState(s, cell, req)
	}
	return nil, fmt.Errorf("state key %T is not supported", key.GetType())
}

// stateName takes the name out of the descriptor that PyFlink puts where Beam
// has an id.
func stateName(id string) string {
	b, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		return id
	}
	field, _, n := protowire.ConsumeTag(b)
	if field != 1 || n < 0 {
		return id
	}
	v, n := protowire.ConsumeBytes(b[n:])
	if n < 0 {
		return id
	}
	return string(v)
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
func merge(s *operator.BundleState, cell operator.Cell, data []byte) (*fnpb.StateResponse, error) {
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

// mapState serves map and broadcast state.
func mapState(s *operator.BundleState, cell operator.Cell, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	switch r := req.GetRequest().(type) {
	case *fnpb.StateRequest_Get:
		token := r.Get.GetContinuationToken()
		if len(token) == 0 {
			return nil, errMapRequest
		}
		switch token[0] {
		case mapGet:
			return mapValue(s, cell, token[1:])
		case mapIterate:
			return mapEntries(s, cell, token[1:])
		case mapEmpty:
			return mapIsThere(s, cell)
		}
		return nil, errMapRequest
	case *fnpb.StateRequest_Append:
		if err := mapWrite(s, cell, r.Append.GetData()); err != nil {
			return nil, err
		}
		return appended(), nil
	case *fnpb.StateRequest_Clear:
		s.Change(operator.Change{Op: operator.ClearAll, Cell: cell})
		return cleared(), nil
	}
	return nil, fmt.Errorf("state request %T is not supported", req.GetRequest())
}

// mapValue answers with the value of a key. What is stored begins with a byte:
// whether it is None, or a value.
func mapValue(s *operator.BundleState, cell operator.Cell, key []byte) (*fnpb.StateResponse, error) {
	v, err := s.ReadAll(cell, key)
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

// mapEntries answers with a page of entries. The request is what is wanted and
// the token of the page before, the last key of it.
func mapEntries(s *operator.BundleState, cell operator.Cell, request []byte) (*fnpb.StateResponse, error) {
	if len(request) < 1 {
		return nil, errMapRequest
	}
	want := request[0]
	token, _, err := readSized(request[1:])
	if err != nil {
		return nil, errMapRequest
	}
	var after []byte
	if len(token) > 0 {
		after = token[1:]
	}
	keys, err := s.Keys(cell, after, iteratePage)
	if err != nil {
		return nil, err
	}
	var data, next []byte
	for _, k := range keys {
		data = append(data, k...)
		if want == iterateKeys {
			continue
		}
		v, err := s.ReadAll(cell, k)
		if err != nil {
			return nil, err
		}
		if len(v) == 0 || v[0] == mapSetNone {
			data = append(data, 0)
			continue
		}
		data = append(append(data, 1), v[1:]...)
	}
	if len(keys) == iteratePage {
		next = append([]byte{1}, keys[len(keys)-1]...)
	}
	return got(data, next), nil
}

// mapIsThere answers whether the map is empty.
func mapIsThere(s *operator.BundleState, cell operator.Cell) (*fnpb.StateResponse, error) {
	keys, err := s.Keys(cell, nil, 1)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return got([]byte{mapIsEmpty}, nil), nil
	}
	return got([]byte{mapNotEmpty}, nil), nil
}

// mapWrite makes a number of changes: what to do, the key, and maybe a value.
func mapWrite(s *operator.BundleState, cell operator.Cell, data []byte) error {
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
		s.Change(operator.Change{Op: operator.Clear, Cell: cell, MapKey: key})
		switch op {
		case mapDelete:
			continue
		case mapSetValue:
			if value, data, err = readSized(data); err != nil {
				return errMapRequest
			}
		case mapSetNone:
		default:
			return errMapRequest
		}
		s.Change(operator.Change{Op: operator.Append, Cell: cell, MapKey: key, Data: append([]byte{op}, value...)})
	}
	return nil
}
