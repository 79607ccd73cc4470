package table

import (
	"bytes"
	"fmt"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// Holds are watermark holds of a stage other than those of its timers. An
// owner has at most one. A bundle changes holds through one value only. Owners that belong to a window of a key should start
// with keyspace.HoldOwner(key, window).
type Holds struct {
	kv    keyspace.KV
	rows  []byte // prefix of the hold table
	times index
	key   []byte // scratch
}

// NewHolds returns the holds of a stage.
func NewHolds(kv keyspace.KV, job string, stage int) *Holds {
	return &Holds{
		kv:    kv,
		rows:  keyspace.Stage(job, keyspace.HoldTable, stage),
		times: newIndex(kv, job, keyspace.HoldIndex, stage),
	}
}

// Set makes the owner hold the output watermark at t, and nowhere else.
func (h *Holds) Set(shard int, owner []byte, t timestamp.Time) error {
	row := h.row(shard, owner)
	old, ok, err := h.get(row)
	if err != nil || ok && old == t {
		return err
	}
	if ok {
		if err := h.times.delete(shard, int64(old), owner); err != nil {
			return err
		}
	}
	if err := h.kv.Set(row, keyspace.AppendTime(nil, t)); err != nil {
		return err
	}
	return h.times.set(shard, int64(t), owner, nil)
}

// Clear releases the owner's hold, if it has one.
func (h *Holds) Clear(shard int, owner []byte) error {
	row := h.row(shard, owner)
	old, ok, err := h.get(row)
	if err != nil || !ok {
		return err
	}
	if err := h.times.delete(shard, int64(old), owner); err != nil {
		return err
	}
	return h.kv.Delete(row)
}

// Get returns the owner's hold, or commit.None.
func (h *Holds) Get(shard int, owner []byte) (timestamp.Time, error) {
	t, ok, err := h.get(h.row(shard, owner))
	if err != nil || !ok {
		return commit.None, err
	}
	return t, nil
}

// Append appends what it takes to set the hold of an owner that has none.
func (h *Holds) Append(ops []keyspace.Op, shard int, owner []byte, t timestamp.Time) []keyspace.Op {
	set := func(key, value []byte) {
		ops = append(ops, keyspace.Op{Kind: keyspace.Set, Key: bytes.Clone(key), Value: value})
	}
	set(h.row(shard, owner), keyspace.AppendTime(nil, t))
	set(h.times.entry(shard, int64(t), owner), nil)
	return ops
}

// Min returns the smallest hold of a shard, or commit.None.
func (h *Holds) Min(shard int) (timestamp.Time, error) {
	t, err := h.times.first(shard, int64(commit.None))
	return timestamp.Time(t), err
}

func (h *Holds) row(shard int, owner []byte) []byte {
	h.key = append(keyspace.AppendShard(append(h.key[:0], h.rows...), shard), owner...)
	return h.key
}

func (h *Holds) get(row []byte) (timestamp.Time, bool, error) {
	v, ok, err := h.kv.Get(row)
	if err != nil || !ok {
		return 0, false, err
	}
	t, _, err := keyspace.Int64(v)
	if err != nil {
		return 0, false, fmt.Errorf("hold: %w", err)
	}
	return timestamp.Time(t), true, nil
}

// clearAll releases the holds of all owners that start with prefix.
func (h *Holds) clearAll(shard int, prefix []byte) error {
	lo := bytes.Clone(h.row(shard, prefix))
	n := len(lo) - len(prefix)
	var owners [][]byte
	err := h.kv.Scan(lo, keyspace.PrefixEnd(lo), func(key, _ []byte) bool {
		owners = append(owners, bytes.Clone(key[n:]))
		return true
	})
	if err != nil {
		return err
	}
	for _, owner := range owners {
		if err := h.Clear(shard, owner); err != nil {
			return err
		}
	}
	return nil
}
