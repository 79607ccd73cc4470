package reduce

import (
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// MergedWindow is one result of a Merge.
type MergedWindow = window.Merged

// Merge merges windows, given in order of their encodings, of one key by a
// user's WindowFn. Windows that stay as they are need not be mentioned.
type Merge func(windows [][]byte) (merged []MergedWindow, err error)

// Domain is the clock that a timer follows.
type Domain uint8

// The clocks.
const (
	// EventTime fires when the input watermark has reached the timer.
	EventTime Domain = iota + 1
	// ProcessingTime fires when the clock has reached the timer.
	ProcessingTime
	// SyncProcessingTime fires when the clock of everything upstream has
	// reached the timer. A Reducer does not use it: synchronized delays have no
	// length, so they are over when they begin.
	SyncProcessingTime
)

// Timers are the timers of the current key. Setting one replaces that of the
// same window, tag and domain; clearing one that is not set does nothing.
type Timers interface {
	// Set sets a timer for an instant in milliseconds since the Unix epoch.
	Set(window []byte, tag string, domain Domain, fire int64) error
	Clear(window []byte, tag string, domain Domain) error
}

// Holds are the output watermark holds of the current key, by owner. Setting
// one replaces that of the same owner; clearing one that is not set does
// nothing.
type Holds interface {
	Set(owner []byte, t timestamp.Time) error
	Clear(owner []byte) error
}

// Due is a timer that has come due and has been removed. It is only a reason to
// look at its window: what happens follows from the state and the clocks, so a
// timer that is delivered late, twice or for a window that is gone does no harm.
type Due struct {
	Window []byte
	Tag    string
	Domain Domain
	Fire   int64
}

// Env is what a Reducer works on and through: the state, timers and holds of
// one key, the time, and where panes go.
type Env struct {
	KV keyspace.KV
	// Prefix of all keys of the current key. The Reducer appends to a copy.
	Prefix []byte
	Timers Timers
	Holds  Holds
	// Watermark is the input watermark.
	Watermark timestamp.Time
	// OutputWatermark is the output watermark of the stage. It decides which
	// elements are too late to count for the timestamp of a pane, and which
	// panes are late. Nil if it is not known: then elements behind Watermark
	// do not count, and a pane after the end of its window is late unless the
	// window has held the output watermark for it.
	OutputWatermark *timestamp.Time
	// NowMS is the clock, SyncNowMS the clock that everything upstream has
	// reached, in milliseconds since the Unix epoch.
	NowMS, SyncNowMS int64
	// Merge is needed if the strategy has CustomMerge only.
	Merge Merge
	// Windows splits the windows of an element (coder.Scanner.EachWindow). It
	// is needed if custom windows can come several for an element only.
	Windows func(e *coder.Element, fn func(window []byte) error) error
	// Emit takes a pane. Firing.Values is valid until Emit returns.
	Emit func(p Firing) error
	// Dropped, if not nil, is told of elements dropped because they were too
	// late, or their window had closed; counted once for each window.
	Dropped func(n int)
	// Seq returns increasing numbers, never the same twice for a shard, also
	// after a restart: the order of arrival of values.
	Seq func() uint64
}

// Firing is a pane: the result of grouping for one key and window.
type Firing struct {
	Window    []byte
	Timestamp timestamp.Time
	Pane      coder.Pane
	// Values yields the encoded values in order of arrival, each time it is
	// called. A value is valid until yield returns. An error of yield ends the
	// iteration and is returned.
	Values func(yield func(value []byte) error) error
	// Count of Values.
	Count int64
}
