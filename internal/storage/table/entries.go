package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// entriesField is StateKey.multimap_entries_user_state, which the Java SDK
// uses and the Go module of the protocol does not have yet.
const entriesField = 10

// EntriesKey returns what a state key says that asks for all entries of a
// multimap: its message has the same fields as the one for the keys.
func EntriesKey(k *fnpb.StateKey) (*fnpb.StateKey_MultimapKeysUserState, bool) {
	if k.GetType() != nil {
		return nil, false
	}
	for b := []byte(k.ProtoReflect().GetUnknown()); len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return nil, false
		}
		if num == entriesField && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b[n:])
			key := &fnpb.StateKey_MultimapKeysUserState{}
			return key, proto.Unmarshal(v, key) == nil
		}
		b = b[n+m:]
	}
	return nil, false
}

// SetMultimap tells how the values of a multimap are encoded, so that they can
// be counted.
func (s *State) SetMultimap(transform, id string, value *coder.Coder) {
	if s.multimaps == nil {
		s.multimaps = map[[2]string]*coder.Coder{}
	}
	s.multimaps[[2]string{transform, id}] = value
}

// multimapEntries serves KV<map key, iterable<value>> for all keys of a
// multimap. Clearing them clears the multimap.
func (s *State) multimapEntries(cell []byte, k *fnpb.StateKey_MultimapKeysUserState, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	get, ok := req.GetRequest().(*fnpb.StateRequest_Get)
	if !ok {
		return s.multimapKeys(cell, req)
	}
	value := s.multimaps[[2]string{k.GetTransformId(), k.GetUserStateId()}]
	if value == nil {
		return nil, fmt.Errorf("%w: no such multimap", ErrRequest)
	}
	return s.pageOfEntries(cell, get.Get.GetContinuationToken(), value)
}

// pageOfEntries returns whole entries. The continuation token is the last key,
// encoded.
func (s *State) pageOfEntries(cell, token []byte, value *coder.Coder) (*fnpb.StateResponse, error) {
	lo := cell
	if len(token) > 0 {
		if lo = keyspace.PrefixEnd(append(bytes.Clone(cell), token...)); lo == nil {
			return nil, fmt.Errorf("%w: continuation token", ErrRequest)
		}
	}
	get := &fnpb.StateGetResponse{}
	var (
		last  []byte // the current map key with its terminator
		at    int    // where the current entry has its count
		count uint64
		bad   error
	)
	err := s.kv.Scan(lo, keyspace.PrefixEnd(cell), func(key, row []byte) bool {
		rest := key[len(cell):]
		if last == nil || !bytes.HasPrefix(rest, last) {
			if len(get.Data) >= PageBytes {
				get.ContinuationToken = last
				return false
			}
			mapKey, values, err := keyspace.Bytes(rest)
			if err != nil {
				bad = err
				return false
			}
			last = bytes.Clone(rest[:len(rest)-len(values)])
			get.Data = append(get.Data, mapKey...)
			at, count = len(get.Data), 0
			get.Data = append(get.Data, 0, 0, 0, 0)
		}
		n, err := countValues(value, row)
		if count += n; err == nil && count > math.MaxInt32 {
			err = fmt.Errorf("%w: a multimap has more values for a key than an iterable can hold", ErrRequest)
		}
		if err != nil {
			bad = err
			return false
		}
		get.Data = append(get.Data, row...)
		binary.BigEndian.PutUint32(get.Data[at:], uint32(count))
		return true
	})
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Get{Get: get}}, errors.Join(err, bad)
}

func countValues(value *coder.Coder, row []byte) (count uint64, err error) {
	for len(row) > 0 {
		n, err := value.Skip(row)
		if err != nil {
			return 0, fmt.Errorf("%w: values of a multimap: %w", ErrRequest, err)
		}
		if n == 0 {
			return 0, fmt.Errorf("%w: values of a multimap without bytes cannot be told apart", ErrRequest)
		}
		row = row[n:]
		count++
	}
	return count, nil
}
