// Package memory divides the memory budget of the process: it is the one place
// that says who may hold how much. A part that needs more than its share goes
// to disk or waits; nobody borrows from others.
//
// The shares are three quarters of what the program itself leaves of the budget.
// The last quarter is for what has no share: the scheduler's queues, and what
// the garbage collector has not found yet; the runtime is told all four as its
// limit.
//
// What no share bounds: an element must fit into memory, several times.
package memory

// Min is the smallest budget, in bytes; less counts as that.
const Min = 64 << 20

// program is what the text of the program takes, in bytes. It counts as memory
// of the process, and the runtime does not see it.
const program = 24 << 20

// Shares of a budget, in bytes.
type Shares struct {
	// Heap is what all that follows may take, with the garbage.
	Heap int64
	// Spool is for blocks of elements between stages.
	Spool int64
	// Grouping is for the tables of all groupings that run at once.
	Grouping int64
	// Store is for rows: changes not yet in files, and blocks read from files.
	Store int64
	// SideInputs is for the indexes of all side inputs.
	SideInputs int64
	// Transit is for what is between workers and blocks: messages, and blocks
	// that are being filled.
	Transit int64
}

// Bounds of the store's share: less does not work, more gains nothing.
const (
	storeMin = 8 << 20
	storeMax = 512 << 20
)

// Divide divides a budget.
func Divide(budget int64) Shares {
	heap := max(budget, Min) - program
	return Shares{
		Heap:       heap,
		Spool:      heap / 16 * 3,
		Grouping:   heap / 16 * 3,
		Store:      clamp(heap/8, storeMin, storeMax),
		SideInputs: heap / 16,
		Transit:    heap / 16 * 3,
	}
}

// Bounds of what follows from the shares. The largest are those that a large
// budget gains from.
const (
	blockMin, blockMax   = 64 << 10, 1 << 20
	inboxMin, inboxMax   = 1 << 20, 16 << 20
	windowMin, windowMax = 256 << 10, 4 << 20
	bundleMin, bundleMax = 1 << 20, 64 << 20
)

// bundlesAtOnce is how many bundles are taken to have data in transit.
const bundlesAtOnce = 8

// blocksAtOnce is how many blocks are taken to be filled at once: one for each
// shard that an output goes to, of some bundles.
const blocksAtOnce = 192

// Block is the size at which a block is closed.
func (s Shares) Block() int { return int(clamp(s.Transit/blocksAtOnce, blockMin, blockMax)) }

// Inbox is how much a worker may have sent of a bundle that nobody has taken.
func (s Shares) Inbox() int { return int(clamp(s.Transit/2/bundlesAtOnce, inboxMin, inboxMax)) }

// Window is how much may be under way to the process on one stream.
func (s Shares) Window() int32 { return int32(clamp(s.Transit/48, windowMin, windowMax)) }

// Bundle is how much input a bundle may have that holds all of it at once, with
// what it writes to the store.
func (s Shares) Bundle() int64 { return clamp(s.Transit/8, bundleMin, bundleMax) }

// SideIndex is the part of the side inputs' share for indexes in memory, SideRows
// that for the store of what does not fit.
func (s Shares) SideIndex() int64 { return s.SideInputs / 4 }

// SideRows is the rest of that share.
func (s Shares) SideRows() int64 { return s.SideInputs - s.SideIndex() }

// Group is the share of one of the groupings that run at once.
func (s Shares) Group(atOnce int) int64 { return s.Grouping / int64(max(atOnce, 1)) }

func clamp(n, lo, hi int64) int64 { return min(max(n, lo), hi) }
