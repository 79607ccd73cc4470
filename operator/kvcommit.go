package operator

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// pointDeletes is how many appends a clear deletes one by one.
const pointDeletes = 64

// Commit implements Backend.
func (b *kvBackend) Commit(c Commit) error {
	w := kvCommit{b: b, places: map[string][]byte{}}
	if err := b.open(); err != nil {
		return err
	}
	if err := w.change(c.Changes); err != nil {
		return err
	}
	for _, t := range c.Timers {
		if err := w.timer(t); err != nil {
			return err
		}
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

// change adds the writes of changes, but for those that a later one undoes: what
// is appended before its key is cleared, and all but the first clear of a key. So
// what a clear deletes is in the store before the commit.
func (w *kvCommit) change(changes []Change) error {
	last := map[string]int{} // the last clear of a cell, or of a map key
	bases := make([][]byte, len(changes))
	for i, c := range changes {
		bases[i] = w.b.cell(c.Cell)
		if c.Op != ClearAll {
			bases[i] = appendOrdered(bases[i], c.MapKey)
		}
		if c.Op != Append {
			last[string(bases[i])] = i
		}
	}
	cleared := map[string]bool{}
	for i, c := range changes {
		base := bases[i]
		if c.Op == Append {
			cell := base[:len(base)-len(appendOrdered(nil, c.MapKey))]
			if i >= last[string(base)] && i >= last[string(cell)] { // zero where there is none
				w.append(base, c.Data)
			}
			continue
		}
		if cleared[string(base)] {
			continue
		}
		cleared[string(base)] = true
		if err := w.clear(base); err != nil {
			return err
		}
	}
	return nil
}

// append adds the write of an append.
func (w *kvCommit) append(base, data []byte) {
	key := binary.BigEndian.AppendUint64(bytes.Clone(base), w.b.next+w.added)
	w.added++
	w.writes = append(w.writes, KVWrite{Key: key, Value: data})
	w.keepOld(key, []byte{undoAbsent})
}

// clear adds the writes that delete the appends at base, and their undo rows. A
// range is only for many of them: each costs what reads the store later.
//
// The undo rows may be more than memory has room for, so full pages go to the
// store at once: that a key was what it is does no harm if the commit does not
// follow.
func (w *kvCommit) clear(base []byte) error {
	lo, hi := base, after(base)
	var found []KVWrite
	for lo != nil {
		var rest []byte
		err := w.b.kv.Scan(lo, hi, func(key, value []byte) bool {
			if len(found) <= pointDeletes {
				found = append(found, KVWrite{Key: bytes.Clone(key), Delete: true})
			}
			// An append since the last Sync has its undo row, others cannot have one.
			if w.b.number(key) < w.b.synced {
				w.keepOld(key, append([]byte{undoValue}, value...))
			}
			if w.kept >= undoBytes {
				rest = append(bytes.Clone(key), 0)
				return false
			}
			return true
		})
		if err != nil {
			return err
		}
		if lo = rest; lo == nil {
			break
		}
		if err := w.b.kv.Apply(w.undo, false); err != nil {
			return err
		}
		w.undo, w.kept = nil, 0
	}
	if len(found) > pointDeletes {
		found = []KVWrite{{Key: base, Delete: true, End: hi}}
	}
	w.writes = append(w.writes, found...)
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
