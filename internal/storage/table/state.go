package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// PageBytes is the size from which a response to a Get is cut: the page ends
// with the row that reaches it. Rows are never cut, since SDKs decode each
// page on its own; a row is what an SDK once sent in one message.
const PageBytes = 1 << 20

// pointClearsMax is the number of rows up to which clearing a cell deletes
// them one by one. Value state is one row that every write clears and sets
// again: a delete and a set of one key is one change, where a range deletion
// would stay in the batch and slow down every later read.
const pointClearsMax = 8

// ErrRequest is wrapped by errors about requests that are malformed or not
// supported: the fault is the SDK's, not the store's.
var ErrRequest = errors.New("bad state request")

// State serves user state. See the package comment for its lifetime.
type State struct {
	kv     keyspace.KV
	prefix []byte // of the stage's state table
	bundle uint64
	// appended counts the rows of this bundle, over all cells.
	appended uint32
	// cleared has, for each cell that this bundle has cleared, the number of
	// rows since. Such rows take the numbers of bundle 0, so that the cell's
	// first row gets the same key again and again.
	cleared map[string]uint32
	// multimaps has the value coders by transform and state id.
	multimaps map[[2]string]*coder.Coder
	key       []byte // scratch
}

// NewState returns the state of one stage of a job, for one bundle. Numbers of
// bundles that lease the same shard must increase; an attempt that failed may
// be repeated under its number.
func NewState(kv keyspace.KV, job string, stage int, bundle uint64) *State {
	return &State{
		kv:      kv,
		prefix:  keyspace.Stage(job, keyspace.StateTable, stage),
		bundle:  bundle + 1,
		cleared: map[string]uint32{},
	}
}

// Kinds of state cell, part of the key: ids of different kinds never meet.
const (
	bagCell         = 'b'
	multimapCell    = 'm'
	orderedListCell = 'l'
)

// cellKey is what the messages for the kinds of user state have in common.
type cellKey interface {
	GetTransformId() string
	GetUserStateId() string
	GetWindow() []byte
	GetKey() []byte
}

// Handle answers one request, for a key of the given shard. The response
// carries the request's id. Errors that wrap ErrRequest are the SDK's fault.
func (s *State) Handle(shard int, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	resp, err := s.dispatch(shard, req)
	if err != nil {
		return nil, fmt.Errorf("state %s: %w", describe(req.GetStateKey()), err)
	}
	resp.Id = req.GetId()
	return resp, nil
}

func (s *State) dispatch(shard int, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	switch k := req.GetStateKey().GetType().(type) {
	case *fnpb.StateKey_BagUserState_:
		return s.bag(s.cell(shard, bagCell, k.BagUserState), req)
	case *fnpb.StateKey_MultimapUserState_:
		cell := s.cell(shard, multimapCell, k.MultimapUserState)
		s.key = keyspace.AppendBytes(cell, k.MultimapUserState.GetMapKey())
		return s.bag(s.key, req)
	case *fnpb.StateKey_MultimapKeysUserState_:
		return s.multimapKeys(s.cell(shard, multimapCell, k.MultimapKeysUserState), req)
	case *fnpb.StateKey_OrderedListUserState_:
		cell := s.cell(shard, orderedListCell, k.OrderedListUserState)
		return s.orderedList(cell, k.OrderedListUserState.GetRange(), req)
	case nil:
		if k, ok := EntriesKey(req.GetStateKey()); ok {
			return s.multimapEntries(s.cell(shard, multimapCell, k), k, req)
		}
		return nil, fmt.Errorf("%w: no state key of a known type", ErrRequest)
	default:
		return nil, fmt.Errorf("%w: %T is not user state", ErrRequest, k)
	}
}

// cell returns the prefix of a cell's rows, in the scratch buffer.
func (s *State) cell(shard int, kind byte, k cellKey) []byte {
	b := keyspace.AppendShard(append(s.key[:0], s.prefix...), shard)
	b = keyspace.AppendBytes(b, k.GetKey())
	b = keyspace.AppendBytes(b, k.GetWindow())
	b = keyspace.AppendString(b, k.GetTransformId())
	b = keyspace.AppendString(b, k.GetUserStateId())
	s.key = append(b, kind)
	return s.key
}

