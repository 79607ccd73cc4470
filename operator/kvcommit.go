package operator

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Commit implements Backend.
func (b *kvBackend) Commit(c Commit) error {
	w := kvCommit{b: b, places: map[string][]byte{}}
	if err := b.open(); err != nil {
		return err
	}
	for _, ch := range c.Changes {
		if err := w.change(ch); err != nil {
			return err
		}
	}
	for _, t := range c.Timers {
		if err := w.timer(t); err != nil {
			return err
		}
	}
	if err := w.keep(); err != nil {
		return err
	}
	b.next += w.added
	w.writes = append(w.writes, KVWrite{Key: b.key(kvNext), Value: binary.BigEndian.AppendUint64(nil, b.next)})
	return b.kv.Apply(append(w.writes, w.undo...), false)
}

// kvCommit collects the writes of a commit.
type kvCommit struct {
	b      *kvBackend
	writes []KVWrite
	undo   []KVWrite
	kept   int               // bytes of undo
	added  uint64            // appends so far
	places map[string][]byte // places in the index of timers that were written
}

// change adds the writes of one change.
func (w *kvCommit) change(c Change) error {
	base := w.b.cell(c.Cell)
	if c.Op != ClearAll {
		base = appendOrdered(base, c.MapKey)
	}
	if c.Op != Append {
		w.writes = append(w.writes, KVWrite{Key: base, Delete: true, End: after(base)})
		return nil
	}
	key := binary.BigEndian.AppendUint64(bytes.Clone(base), w.b.next+w.added)
	w.added++
	w.writes = append(w.writes, KVWrite{Key: key, Value: c.Data})
	return nil
}

// timer adds the writes that set or clear a timer.
func (w *kvCommit) timer(t Timer) error {
	key := append(w.b.key(kvTimer), t.id()...)
	place, ok := w.places[string(key)]
	if !ok {
		old, _, err := w.b.kv.Get(key)
		if err != nil {
			return err
		}
		place = bytes.Clone(old)
		if err := w.keepTimer(key, place); err != nil {
			return err
		}
	}
	if len(place) > 0 {
		w.writes = append(w.writes, KVWrite{Key: place, Delete: true})
	}
	if t.Clear {
		w.places[string(key)] = nil
		w.writes = append(w.writes, KVWrite{Key: key, Delete: true})
		return nil
	}
	place = append(w.b.index(t.Domain, t.FireAt), t.id()...)
	w.places[string(key)] = place
	w.writes = append(w.writes, KVWrite{Key: key, Value: place}, KVWrite{Key: place, Value: t.encode()})
	return nil
}

// index begins the place of a timer in the index by time.
func (b *kvBackend) index(d Domain, at int64) []byte {
	return binary.BigEndian.AppendUint64(append(b.key(kvIndex), byte(d)), uint64(at)^(1<<63))
}

// Due implements Backend.
func (b *kvBackend) Due(d Domain, upTo int64, limit int) ([]Timer, error) {
	if err := b.open(); err != nil {
		return nil, err
	}
	var (
		due    []Timer
		failed error
	)
	lo := append(b.key(kvIndex), byte(d))
	err := b.kv.Scan(lo, after(b.index(d, upTo)), func(_, value []byte) bool {
		var t Timer
		if t, failed = decodeTimer(value); failed != nil {
			return false
		}
		due = append(due, t)
		return len(due) < limit
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, fmt.Errorf("due timers: %w", err)
	}
	return due, nil
}
