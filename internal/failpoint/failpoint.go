// Package failpoint lets a test end this process at a named place, as a power
// cut would: with SIGKILL, so that nothing is flushed, closed or answered.
//
// A place is Hit with its name. At most one is armed, by Arm, which the server
// calls with the environment variable PHAROS_FAILPOINT. While none is, a hit
// costs one atomic load.
package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Variable is the environment variable that names a failpoint, as NAME:COUNT.
const Variable = "PHAROS_FAILPOINT"

// Name is a place in the life of durable jobs.
type Name string

// The places, in the order in which a job comes by.
const (
	// EntryWrite: a job's entry is about to be written.
	EntryWrite Name = "entry-write"
	// EntryWritten: a job's entry has been written, and nobody has been told.
	EntryWritten Name = "entry-written"
	// BlocksSync: blocks of the spool are about to be synced for a commit.
	BlocksSync Name = "blocks-sync"
	// BlocksSynced: they are durable, and no row names them yet.
	BlocksSynced Name = "blocks-synced"
	// Apply: a batch of records is about to be applied.
	Apply Name = "apply"
	// Applied: it is durable, and the core has not been told.
	Applied Name = "applied"
	// Drop: a commit is durable and the core knows; the blocks that it has
	// consumed are about to be dropped.
	Drop Name = "drop"
	// Seal: the end of a job is about to be written.
	Seal Name = "seal"
	// Sealed: it is written, and what the job has in store and spool is there.
	Sealed Name = "sealed"
	// Recover: jobs have been read at the start, and blocks that nobody refers
	// to are about to be dropped.
	Recover Name = "recover"
	// Recovered: one of the jobs is about to go on.
	Recovered Name = "recovered"
	// Restore: what a job begins with is in the store, and is not its own yet.
	Restore Name = "restore"
	// Restored: it is.
	Restored Name = "restored"
)

// Names are all places.
func Names() []Name {
	return []Name{
		EntryWrite, EntryWritten, BlocksSync, BlocksSynced, Apply, Applied, Drop, Seal, Sealed, Recover, Recovered,
		Restore, Restored,
	}
}

// point is the armed failpoint.
type point struct {
	name Name
	left atomic.Int64
}

var armed atomic.Pointer[point]

// kill ends the process; tests replace it.
var kill = func() {
	if p, err := os.FindProcess(os.Getpid()); err == nil && p.Kill() == nil {
		select {} // until the signal comes
	}
	os.Exit(137)
}

// Arm has the process die at the COUNT-th hit of NAME, for a spec NAME:COUNT.
// An empty spec does nothing.
func Arm(spec string) error {
	if spec == "" {
		return nil
	}
	name, count, _ := strings.Cut(spec, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 || !slices.Contains(Names(), Name(name)) {
		return fmt.Errorf("failpoint %q: not NAME:COUNT with a count from 1 and one of the names %v", spec, Names())
	}
	p := &point{name: Name(name)}
	p.left.Store(n)
	armed.Store(p)
	return nil
}

// ClockVariable is the environment variable that says what the server's clock of
// processing time is off by, like -20s.
const ClockVariable = "PHAROS_CLOCK_OFFSET"

// ClockOffset reads it; empty is none.
func ClockOffset(spec string) (time.Duration, error) {
	if spec == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(spec)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", ClockVariable, err)
	}
	return d, nil
}

// Hit tells that the process has come to a place.
func Hit(name Name) {
	if p := armed.Load(); p != nil && p.name == name && p.left.Add(-1) == 0 {
		kill()
	}
}