// bag serves bags, and the values of one key of a multimap, which are one.
func (s *State) bag(cell []byte, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	switch r := req.GetRequest().(type) {
	case *fnpb.StateRequest_Get:
		return s.page(cell, cell, keyspace.PrefixEnd(cell), r.Get.GetContinuationToken())
	case *fnpb.StateRequest_Append:
		return appendResponse(), s.append(cell, r.Append.GetData())
	case *fnpb.StateRequest_Clear:
		if err := s.clear(cell, keyspace.PrefixEnd(cell)); err != nil {
			return nil, err
		}
		s.cleared[string(cell)] = 0
		return clearResponse(), nil
	default:
		return nil, fmt.Errorf("%w: %T", ErrRequest, r)
	}
}

// append adds one row to a bag. The data is not split into elements.
func (s *State) append(cell, data []byte) error {
	if n, ok := s.cleared[string(cell)]; ok {
		s.cleared[string(cell)] = n + 1
		return s.kv.Set(s.row(cell, 0, n), data)
	}
	return s.kv.Set(s.row(cell, s.bundle, s.next()), data)
}

func (s *State) next() uint32 {
	s.appended++
	return s.appended
}

func (s *State) row(cell []byte, bundle uint64, n uint32) []byte {
	s.key = keyspace.AppendUint32(keyspace.AppendUint64(cell, bundle), n)
	return s.key
}

// clear removes the rows in [lo, hi).
func (s *State) clear(lo, hi []byte) error {
	var rows [][]byte
	err := s.kv.Scan(lo, hi, func(key, _ []byte) bool {
		rows = append(rows, bytes.Clone(key))
		return len(rows) <= pointClearsMax
	})
	if err != nil {
		return err
	}
	if len(rows) > pointClearsMax {
		return s.kv.DeleteRange(lo, hi)
	}
	for _, key := range rows {
		if err := s.kv.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// page concatenates the rows in [lo, hi) until it is full. The continuation
// token is what the key of the last row has beyond prefix, so that changes
// between two pages neither repeat nor skip other rows.
func (s *State) page(prefix, lo, hi, token []byte) (*fnpb.StateResponse, error) {
	if len(token) > 0 {
		after := bytes.Join([][]byte{prefix, token, {0}}, nil)
		if bytes.Compare(after, lo) > 0 {
			lo = after
		}
	}
	get := &fnpb.StateGetResponse{}
	var last []byte
	err := s.kv.Scan(lo, hi, func(key, value []byte) bool {
		if len(get.Data) >= PageBytes {
			get.ContinuationToken = last
			return false
		}
		get.Data = append(get.Data, value...)
		if len(get.Data) >= PageBytes {
			last = bytes.Clone(key[len(prefix):])
		}
		return true
	})
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Get{Get: get}}, err
}

// multimapKeys serves the keys of a multimap: each once, in bytewise order.
// Clearing them clears the multimap.
func (s *State) multimapKeys(cell []byte, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	switch r := req.GetRequest().(type) {
	case *fnpb.StateRequest_Get:
		return s.pageOfKeys(cell, r.Get.GetContinuationToken())
	case *fnpb.StateRequest_Clear:
		// The rows go, but the counts in s.cleared stay: a number of bundle 0
		// may be skipped, never used twice.
		return clearResponse(), s.clear(cell, keyspace.PrefixEnd(cell))
	case *fnpb.StateRequest_Append:
		return nil, fmt.Errorf("%w: keys of a multimap cannot be appended to", ErrRequest)
	default:
		return nil, fmt.Errorf("%w: %T", ErrRequest, r)
	}
}

func (s *State) pageOfKeys(cell, token []byte) (*fnpb.StateResponse, error) {
	lo := cell
	if len(token) > 0 { // the last key, encoded
		if lo = keyspace.PrefixEnd(append(bytes.Clone(cell), token...)); lo == nil {
			return nil, fmt.Errorf("%w: continuation token", ErrRequest)
		}
	}
	get := &fnpb.StateGetResponse{}
	var last []byte // the current map key with its terminator
	var bad error
	err := s.kv.Scan(lo, keyspace.PrefixEnd(cell), func(key, _ []byte) bool {
		rest := key[len(cell):]
		if last != nil && bytes.HasPrefix(rest, last) {
			return true
		}
		if len(get.Data) >= PageBytes {
			get.ContinuationToken = last
			return false
		}
		mapKey, values, err := keyspace.Bytes(rest)
		if err != nil {
			bad = err
			return false
		}
		get.Data = append(get.Data, mapKey...)
		last = bytes.Clone(rest[:len(rest)-len(values)])
		return true
	})
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Get{Get: get}}, errors.Join(err, bad)
}

