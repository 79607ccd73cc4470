package table

import (
	"bytes"
	"fmt"
	"math"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// Domain is the clock that fires a timer.
type Domain uint8

// The domains.
const (
	EventTime Domain = iota + 1
	ProcessingTime
)

// Timer is a timer of an SDK stage.
type Timer struct {
	Transform, Family string
	Key, Tag, Window  []byte
	Domain            Domain
	Fire              int64          // ms, of event time or since the Unix epoch
	Hold              timestamp.Time // holds the output watermark; commit.None: does not
	Pane              []byte         // of the element that set it, encoded
}

func (t *Timer) id() keyspace.TimerID {
	return keyspace.TimerID{Transform: t.Transform, Family: t.Family, Key: t.Key, Tag: t.Tag, Window: t.Window}
}

// Timers are the timers of one stage, with their indexes by time. A bundle
// changes timers through one value only; it may have Holds beside it.
type Timers struct {
	kv     keyspace.KV
	job    string
	stage  int
	rows   []byte // prefix of the timer table
	event  index
	proc   index
	holds  index
	owners *Holds
	key    []byte // scratch
}

// NewTimers returns the timers of a stage.
func NewTimers(kv keyspace.KV, job string, stage int) *Timers {
	// Holds are also set through other values.
	owners := NewHolds(kv, job, stage)
	owners.times.low = nil
	return &Timers{
		kv:     kv,
		job:    job,
		stage:  stage,
		rows:   keyspace.Stage(job, keyspace.TimerTable, stage),
		event:  newIndex(kv, job, keyspace.EventIndex, stage),
		proc:   newIndex(kv, job, keyspace.ProcessingIndex, stage),
		holds:  newIndex(kv, job, keyspace.TimerHoldIndex, stage),
		owners: owners,
	}
}

// Set sets a timer in the place of the one with the same transform, family,
// key, window and tag, whatever the domain of that was.
func (t *Timers) Set(shard int, timer Timer) error {
	if timer.Domain != EventTime && timer.Domain != ProcessingTime {
		return fmt.Errorf("timer family %q of transform %q: unknown time domain %d", timer.Family, timer.Transform, timer.Domain)
	}
	row, id := t.row(shard, &timer)
	v := timerValue{timer.Domain, timer.Fire, timer.Hold, timer.Pane}
	value := v.append(nil)
	old, ok, err := t.kv.Get(row)
	if err != nil || ok && bytes.Equal(old, value) {
		return err
	}
	if ok {
		if err := t.unindexRow(shard, old, id); err != nil {
			return err
		}
	}
	if err := t.kv.Set(row, value); err != nil {
		return err
	}
	if err := t.due(v.domain).set(shard, v.fire, id, value); err != nil {
		return err
	}
	if v.hold < commit.None {
		return t.holds.set(shard, int64(v.hold), id, nil)
	}
	return nil
}

// Clear removes the timer with the same transform, family, key, window and
// tag, if there is one.
func (t *Timers) Clear(shard int, timer Timer) error {
	row, id := t.row(shard, &timer)
	if err := t.unindex(shard, row, id); err != nil {
		return err
	}
	return t.kv.Delete(row)
}

// row returns the key of a timer's row, and the part of it that is the timer's
// identity, in the scratch buffer.
func (t *Timers) row(shard int, timer *Timer) (row, id []byte) {
	t.key = keyspace.AppendShard(append(t.key[:0], t.rows...), shard)
	n := len(t.key)
	tid := timer.id()
	t.key = keyspace.AppendTimerID(t.key, &tid)
	return t.key, t.key[n:]
}

// Append appends what it takes to set a timer where there is none of its
// identity.
func (t *Timers) Append(ops []keyspace.Op, shard int, timer *Timer) []keyspace.Op {
	row, id := t.row(shard, timer)
	v := timerValue{timer.Domain, timer.Fire, timer.Hold, timer.Pane}
	set := func(key, value []byte) {
		ops = append(ops, keyspace.Op{Kind: keyspace.Set, Key: bytes.Clone(key), Value: value})
	}
	value := v.append(nil)
	set(row, value)
	set(t.due(v.domain).entry(shard, v.fire, id), value)
	if v.hold < commit.None {
		set(t.holds.entry(shard, int64(v.hold), id), nil)
	}
	return ops
}

// ParseTimer reads a row: what its key has after the shard, and its value. The
// timer does not share their memory.
func ParseTimer(id, value []byte) (Timer, error) {
	return parseTimer(bytes.Clone(id), bytes.Clone(value))
}

// unindex removes the index entries of the timer in the given row.
func (t *Timers) unindex(shard int, row, id []byte) error {
	old, ok, err := t.kv.Get(row)
	if err != nil || !ok {
		return err
	}
	return t.unindexRow(shard, old, id)
}

func (t *Timers) unindexRow(shard int, old, id []byte) error {
	v, err := parseTimerValue(old)
	if err != nil {
		return err
	}
	return t.unindexValue(shard, id, &v)
}

func (t *Timers) unindexValue(shard int, id []byte, v *timerValue) error {
	if err := t.due(v.domain).delete(shard, v.fire, id); err != nil {
		return err
	}
	if v.hold < commit.None {
		return t.holds.delete(shard, int64(v.hold), id)
	}
	return nil
}

func (t *Timers) due(d Domain) *index {
	if d == EventTime {
		return &t.event
	}
	return &t.proc
}

// Due returns at most limit timers that fire at or before upTo, in order of
// time. Timers of the same time are in order of key, window, transform, family
// and tag. They stay set.
func (t *Timers) Due(shard int, domain Domain, upTo int64, limit int) ([]Timer, error) {
	if limit <= 0 {
		return nil, nil
	}
	var timers []Timer
	var bad error
	err := t.due(domain).scan(shard, func(fire int64, id, value []byte) bool {
		if fire > upTo {
			return false
		}
		var timer Timer
		if timer, bad = parseTimer(bytes.Clone(id), bytes.Clone(value)); bad != nil {
			return false
		}
		timers = append(timers, timer)
		return len(timers) < limit
	})
	if err == nil {
		err = bad
	}
	return timers, err
}

// Summary returns the earliest event-time timer, or commit.None; the earliest
// processing-time timer, or math.MaxInt64; and the smallest watermark hold of
// timers and Holds, or commit.None.
func (t *Timers) Summary(shard int) (nextEvent timestamp.Time, nextProc int64, minHold timestamp.Time, err error) {
	event, err := t.event.first(shard, int64(commit.None))
	if err != nil {
		return 0, 0, 0, err
	}
	if nextProc, err = t.proc.first(shard, math.MaxInt64); err != nil {
		return 0, 0, 0, err
	}
	hold, err := t.holds.first(shard, int64(commit.None))
	if err != nil {
		return 0, 0, 0, err
	}
	owned, err := t.owners.Min(shard)
	return timestamp.Time(event), nextProc, min(timestamp.Time(hold), owned), err
}

// Holder is what is behind a Summary: a timer, or the owner of a hold.
type Holder struct {
	Timer *Timer
	Owner []byte
}

// Holder returns who has the smallest hold of a shard; if there are no holds,
// the timer that is due first, in event time if there is one.
func (t *Timers) Holder(shard int) (Holder, error) {
	var h Holder
	hold, owned := int64(commit.None), int64(commit.None)
	var id, owner []byte
	take := func(at *int64, who *[]byte) func(int64, []byte, []byte) bool {
		return func(t int64, id, _ []byte) bool {
			*at, *who = t, bytes.Clone(id)
			return false
		}
	}
	if err := t.holds.scan(shard, take(&hold, &id)); err != nil {
		return h, err
	}
	if err := t.owners.times.scan(shard, take(&owned, &owner)); err != nil {
		return h, err
	}
	if owner != nil && owned <= hold {
		return Holder{Owner: owner}, nil
	}
	for _, due := range []*index{&t.event, &t.proc} {
		if id == nil {
			if err := due.scan(shard, take(&hold, &id)); err != nil {
				return h, err
			}
		}
	}
	if id == nil {
		return h, nil
	}
	value, ok, err := t.kv.Get(append(keyspace.AppendShard(bytes.Clone(t.rows), shard), id...))
	if err != nil || !ok {
		return h, err
	}
	timer, err := parseTimer(id, bytes.Clone(value))
	return Holder{Timer: &timer}, err
}

// DropWindow removes what is kept for one window of one key: state, timers,
// and the holds whose owner starts with keyspace.HoldOwner(key, window). It
// does not touch the grouping engine's tables.
func (t *Timers) DropWindow(shard int, key, window []byte) error {
	prefix := keyspace.HoldOwner(key, window)
	if err := t.dropTimers(shard, prefix); err != nil {
		return err
	}
	if err := t.owners.clearAll(shard, prefix); err != nil {
		return err
	}
	state := append(keyspace.Shard(t.job, keyspace.StateTable, t.stage, shard), prefix...)
	return dropPrefix(t.kv, state)
}

// dropTimers removes the timers whose identity starts with prefix.
func (t *Timers) dropTimers(shard int, prefix []byte) error {
	rows := keyspace.AppendShard(bytes.Clone(t.rows), shard)
	base := len(rows)
	rows = append(rows, prefix...)
	type entry struct {
		id []byte
		v  timerValue
	}
	var entries []entry
	var bad error
	err := t.kv.Scan(rows, keyspace.PrefixEnd(rows), func(key, value []byte) bool {
		var v timerValue
		v, bad = parseTimerValue(value)
		entries = append(entries, entry{bytes.Clone(key[base:]), v})
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil || len(entries) == 0 {
		return err
	}
	for i := range entries {
		if err := t.unindexValue(shard, entries[i].id, &entries[i].v); err != nil {
			return err
		}
	}
	return t.kv.DeleteRange(rows, keyspace.PrefixEnd(rows))
}

// dropPrefix removes all keys with the prefix, if there are any: a range
// deletion that deletes nothing would still cost later reads.
func dropPrefix(kv keyspace.KV, prefix []byte) error {
	end := keyspace.PrefixEnd(prefix)
	found := false
	err := kv.Scan(prefix, end, func(_, _ []byte) bool {
		found = true
		return false
	})
	if err != nil || !found {
		return err
	}
	return kv.DeleteRange(prefix, end)
}

// timerValue is what a row of the timer table says.
type timerValue struct {
	domain Domain
	fire   int64
	hold   timestamp.Time
	pane   []byte
}

func (v *timerValue) append(dst []byte) []byte {
	dst = keyspace.AppendInt64(append(dst, byte(v.domain)), v.fire)
	return append(keyspace.AppendTime(dst, v.hold), v.pane...)
}

func parseTimerValue(b []byte) (v timerValue, err error) {
	if len(b) == 0 || Domain(b[0]) != EventTime && Domain(b[0]) != ProcessingTime {
		return v, fmt.Errorf("%w: timer row", keyspace.ErrMalformed)
	}
	v.domain = Domain(b[0])
	if v.fire, b, err = keyspace.Int64(b[1:]); err != nil {
		return v, err
	}
	hold, b, err := keyspace.Int64(b)
	v.hold, v.pane = timestamp.Time(hold), b
	return v, err
}

func parseTimer(id, value []byte) (Timer, error) {
	tid, err := keyspace.ParseTimerID(id)
	if err != nil {
		return Timer{}, err
	}
	v, err := parseTimerValue(value)
	return Timer{
		Transform: tid.Transform, Family: tid.Family, Key: tid.Key, Tag: tid.Tag, Window: tid.Window,
		Domain: v.domain, Fire: v.fire, Hold: v.hold, Pane: v.pane,
	}, err
}
