package operator

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The store always has the newest commits. For each key that they have changed
// since the last Sync it also has, written before or in the same Apply, what the
// key was then. Sync removes these; a backend that finds some when it is opened
// puts everything back. So nothing is kept in memory, and state never is ahead of
// the last Sync.

// What an undo row says of its key.
const (
	undoAbsent = 0 // it was not there
	undoValue  = 1 // what follows was its value
)

// undoBytes is about how much is kept, or put back, in one Apply.
const undoBytes = 1 << 20

// open puts back what was committed since the last Sync, and reads where the
// numbering of appends goes on.
func (b *kvBackend) open() error {
	if b.opened {
		return nil
	}
	for {
		n, err := b.undo()
		if err != nil {
			return fmt.Errorf("undo what was changed after the last checkpoint: %w", err)
		}
		if n == 0 {
			break
		}
	}
	v, ok, err := b.kv.Get(b.key(kvNext))
	if err != nil {
		return err
	}
	if ok && len(v) != 8 {
		return fmt.Errorf("the number of appends is damaged: %x", v)
	}
	if ok {
		b.next = binary.BigEndian.Uint64(v)
	}
	b.synced = b.next
	b.opened = true
	return nil
}

// undo puts back a page of keys, and returns how many. Their undo rows go with it,
// so that it may stop after any page.
func (b *kvBackend) undo() (int, error) {
	base := b.key(kvUndo)
	var page, writes []KVWrite
	size := 0
	err := b.kv.Scan(base, after(base), func(undo, old []byte) bool {
		page = append(page, KVWrite{Key: bytes.Clone(undo), Value: bytes.Clone(old)})
		size += 2*len(undo) + len(old)
		return size < undoBytes
	})
	if err != nil || len(page) == 0 {
		return 0, err
	}
	for _, u := range page {
		key := append(bytes.Clone(b.prefix), u.Key[len(base):]...)
		if len(u.Value) == 0 || u.Value[0] > undoValue {
			return 0, fmt.Errorf("the undo row %x is damaged", u.Key)
		}
		there, old := u.Value[0] == undoValue, u.Value[1:]
		if key[len(b.prefix)] == kvTimer {
			place, now, err := b.kv.Get(key)
			if err != nil {
				return 0, err
			}
			if now && !bytes.Equal(place, old) { // else it is put back, perhaps already
				writes = append(writes, KVWrite{Key: bytes.Clone(place), Delete: true})
			}
		}
		writes = append(writes, KVWrite{Key: key, Value: old, Delete: !there}, KVWrite{Key: u.Key, Delete: true})
	}
	return len(page), b.kv.Apply(writes, false)
}

// Sync implements Backend. It is one Apply, which also makes what was committed
// before final.
func (b *kvBackend) Sync() error {
	if err := b.open(); err != nil {
		return err
	}
	base := b.key(kvUndo)
	if err := b.kv.Apply([]KVWrite{{Key: base, Delete: true, End: after(base)}}, true); err != nil {
		return err
	}
	b.synced = b.next
	return nil
}

// number is the number of the append at a key.
func (b *kvBackend) number(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// keepTimer adds the undo rows of a timer that has a place in the index, or none,
// unless it has been changed since the last Sync already. Places that it gets until
// the next one need no undo rows: undo removes that which it has in the end.
func (w *kvCommit) keepTimer(key, place []byte) error {
	_, have, err := w.b.kv.Get(w.b.undoKey(key))
	if err != nil || have {
		return err
	}
	if len(place) == 0 {
		w.keepOld(key, []byte{undoAbsent})
		return nil
	}
	timer, ok, err := w.b.kv.Get(place)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("the timer at %x is not in the index", key)
	}
	w.keepOld(key, append([]byte{undoValue}, place...))
	w.keepOld(place, append([]byte{undoValue}, timer...))
	return nil
}

// keepOld adds an undo row.
func (w *kvCommit) keepOld(key, old []byte) {
	undo := w.b.undoKey(key)
	w.undo = append(w.undo, KVWrite{Key: undo, Value: old})
	w.kept += len(undo) + len(old)
}

// undoKey is where the undo row of a key is.
func (b *kvBackend) undoKey(key []byte) []byte {
	return append(b.key(kvUndo), key[len(b.prefix):]...)
}