// orderedList serves entries by sort key, and those of equal sort keys in the
// order of their appending. Ranges are half-open; without a range, all.
func (s *State) orderedList(cell []byte, r *fnpb.OrderedListRange, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	switch q := req.GetRequest().(type) {
	case *fnpb.StateRequest_Get:
		lo, hi := listBounds(cell, r)
		return s.page(cell, lo, hi, q.Get.GetContinuationToken())
	case *fnpb.StateRequest_Append:
		return appendResponse(), s.insert(cell, q.Append.GetData())
	case *fnpb.StateRequest_Clear:
		lo, hi := listBounds(cell, r)
		return clearResponse(), s.clear(lo, hi)
	default:
		return nil, fmt.Errorf("%w: %T", ErrRequest, q)
	}
}

func listBounds(cell []byte, r *fnpb.OrderedListRange) (lo, hi []byte) {
	if r == nil {
		return cell, keyspace.PrefixEnd(cell)
	}
	lo = keyspace.AppendInt64(bytes.Clone(cell), r.GetStart())
	return lo, keyspace.AppendInt64(bytes.Clone(cell), max(r.GetStart(), r.GetEnd()))
}

// insert splits data into entries, each a varint sort key and a
// length-prefixed value (see StateAppendRequest in beam_fn_api.proto), and
// stores each as it came.
func (s *State) insert(cell, data []byte) error {
	entries := data
	if err := eachListEntry(entries, func(int64, []byte) error { return nil }); err != nil {
		return err // before anything is stored
	}
	return eachListEntry(entries, func(sortKey int64, entry []byte) error {
		at := keyspace.AppendInt64(cell, sortKey)
		return s.kv.Set(s.row(at, s.bundle, s.next()), entry)
	})
}

func eachListEntry(data []byte, fn func(sortKey int64, entry []byte) error) error {
	for len(data) > 0 {
		sortKey, n := binary.Uvarint(data)
		if n <= 0 {
			return fmt.Errorf("%w: ordered list entry: cut or overlong sort key", ErrRequest)
		}
		length, m := binary.Uvarint(data[n:])
		if m <= 0 || length > uint64(len(data)-n-m) {
			return fmt.Errorf("%w: ordered list entry %d: value is cut or has no length prefix", ErrRequest, int64(sortKey))
		}
		end := n + m + int(length)
		if err := fn(int64(sortKey), data[:end]); err != nil {
			return err
		}
		data = data[end:]
	}
	return nil
}

func appendResponse() *fnpb.StateResponse {
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Append{Append: &fnpb.StateAppendResponse{}}}
}

func clearResponse() *fnpb.StateResponse {
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Clear{Clear: &fnpb.StateClearResponse{}}}
}

// describe names a cell for an error.
func describe(k *fnpb.StateKey) string {
	var cell cellKey
	switch k := k.GetType().(type) {
	case *fnpb.StateKey_BagUserState_:
		cell = k.BagUserState
	case *fnpb.StateKey_MultimapUserState_:
		cell = k.MultimapUserState
	case *fnpb.StateKey_MultimapKeysUserState_:
		cell = k.MultimapKeysUserState
	case *fnpb.StateKey_OrderedListUserState_:
		cell = k.OrderedListUserState
	default:
		return fmt.Sprintf("%T", k)
	}
	return fmt.Sprintf("%q of transform %q", cell.GetUserStateId(), cell.GetTransformId())
}
