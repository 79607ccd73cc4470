package table

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// Records keeps what the records of a job leave behind for its scheduler:
// queues, side inputs, marks, metrics. What bundles do to state and timers is in
// the records' own Ops.
type Records struct {
	job  string
	last uint64 // the largest bundle so far
}

// NewRecords returns the records of a job.
func NewRecords(job string) *Records { return &Records{job: job} }

// Saved is what Load finds.
type Saved struct {
	Items  []commit.Item // those of a shard in order of Seq
	Sides  []commit.Side // those of a side input in order of Seq
	Shards map[int][]commit.Shard
	Marks  []commit.Mark
	Kept   []uint64
	// Aliases are the names, before a snapshot, of blocks that are kept: elements
	// call them so. Names of this job's own are larger.
	Aliases     map[uint64]uint64
	Bundle, Seq uint64
	// Metrics are those of the records, each as it came, by bundle.
	Metrics map[uint64][]byte
}

// Rows of the scheduler's own table, by the byte that follows the shard.
const (
	rowShard   = 's'
	rowMark    = 'm'
	rowKept    = 'k'
	rowLast    = 'l'
	rowMetrics = 't'
)

// wholeJob stands for the stage in rows that belong to none.
const wholeJob = 1<<32 - 1

func (t *Records) item(it *commit.Item) []byte {
	return keyspace.AppendUint64(keyspace.Shard(t.job, keyspace.QueueTable, it.Stage, it.Shard), it.Seq)
}

func (t *Records) side(s *commit.Side) []byte {
	return keyspace.AppendUint64(keyspace.Shard(t.job, keyspace.SideInputTable, s.Stage, s.Input), s.Seq)
}

func (t *Records) own(stage, shard int, row byte) []byte {
	return append(keyspace.Shard(t.job, keyspace.CoreTable, stage, shard), row)
}

// Append appends what a record changes, its own Ops included.
func (t *Records) Append(ops []keyspace.Op, r *commit.Record) []keyspace.Op {
	set := func(key, value []byte) { ops = append(ops, keyspace.Op{Kind: keyspace.Set, Key: key, Value: value}) }
	ops = append(ops, r.Ops...)
	for i := range r.Taken {
		ops = append(ops, keyspace.Op{Kind: keyspace.Delete, Key: t.item(&r.Taken[i])})
	}
	for i := range r.Put {
		set(t.item(&r.Put[i]), appendItem(nil, &r.Put[i]))
	}
	for i := range r.Sides {
		set(t.side(&r.Sides[i]), binary.AppendUvarint(nil, r.Sides[i].Block))
	}
	for i := range r.Forgotten {
		ops = append(ops, keyspace.Op{Kind: keyspace.Delete, Key: t.side(&r.Forgotten[i])})
	}
	for _, s := range r.Shards {
		set(t.own(r.Stage, s.Shard, rowShard), appendShard(nil, &s))
	}
	for _, m := range r.Marks {
		set(t.own(m.Stage, 0, rowMark), appendMark(nil, &m))
	}
	for _, id := range r.Kept {
		set(t.kept(id), nil)
	}
	for _, id := range r.Unkept {
		ops = append(ops, keyspace.Op{Kind: keyspace.Delete, Key: t.kept(id)})
	}
	if len(r.Metrics) > 0 {
		set(t.metrics(r.Bundle), r.Metrics)
	}
	if r.Bundle > t.last {
		t.last = r.Bundle
		set(t.own(wholeJob, 0, rowLast), binary.AppendUvarint(nil, r.Bundle))
	}
	return ops
}

func (t *Records) kept(id uint64) []byte {
	return keyspace.AppendUint64(t.own(wholeJob, 0, rowKept), id)
}

// Keep appends a block that is kept, and that elements know by another name.
func (t *Records) Keep(ops []keyspace.Op, id, alias uint64) []keyspace.Op {
	return append(ops, keyspace.Op{Kind: keyspace.Set, Key: t.kept(id), Value: binary.AppendUvarint(nil, alias)})
}

func (t *Records) metrics(bundle uint64) []byte {
	return keyspace.AppendUint64(t.own(wholeJob, 0, rowMetrics), bundle)
}

// Fold appends the replacement of the metrics of some bundles by their sum,
// which takes the place of bundle 0.
func (t *Records) Fold(ops []keyspace.Op, sum []byte, bundles []uint64) []keyspace.Op {
	for _, id := range bundles {
		ops = append(ops, keyspace.Op{Kind: keyspace.Delete, Key: t.metrics(id)})
	}
	return append(ops, keyspace.Op{Kind: keyspace.Set, Key: t.metrics(0), Value: sum})
}

// NewSaved returns what a job has that has done nothing.
func NewSaved() *Saved {
	return &Saved{Shards: map[int][]commit.Shard{}, Metrics: map[uint64][]byte{}, Aliases: map[uint64]uint64{}}
}

// scheduling are the tables that are the scheduler's.
var scheduling = map[keyspace.Table]func(*Saved, int, int, []byte, []byte) error{
	keyspace.QueueTable: (*Saved).queueRow, keyspace.SideInputTable: (*Saved).sideRow, keyspace.CoreTable: (*Saved).ownRow,
}

