package shuffle

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// table is a hash table of groups over blocks that it refers into. Apart from
// the list of blocks it has no pointers, so that the garbage collector has
// nothing to look at, and grows in few, large steps.
type table struct {
	strategy *window.Strategy
	merging  bool // groups are by key alone, and stamps are kept

	blocks     [][]byte
	blockBytes int64
	groups     chunked[group] // in order of first arrival
	slots      []slot         // open addressing, linear probing, at most 3/4 full
	mask       uint32
	values     chunked[value]
	stamps     chunked[stamp] // merging: parallel to values
	windows    interner       // not merging

	// The element being added, for the callback of EachWindow.
	elem       coder.Element
	key, value ref
	keyBytes   []byte
	hash       uint64
	each       func(window []byte) error
}

// ref is a piece of a block.
type ref struct{ block, off, len uint32 }

// group is what one key has, in one window unless merging.
type group struct {
	hash        uint64 // of the key
	key         ref
	window      uint32 // in table.windows; not merging
	first, last uint32 // values
	count       uint32
	time        timestamp.Time // combined so far; not merging
}

// slot of the hash table: a piece of the hash, and a group's index plus one.
type slot struct{ tag, group uint32 }

// value is an element of the chain of a group's values.
type value struct {
	ref
	next uint32 // undefined in the group's last
}

// stamp is what merging needs to know of a value.
type stamp struct {
	window ref
	time   timestamp.Time
}

const (
	slotsMin = 1 << 6
	// valuesMax leaves room below what an index can name.
	valuesMax = math.MaxUint32 - 1<<24
	// groupsMax keeps slots addressable: the table is at most 3/4 full.
	groupsMax = 1 << 30
)

func newTable(s *window.Strategy) *table {
	t := &table{strategy: s, merging: s.Merging, slots: make([]slot, slotsMin), mask: slotsMin - 1}
	t.each = t.addToWindow
	return t
}

// reset empties the table and keeps its arrays.
func (t *table) reset() {
	clear(t.blocks)
	t.blocks, t.blockBytes = t.blocks[:0], 0
	t.groups.reset()
	clear(t.slots)
	t.values.reset()
	t.stamps.reset()
	t.windows.reset()
}

// bytes is the memory in use. Arrays that reset has kept count when filled.
func (t *table) bytes() int64 {
	return t.blockBytes +
		int64(t.groups.len())*(int64(unsafe.Sizeof(group{}))+2*int64(unsafe.Sizeof(slot{}))) +
		int64(t.values.len())*int64(unsafe.Sizeof(value{})) +
		int64(t.stamps.len())*int64(unsafe.Sizeof(stamp{})) +
		t.windows.bytes
}

// full says that no other block fits, whatever the budget.
func (t *table) full() bool {
	return t.values.len() >= valuesMax || t.groups.len() >= groupsMax
}

// addBlock adds all elements of a block.
func (t *table) addBlock(block []byte, s *coder.Scanner, kv *coder.Coder) error {
	if len(block) > math.MaxUint32 {
		return fmt.Errorf("block of %d bytes is too large", len(block))
	}
	t.blocks = append(t.blocks, block)
	t.blockBytes += int64(len(block))
	for off := 0; off < len(block); {
		n, err := s.Scan(block[off:], &t.elem)
		if err != nil {
			return fmt.Errorf("element at offset %d of %d: %w", off, len(block), err)
		}
		if n <= 0 {
			return errors.New("scanner does not advance")
		}
		if err := t.addElement(s, kv); err != nil {
			return fmt.Errorf("element at offset %d of %d: %w", off, len(block), err)
		}
		off += n
	}
	return nil
}

func (t *table) addElement(s *coder.Scanner, kv *coder.Coder) error {
	k, v, err := coder.SplitKV(kv, t.elem.Value)
	if err != nil {
		return err
	}
	t.keyBytes, t.hash = k, xxhash.Sum64(k)
	t.key, t.value = t.refer(k), t.refer(v)
	if t.elem.NumWindows == 1 {
		return t.addToWindow(t.elem.Windows)
	}
	return s.EachWindow(&t.elem, t.each)
}

