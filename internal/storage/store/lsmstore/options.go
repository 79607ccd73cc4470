package lsmstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configure a store.
type Options struct {
	// Dir is the directory, which nobody else may use. It is created; its parent
	// must be there.
	Dir string
	// MemoryBudget is about how many bytes of memory the store may take; 0 is
	// DefaultMemory, and less than MinMemory counts as that.
	MemoryBudget int64
	// NoLog: what is in the store need not survive the process. Such a store waits
	// up to a minute when the disk is full.
	NoLog bool
	// Scratch: it has no log, and is taken to be written at once and read later:
	// files are merged less often.
	Scratch bool
	// FS is the file system; nil is the machine's.
	FS vfs.FS
	// ReadOnly opens a store that is there, and changes nothing of it.
	ReadOnly bool
	// Log hears of failures in the background; nil is slog.Default.
	Log *slog.Logger
	// Failed, if it is not nil, is told of the first failure to write, after
	// which no batch is applied any more.
	Failed func(error)
	// Fatal is called when the store cannot go on, possibly with its locks
	// held, and must not return. nil panics.
	Fatal func(error)
}

// Bounds of the memory budget, in bytes.
const (
	DefaultMemory = 128 << 20
	MinMemory     = 8 << 20
)

const (
	// formatVersion is pebble's format of the files. A later one is a later
	// format of the data directory: see package datadir.
	formatVersion = pebble.FormatValueSeparation

	// memTables is how many tables of changes may be in memory: one that is
	// written to and those that are on their way to disk. When all are full,
	// Apply waits.
	memTables = 4
	// memTableBytesMax is the size from which larger tables gain nothing.
	memTableBytesMax = 64 << 20

	// l0Files is the number of level-0 files from which they are merged. Each
	// one costs every read.
	l0Files = 2
	// scratchMemTables and scratchL0Files are those of a scratch store.
	scratchMemTables = 2
	scratchL0Files   = 8
	// openFilesMax bounds the file descriptors that the store keeps.
	openFilesMax = 500
	// syncBytes is how much of a new file is written before the system is asked
	// to begin with it, so that the sync at the end is short.
	syncBytes = 512 << 10
	// blockBytes is the size of what is read from a file at once.
	blockBytes = 16 << 10
	// compactionsMax is how many merges run at once: the machine is there for
	// the pipeline's work.
	compactionsMax = 2
	// retriesMax is how often in a row writing changes to files or merging files
	// may fail. Pebble tries again at once, and for ever.
	retriesMax = 10
	// bloomBits is bits for each key: 10 answer 99% of look-ups of keys that
	// are not there, which is what a new key of a stateful stage is.
	bloomBits = 10
)

// flushDelay is when a range deletion is written to a file at the latest. Until
// then nothing of what it has deleted is given back to the system. Pebble does it
// in a goroutine of its own, which panics if the next log cannot be created: that
// ends the process, as a store that has failed does in any case.
var flushDelay = 10 * time.Second // a variable for tests

// share divides a budget: half for tables of changes, half for blocks read.
func share(budget int64) (memTable uint64, cache int64) {
	if budget == 0 {
		budget = DefaultMemory
	}
	budget = max(budget, MinMemory)
	return uint64(min(budget/2/memTables, memTableBytesMax)), budget / 2
}

// pebbleOptions are the options that opening a store takes.
func (s *Store) pebbleOptions(o Options) *pebble.Options {
	memTable, cache := share(o.MemoryBudget)
	tables, files := memTables, l0Files
	if o.Scratch {
		tables, files = scratchMemTables, scratchL0Files
		memTable *= memTables / scratchMemTables
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if s.noLog {
		o.FS = s.waitsForRoom(o.FS, o.FS.PathDir(o.Dir), memTable)
	}
	po := &pebble.Options{
		FS:                          logFS{o.FS, s},
		ReadOnly:                    o.ReadOnly,
		FormatMajorVersion:          formatVersion,
		CacheSize:                   cache,
		MemTableSize:                memTable,
		MemTableStopWritesThreshold: tables,
		L0CompactionThreshold:       files,
		DisableWAL:                  s.noLog,
		MaxOpenFiles:                openFilesMax,
		FlushDelayDeleteRange:       flushDelay,
		BytesPerSync:                syncBytes,
		WALBytesPerSync:             syncBytes,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, compactionsMax },
		Logger:                      logger{s},
		EventListener: &pebble.EventListener{
			BackgroundError: s.backgroundFailed,
			FlushEnd:        func(i pebble.FlushInfo) { s.backgroundEnded(i.Err) },
			CompactionEnd:   func(i pebble.CompactionInfo) { s.backgroundEnded(i.Err) },
			DataCorruption:  func(i pebble.DataCorruptionInfo) { s.log.Error("store: a file is corrupt", "what", i.String()) },
			WriteStallBegin: func(i pebble.WriteStallBeginInfo) { s.log.Debug("store: writes wait", "reason", i.Reason) },
		},
	}
	for i := range po.Levels {
		po.Levels[i].BlockSize = blockBytes
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
	}
	return po
}

func (s *Store) backgroundFailed(err error) {
	s.log.Warn("store: work in the background failed", "err", err.Error())
	if s.retries.Add(1) > retriesMax {
		s.ends(err)
	}
}

func (s *Store) backgroundEnded(err error) {
	if err == nil {
		s.retries.Store(0)
		s.fullSince.Store(0)
	}
}

// logger takes what pebble says. What it tells of its daily work is of no use
// to the runner's users.
type logger struct{ s *Store }

// Infof implements pebble.Logger.
func (l logger) Infof(format string, args ...any) {
	if l.s.log.Enabled(context.Background(), slog.LevelDebug-1) {
		l.s.log.Log(context.Background(), slog.LevelDebug-1, fmt.Sprintf(format, args...))
	}
}

// Errorf implements pebble.Logger.
func (l logger) Errorf(format string, args ...any) {
	l.s.log.Warn("store: " + fmt.Sprintf(format, args...))
}

// commitError is how pebble begins to say that a batch could not be written. It
// says so on the goroutine of Apply, which is prepared for a panic.
const commitError = "pebble: fatal commit error"

// Fatalf implements pebble.Logger.
func (l logger) Fatalf(format string, args ...any) {
	err := l.s.fail(fmt.Errorf(format, args...))
	if !strings.HasPrefix(format, commitError) {
		l.s.fatal(err)
	}
	panic(err)
}
