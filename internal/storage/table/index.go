package table

import (
	"bytes"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// index is a table of entries by time: <shard> <time:8> <entry>.
//
// Its scans start from the smallest key that they have met or set, so that
// they do not walk again over what this bundle, or one before it, has deleted:
// a log-structured store keeps deleted keys around for a while. That lower
// bound holds because nobody but this value adds entries in its lifetime; an
// index that others add to has a nil low and starts from the beginning.
type index struct {
	kv     keyspace.KV
	prefix []byte
	low    map[int][]byte // by shard: no entry is below
	key    []byte         // scratch
}

func newIndex(kv keyspace.KV, job string, table keyspace.Table, stage int) index {
	return index{kv: kv, prefix: keyspace.Stage(job, table, stage), low: map[int][]byte{}}
}

func (x *index) entry(shard int, at int64, id []byte) []byte {
	b := keyspace.AppendShard(append(x.key[:0], x.prefix...), shard)
	x.key = append(keyspace.AppendInt64(b, at), id...)
	return x.key
}

func (x *index) set(shard int, at int64, id, value []byte) error {
	key := x.entry(shard, at, id)
	if low, ok := x.low[shard]; ok && bytes.Compare(key, low) < 0 {
		x.low[shard] = append(low[:0], key...)
	}
	return x.kv.Set(key, value)
}

func (x *index) delete(shard int, at int64, id []byte) error {
	return x.kv.Delete(x.entry(shard, at, id))
}

// scan calls fn for the entries of a shard in order until it returns false.
func (x *index) scan(shard int, fn func(at int64, id, value []byte) bool) error {
	x.key = keyspace.AppendShard(append(x.key[:0], x.prefix...), shard)
	n := len(x.key)
	end := keyspace.PrefixEnd(x.key)
	lo, known := x.low[shard]
	if !known {
		lo = bytes.Clone(x.key)
	}
	first := true
	var bad error
	err := x.kv.Scan(lo, end, func(key, value []byte) bool {
		if first {
			first = false
			x.remember(shard, bytes.Clone(key))
		}
		at, id, err := keyspace.Int64(key[n:])
		if err != nil {
			bad = err
			return false
		}
		return fn(at, id, value)
	})
	if first && err == nil {
		x.remember(shard, end)
	}
	if err == nil {
		err = bad
	}
	return err
}

func (x *index) remember(shard int, low []byte) {
	if x.low != nil {
		x.low[shard] = low
	}
}

// first returns the time of the first entry, or none.
func (x *index) first(shard int, none int64) (int64, error) {
	at := none
	err := x.scan(shard, func(t int64, _, _ []byte) bool {
		at = t
		return false
	})
	return at, err
}
