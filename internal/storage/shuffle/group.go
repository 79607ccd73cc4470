package shuffle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// ErrCorrupt is wrapped by errors about runs that are not what was written.
var ErrCorrupt = errors.New("shuffle run is corrupt")

// Config says how to group.
type Config struct {
	Scanner  *coder.Scanner // of the windowed elements
	KV       *coder.Coder   // of the elements, a KV
	Strategy *window.Strategy
	// MemoryBudget is the size in bytes that the blocks and the table over
	// them may reach before they go to disk; with 0, every block does.
	MemoryBudget int64
	// Dir is where runs are written; the system's directory for temporary
	// files if empty.
	Dir string
	// Merge merges the windows of a key, all distinct, for a WindowFn whose
	// merging is not known here (Strategy.CustomMerge). Windows that it does
	// not mention stay as they are.
	Merge func(windows [][]byte) ([]window.Merged, error)
}

// Grouped is what one key has in one window. It and its slices are valid until
// the emit function returns.
type Grouped struct {
	Key       []byte
	Window    []byte
	Timestamp timestamp.Time // by the strategy's timestamp combiner
	Count     int64          // values
	// Values calls yield for each value. It may be called several times. A
	// value is valid until yield returns.
	Values func(yield func(v []byte) error) error
}

// Group reads blocks of whole windowed elements from next until io.EOF, and
// then calls emit for each group. Blocks must not change until it returns.
// Errors of next and emit are handed through.
func Group(ctx context.Context, next func() ([]byte, error), cfg Config, emit func(g *Grouped) error) error {
	g, err := newGrouper(cfg)
	if err != nil {
		return err
	}
	defer g.close()
	if err := g.read(ctx, next); err != nil {
		return err
	}
	e := &emitter{ctx: ctx, emit: emit}
	if g.runs == nil {
		return g.emitTable(e)
	}
	if err := g.spill(); err != nil {
		return err
	}
	return g.emitRuns(e)
}

// grouper is the state of one Group.
type grouper struct {
	cfg   Config
	table *table
	runs  *runs // nil until the budget is exceeded
}

func newGrouper(cfg Config) (*grouper, error) {
	switch {
	case cfg.Scanner == nil || cfg.Strategy == nil:
		return nil, errors.New("shuffle: scanner or windowing strategy is missing")
	case cfg.KV == nil || cfg.KV.Kind != coder.KV:
		return nil, errors.New("shuffle: the elements are not key-value pairs")
	case cfg.Strategy.CustomMerge && cfg.Merge == nil:
		return nil, fmt.Errorf("shuffle: WindowFn %s merges windows and nobody to ask how", cfg.Strategy.FnURN)
	}
	return &grouper{cfg: cfg, table: newTable(cfg.Strategy)}, nil
}

func (g *grouper) close() {
	if g.runs != nil {
		g.runs.close()
	}
}

// read fills the table, and spills it when it is too large.
func (g *grouper) read(ctx context.Context, next func() ([]byte, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		block, err := next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := g.table.addBlock(block, g.cfg.Scanner, g.cfg.KV); err != nil {
			return fmt.Errorf("shuffle: %w", err)
		}
		if g.table.bytes() > g.cfg.MemoryBudget || g.table.full() {
			if err := g.spill(); err != nil {
				return err
			}
		}
	}
}

// spill writes the table as a run and empties it.
func (g *grouper) spill() error {
	if g.table.groups.len() == 0 {
		return nil
	}
	if g.runs == nil {
		f, err := os.CreateTemp(g.cfg.Dir, "pharos-shuffle-")
		if err != nil {
			return fmt.Errorf("shuffle: %w", err)
		}
		g.runs = newRuns(f)
	}
	if err := g.runs.write(g.table); err != nil {
		return fmt.Errorf("shuffle: write run: %w", err)
	}
	g.table.reset()
	return nil
}

// emitter hands out groups and looks at the context once in a while.
type emitter struct {
	ctx  context.Context
	emit func(*Grouped) error
	n    int
}

// groupsPerCheck is the number of groups between two looks at the context.
const groupsPerCheck = 256

func (e *emitter) send(g *Grouped) error {
	if e.n++; e.n%groupsPerCheck == 0 {
		if err := e.ctx.Err(); err != nil {
			return err
		}
	}
	return e.emit(g)
}
