package job

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// sideRows is the index of a multimap that does not fit in memory: rows of a
// store. A row is a run of values of one key in one window:
//
//	prefix window 'v' hash-of-key key seq → count, values
//	prefix window 'k' hash-of-key key     → nothing, unless the keys are in pages
//
// The rows of a window are one range. There are no panes: what replaces what came
// before stays in memory.
type sideRows struct {
	store  store.Store
	prefix []byte
	seq    uint64
	noKeys bool // there are no rows of keys
	ops    []keyspace.Op
	bytes  int // of ops
}

// Kinds of rows.
const (
	rowKey   = 'k'
	rowValue = 'v'
)

// seqBytes is the length of what follows a key.
const seqBytes = 8

// rowsToken is the first byte of the continuation tokens of rows.
const rowsToken = 'r'

// sideBatchBytes is how many bytes of rows are written at once.
const sideBatchBytes = 1 << 20

var errSideToken = errors.New("the side input has changed its form while it was read")

func (r *sideRows) window(win []byte) []byte {
	return keyspace.AppendBytes(append([]byte(nil), r.prefix...), win)
}

func (r *sideRows) key(win []byte, kind byte, key []byte) []byte {
	row := append(r.window(win), kind)
	return keyspace.AppendBytes(keyspace.AppendUint64(row, xxhash.Sum64(key)), key)
}

// add appends count values of a key.
func (r *sideRows) add(win, key []byte, count int, values []byte) error {
	r.seq++
	r.set(keyspace.AppendUint64(r.key(win, rowValue, key), r.seq), append(binary.AppendUvarint(nil, uint64(count)), values...))
	if !r.noKeys {
		r.set(r.key(win, rowKey, key), nil)
	}
	if r.bytes >= sideBatchBytes {
		return r.flush()
	}
	return nil
}

func (r *sideRows) set(key, value []byte) {
	r.ops = append(r.ops, keyspace.Op{Kind: keyspace.Set, Key: key, Value: value})
	r.bytes += len(key) + len(value)
}

// flush writes what was added.
func (r *sideRows) flush() error {
	if len(r.ops) == 0 {
		return nil
	}
	err := r.store.Apply(r.ops, false)
	clear(r.ops)
	r.ops, r.bytes = r.ops[:0], 0
	return err
}

// drop removes the rows of a window.
func (r *sideRows) drop(win []byte) error {
	prefix := r.window(win)
	return r.store.Apply([]keyspace.Op{{Kind: keyspace.DeleteRange, Key: prefix, Value: keyspace.PrefixEnd(prefix)}}, false)
}

// read answers a request from a view of the rows. The token is what the next
// row's key has behind its prefix.
func (r *sideRows) read(from store.Reader, q sideRequest) (*fnpb.StateGetResponse, error) {
	switch q.kind {
	case sideKeys:
		return r.readKeys(from, q)
	case sideValues:
		return r.readValues(from, q)
	}
	return r.readAll(from, q)
}

func (r *sideRows) readKeys(from store.Reader, q sideRequest) (*fnpb.StateGetResponse, error) {
	prefix := append(r.window(q.window), rowKey)
	resp := &fnpb.StateGetResponse{}
	var bad error
	err := from.Scan(append(prefix[:len(prefix):len(prefix)], q.token...), keyspace.PrefixEnd(prefix), func(k, _ []byte) bool {
		rest := k[len(prefix):]
		if len(resp.Data) >= sidePageBytes {
			resp.ContinuationToken = append([]byte(nil), rest...)
			return false
		}
		var key []byte
		if key, _, bad = rowKeyOf(rest); bad != nil {
			return false
		}
		resp.Data = append(resp.Data, key...)
		return true
	})
	return resp, errors.Join(err, bad)
}

// rowKeyOf reads the key from what follows the kind of a row.
func rowKeyOf(b []byte) (key, rest []byte, err error) {
	if _, b, err = keyspace.Uint64(b); err != nil {
		return nil, nil, err
	}
	return keyspace.Bytes(b)
}

func (r *sideRows) readValues(from store.Reader, q sideRequest) (*fnpb.StateGetResponse, error) {
	prefix := r.key(q.window, rowValue, q.key)
	if len(q.token) != 0 && len(q.token) != seqBytes {
		return nil, errSideToken
	}
	resp := &fnpb.StateGetResponse{}
	var bad error
	err := from.Scan(append(prefix[:len(prefix):len(prefix)], q.token...), keyspace.PrefixEnd(prefix), func(k, v []byte) bool {
		rest := k[len(prefix):]
		var values []byte
		if _, values, bad = sideRun(v); bad != nil {
			return false
		}
		if len(resp.Data) > 0 && len(resp.Data)+len(values) > sidePageBytes {
			resp.ContinuationToken = append([]byte(nil), rest...)
			return false
		}
		resp.Data = append(resp.Data, values...)
		return true
	})
	return resp, errors.Join(err, bad)
}

// sideRun reads the value of a row.
func sideRun(v []byte) (count uint64, values []byte, err error) {
	n, used := binary.Uvarint(v)
	if used <= 0 {
		return 0, nil, fmt.Errorf("%w: value of a side input", keyspace.ErrMalformed)
	}
	return n, v[used:], nil
}

// readAll encodes KV<key, iterable<value>>, whole keys only.
func (r *sideRows) readAll(from store.Reader, q sideRequest) (*fnpb.StateGetResponse, error) {
	prefix := append(r.window(q.window), rowValue)
	all := entries{}
	var bad error
	next := append(prefix[:len(prefix):len(prefix)], q.token...)
	var token []byte
	err := from.Scan(next, keyspace.PrefixEnd(prefix), func(k, v []byte) bool {
		rest := k[len(prefix):]
		key, seq, err := rowKeyOf(rest)
		if bad = err; err != nil {
			return false
		}
		if !all.same(key) && len(all.data) >= sidePageBytes {
			token = append([]byte(nil), rest[:len(rest)-len(seq)]...)
			return false
		}
		bad = all.add(key, v)
		return bad == nil
	})
	return &fnpb.StateGetResponse{Data: all.data, ContinuationToken: token}, errors.Join(err, bad)
}

// entries encodes keys with their values.
type entries struct {
	data  []byte
	key   []byte
	any   bool
	at    int // of the current key's count in data
	count uint64
}

func (e *entries) same(key []byte) bool { return e.any && string(key) == string(e.key) }

// add takes the next row.
func (e *entries) add(key, v []byte) error {
	n, values, err := sideRun(v)
	if err != nil {
		return err
	}
	if !e.same(key) {
		e.any, e.key, e.count = true, append(e.key[:0], key...), 0
		e.data = append(e.data, key...)
		e.at = len(e.data)
		e.data = binary.BigEndian.AppendUint32(e.data, 0)
	}
	if e.count += n; e.count > math.MaxInt32 {
		return fmt.Errorf("key %x of a side input has more values than an iterable can hold", key)
	}
	binary.BigEndian.PutUint32(e.data[e.at:], uint32(e.count))
	e.data = append(e.data, values...)
	return nil
}