// Add takes over a row, whose key goes on with rest after table, stage and
// shard. It returns false if it is none of the scheduler's.
func (s *Saved) Add(table keyspace.Table, stage, shard int, rest, value []byte) (bool, error) {
	row := scheduling[table]
	if row == nil {
		return false, nil
	}
	return true, row(s, stage, shard, rest, value)
}

// reader is where Load reads; every store.Reader is one.
type reader interface {
	Scan(lo, hi []byte, fn func(key, value []byte) bool) error
}

// Load reads what is there of the job.
func (t *Records) Load(r reader) (*Saved, error) {
	s := NewSaved()
	for table, row := range scheduling {
		prefix := append(keyspace.Job(t.job), byte(table))
		var bad error
		err := r.Scan(prefix, keyspace.PrefixEnd(prefix), func(key, value []byte) bool {
			rest := key[len(prefix):]
			if len(rest) < 8 {
				bad = fmt.Errorf("%w: row %x", keyspace.ErrMalformed, key)
				return false
			}
			stage, shard := binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:])
			if bad = row(s, int(stage), int(shard), rest[8:], value); bad != nil {
				bad = fmt.Errorf("row %x: %w", key, bad)
			}
			return bad == nil
		})
		if err == nil {
			err = bad
		}
		if err != nil {
			return nil, fmt.Errorf("load job %s: %w", t.job, err)
		}
	}
	t.last = s.Bundle
	return s, nil
}

func (s *Saved) queueRow(stage, shard int, key, value []byte) error {
	it, err := parseItem(value)
	if err != nil {
		return err
	}
	it.Stage, it.Shard = stage, shard
	if it.Seq, _, err = keyspace.Uint64(key); err != nil {
		return err
	}
	s.Seq = max(s.Seq, it.Seq)
	s.Items = append(s.Items, it)
	return nil
}

func (s *Saved) sideRow(stage, input int, key, value []byte) error {
	seq, _, err := keyspace.Uint64(key)
	if err != nil {
		return err
	}
	d := decoder{b: value}
	s.Sides = append(s.Sides, commit.Side{Stage: stage, Input: input, Seq: seq, Block: d.uint()})
	s.Seq = max(s.Seq, seq)
	return d.end()
}

func (s *Saved) ownRow(stage, shard int, key, value []byte) error {
	if len(key) == 0 {
		return keyspace.ErrMalformed
	}
	d := decoder{b: value}
	switch key[0] {
	case rowShard:
		s.Shards[stage] = append(s.Shards[stage], commit.Shard{
			Shard: shard, NextEvent: d.time(), NextProc: d.int(), Hold: d.time(),
		})
		return d.end()
	case rowMark:
		s.Marks = append(s.Marks, commit.Mark{
			Stage: stage, Input: d.time(), Output: d.time(), Fired: d.uint() == 1, Event: int(d.int()),
		})
		return d.end()
	case rowLast:
		s.Bundle = d.uint()
		return d.end()
	case rowKept:
		id, _, err := keyspace.Uint64(key[1:])
		s.Kept = append(s.Kept, id)
		if err != nil || len(value) == 0 {
			return err
		}
		s.Aliases[id] = d.uint()
		return d.end()
	case rowMetrics:
		id, _, err := keyspace.Uint64(key[1:])
		s.Metrics[id] = bytes.Clone(value)
		return err
	}
	return fmt.Errorf("%w: unknown kind of row", keyspace.ErrMalformed)
}

func appendItem(dst []byte, it *commit.Item) []byte {
	dst = binary.AppendUvarint(dst, it.Block.ID)
	for _, n := range []int64{
		it.Block.Count, it.Block.Bytes, int64(it.Block.Min), int64(it.Block.End), int64(it.Hold), it.ReadyMS, it.SinceMS, int64(it.Tries),
	} {
		dst = binary.AppendVarint(dst, n)
	}
	return append(dst, flag(it.Truncated))
}

func parseItem(b []byte) (commit.Item, error) {
	d := decoder{b: b}
	it := commit.Item{
		Block: commit.Block{ID: d.uint(), Count: d.int(), Bytes: d.int(), Min: d.time(), End: d.time()},
		Hold:  d.time(), ReadyMS: d.int(), SinceMS: d.int(), Tries: int(d.int()), Truncated: d.uint() == 1,
	}
	return it, d.end()
}

func appendShard(dst []byte, s *commit.Shard) []byte {
	dst = binary.AppendVarint(dst, int64(s.NextEvent))
	dst = binary.AppendVarint(dst, s.NextProc)
	return binary.AppendVarint(dst, int64(s.Hold))
}

func appendMark(dst []byte, m *commit.Mark) []byte {
	dst = binary.AppendVarint(dst, int64(m.Input))
	dst = binary.AppendVarint(dst, int64(m.Output))
	dst = append(dst, flag(m.Fired))
	return binary.AppendVarint(dst, int64(m.Event))
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// decoder reads numbers and remembers that it could not.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.take(n)
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	d.take(n)
	return v
}

func (d *decoder) time() timestamp.Time { return timestamp.Time(d.int()) }

func (d *decoder) take(n int) {
	if n <= 0 {
		d.bad, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}

func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("%w: value", keyspace.ErrMalformed)
	}
	return nil
}
