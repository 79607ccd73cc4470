package job

import (
	"context"
	"iter"
	"sync"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
)

// maxHistory is the number of events that a job keeps, and maxHistoryBytes how
// much they may have: older ones are forgotten.
const (
	maxHistory      = 10_000
	maxHistoryBytes = 16 << 20
)

// Event is a change of state, or a message.
type Event struct {
	State   jobpb.JobState_Enum
	At      time.Time
	Message *jobpb.JobMessage // nil for a change of state
}

// history is an append-only list that any number of readers follow.
type history[T any] struct {
	mu      sync.Mutex
	items   []T
	size    func(T) int // bytes
	bytes   int
	first   int           // number of the first item still kept
	closed  bool          // nothing will be added any more
	changed chan struct{} // closed and replaced at every change
}

func newHistory[T any](size func(T) int) *history[T] {
	return &history[T]{size: size, changed: make(chan struct{})}
}

func eventBytes(e Event) int { return len(e.Message.GetMessageText()) }

// add appends an item; after close it does nothing.
func (h *history[T]) add(item T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	if h.bytes += h.size(item); len(h.items) >= maxHistory || h.bytes > maxHistoryBytes {
		h.drop(h.excess())
	}
	h.items = append(h.items, item)
	h.notify()
}

// excess is how many items are to go: a tenth of what there may be, so that it
// does not happen at every item.
func (h *history[T]) excess() int {
	n, bytes := 0, h.bytes
	for n < len(h.items) && (len(h.items)-n > maxHistory*9/10 || bytes > maxHistoryBytes*9/10) {
		bytes -= h.size(h.items[n])
		n++
	}
	return n
}

func (h *history[T]) drop(n int) {
	for _, it := range h.items[:n] {
		h.bytes -= h.size(it)
	}
	h.items = append(h.items[:0:0], h.items[n:]...)
	h.first += n
}

// close ends the list: readers end when they have seen it all.
func (h *history[T]) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.notify()
	}
}

func (h *history[T]) notify() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// from returns the items from number n on, the number of the next, whether the
// list is closed, and a channel that tells of the next change.
func (h *history[T]) from(n int) ([]T, int, bool, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	items := h.items[min(max(n-h.first, 0), len(h.items)):]
	return items, h.first + len(h.items), h.closed, h.changed
}

// all yields what is there and, if follow, what comes, until the list is
// closed or ctx is done.
func (h *history[T]) all(ctx context.Context, follow bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		for n := 0; ; {
			items, next, closed, changed := h.from(n)
			for _, it := range items {
				if !yield(it) {
					return
				}
			}
			n = next
			if closed || !follow {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