// refer returns where b is in the current block.
func (t *table) refer(b []byte) ref {
	if len(b) == 0 {
		return ref{}
	}
	i := len(t.blocks) - 1
	block := t.blocks[i]
	off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(block)))
	if off > uintptr(len(block)) || off+uintptr(len(b)) > uintptr(len(block)) {
		panic("shuffle: the scanner's fields are not within its block")
	}
	return ref{uint32(i), uint32(off), uint32(len(b))}
}

func (t *table) bytesOf(r ref) []byte {
	if r.len == 0 {
		return nil
	}
	return t.blocks[r.block][r.off : r.off+r.len : r.off+r.len]
}

// addToWindow adds the current element to its group in the given window.
func (t *table) addToWindow(w []byte) error {
	var win uint32
	if !t.merging {
		win = t.windows.index(w)
	}
	i, found := t.find(win)
	n := uint32(t.values.len())
	t.values.push(value{ref: t.value})
	if t.merging {
		t.stamps.push(stamp{t.refer(w), t.elem.Timestamp})
	}
	g := t.groups.at(i)
	if !found {
		g.first, g.last, g.count, g.time = n, n, 1, t.elem.Timestamp
		return nil
	}
	t.values.at(g.last).next = n
	g.last = n
	g.count++
	g.time = t.strategy.Combine(g.time, t.elem.Timestamp)
	return nil
}

// find returns the group of the current key and the given window, and whether
// it was there; otherwise it is new and has no values yet.
func (t *table) find(win uint32) (uint32, bool) {
	if t.groups.len() >= len(t.slots)/4*3 {
		t.grow()
	}
	h := place(t.hash, win)
	tag := uint32(h >> 32)
	for i := uint32(h) & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slots[i]
		if s.group == 0 {
			t.groups.push(group{hash: t.hash, key: t.key, window: win})
			*s = slot{tag, uint32(t.groups.len())}
			return s.group - 1, false
		}
		if s.tag != tag {
			continue
		}
		g := t.groups.at(s.group - 1)
		if g.hash == t.hash && g.window == win && bytes.Equal(t.bytesOf(g.key), t.keyBytes) {
			return s.group - 1, true
		}
	}
}

// place mixes the window into the hash of the key.
func place(hash uint64, win uint32) uint64 {
	return hash ^ uint64(win)*0x9e3779b97f4a7c15
}

func (t *table) grow() {
	t.slots = make([]slot, 2*len(t.slots))
	t.mask = uint32(len(t.slots) - 1)
	for n := range uint32(t.groups.len()) {
		g := t.groups.at(n)
		h := place(g.hash, g.window)
		i := uint32(h) & t.mask
		for t.slots[i].group != 0 {
			i = (i + 1) & t.mask
		}
		t.slots[i] = slot{uint32(h >> 32), n + 1}
	}
}

// eachValue calls fn for the values of a group with their indexes.
func (t *table) eachValue(g *group, fn func(i uint32, v []byte) error) error {
	i := g.first
	for n := g.count; n > 0; n-- {
		v := t.values.at(i)
		if err := fn(i, t.bytesOf(v.ref)); err != nil {
			return err
		}
		i = v.next
	}
	return nil
}

// emitTable hands out the groups when everything fitted into memory.
func (g *grouper) emitTable(e *emitter) error {
	if g.table.merging {
		return g.emitSessions(e)
	}
	t := g.table
	var cur *group
	out := Grouped{Values: func(yield func([]byte) error) error {
		i := cur.first
		for n := cur.count; n > 0; n-- {
			v := t.values.at(i)
			if err := yield(t.bytesOf(v.ref)); err != nil {
				return err
			}
			i = v.next
		}
		return nil
	}}
	for i := range uint32(t.groups.len()) {
		cur = t.groups.at(i)
		out.Key, out.Window, out.Count = t.bytesOf(cur.key), t.windows.all[cur.window], int64(cur.count)
		var err error
		if out.Timestamp, err = outputTime(t.strategy, out.Window, cur.time); err != nil {
			return err
		}
		if err := e.send(&out); err != nil {
			return err
		}
	}
	return nil
}

// outputTime is the timestamp of a pane whose elements combine to t.
func outputTime(s *window.Strategy, win []byte, t timestamp.Time) (timestamp.Time, error) {
	maxTS, err := s.Kind.MaxTimestamp(win)
	if err != nil {
		return 0, fmt.Errorf("shuffle: %w", err)
	}
	return s.OutputTimestamp(t, maxTS), nil
}
