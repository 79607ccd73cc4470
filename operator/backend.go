package operator

// Backend is the host's state and timers of one operator. What a bundle changes
// comes in one Commit. The operator calls it from one goroutine at a time.
//
// State is made of cells; a cell is an ordered map from byte strings to values
// that can be appended to. Bag state uses one key, the empty one; a value state
// is a bag that is cleared before it is written.
//
// [NewMemory] and [NewKV] are ready to use.
type Backend interface {
	// Read returns what has been appended to a map key of a cell, from position
	// from: whole appends, about limit bytes, and the position that follows,
	// zero at the end. Position zero is the beginning. The operator does not
	// change the bytes, nor does the backend later.
	Read(cell Cell, mapKey []byte, from uint64, limit int) (data []byte, next uint64, err error)
	// Keys returns the map keys of a cell behind after, in order, at most
	// limit; from the first one if after is nil.
	Keys(cell Cell, after []byte, limit int) ([][]byte, error)
	// Due returns timers of a time domain that fire at or before a time, in the
	// order of their times, at most limit.
	Due(domain Domain, upTo int64, limit int) ([]Timer, error)
	// Commit applies a bundle's changes, all or none of them.
	Commit(c Commit) error
	// Sync makes all commits so far durable, if the backend is durable at all.
	// It is called for an engine's barrier. Commits that no Sync has followed
	// must be gone when the state is used again after the end of the process,
	// for the engine sends those batches again.
	Sync() error
}

// Cell names a piece of state: of which transform, which state of it, and for
// which key and window, as they are encoded.
type Cell struct {
	Transform, Name string
	Key, Window     []byte
}

// ChangeOp says what a Change does.
type ChangeOp uint8

// Kinds of changes.
const (
	// Append adds Data to a map key.
	Append ChangeOp = iota
	// Clear removes a map key.
	Clear
	// ClearAll removes all map keys of the cell.
	ClearAll
)

// Change is one change of a cell.
type Change struct {
	Op     ChangeOp
	Cell   Cell
	MapKey []byte
	Data   []byte
}

// Commit is what one bundle changed, in order.
type Commit struct {
	Changes []Change
	// Timers were fired (and are then clear), set or cleared.
	Timers []Timer
}

// cellChange is the change of one map key that a bundle has made so far.
type cellChange struct {
	cleared bool
	added   [][]byte
}

// overlay buffers a bundle's changes over a backend.
type overlay struct {
	base  Backend
	cells map[string]*cellOverlay
	log   []Change
}

// cellOverlay is one cell's part of an overlay.
type cellOverlay struct {
	cleared bool
	keys    map[string]*cellChange
}

func newOverlay(b Backend) *overlay {
	return &overlay{base: b, cells: map[string]*cellOverlay{}}
}

// id identifies a cell within one operator.
func (c Cell) id() string {
	b := AppendElement(nil, []byte(c.Transform))
	b = AppendElement(b, []byte(c.Name))
	b = AppendElement(b, c.Key)
	return string(append(b, c.Window...))
}

// change buffers a change. The bytes must not change any more.
func (o *overlay) change(c Change) {
	o.log = append(o.log, c)
	id := c.Cell.id()
	cell := o.cells[id]
	if cell == nil {
		cell = &cellOverlay{keys: map[string]*cellChange{}}
		o.cells[id] = cell
	}
	if c.Op == ClearAll {
		cell.cleared = true
		clear(cell.keys)
		return
	}
	k := cell.keys[string(c.MapKey)]
	if k == nil {
		k = &cellChange{cleared: cell.cleared}
		cell.keys[string(c.MapKey)] = k
	}
	if c.Op == Clear {
		k.cleared, k.added = true, nil
		return
	}
	k.added = append(k.added, c.Data)
}

// pageAdded is the position at which the bundle's own appends begin.
const pageAdded = 1 << 63

// read is like Backend.Read, with the bundle's changes.
func (o *overlay) read(cell Cell, mapKey []byte, from uint64, limit int) ([]byte, uint64, error) {
	k := o.find(cell, mapKey)
	var data []byte
	i := 0
	switch {
	case from >= pageAdded:
		i = int(from - pageAdded)
	case !k.cleared:
		base, next, err := o.base.Read(cell, mapKey, from, limit)
		if err != nil || next != 0 || len(k.added) == 0 {
			return base, next, err
		}
		data = base[:len(base):len(base)] // the backend's, not to be grown in place
	}
	for ; i < len(k.added); i++ {
		if len(data) > 0 && len(data)+len(k.added[i]) > limit {
			return data, pageAdded + uint64(i), nil
		}
		data = append(data, k.added[i]...)
	}
	return data, 0, nil
}

// find returns what the bundle did to a map key; what it did not touch is zero.
func (o *overlay) find(cell Cell, mapKey []byte) cellChange {
	c := o.cells[cell.id()]
	if c == nil {
		return cellChange{}
	}
	if k := c.keys[string(mapKey)]; k != nil {
		return *k
	}
	return cellChange{cleared: c.cleared}
}

// keys returns the map keys of a cell behind after, at most limit.
func (o *overlay) keys(cell Cell, after []byte, limit int) ([][]byte, error) {
	c := o.cells[cell.id()]
	if c == nil {
		return o.base.Keys(cell, after, limit)
	}
	var base [][]byte
	if !c.cleared {
		var err error
		// Some of these may have been cleared; more than enough is asked for.
		if base, err = o.base.Keys(cell, after, limit+len(c.keys)); err != nil {
			return nil, err
		}
	}
	return c.merge(base, after, limit), nil
}
