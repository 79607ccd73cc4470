package lsmstore

import (
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFS watches what happens to the write-ahead log, because pebble does not
// survive all that can go wrong there: when the log cannot be rotated, because
// its last bytes cannot be written or the next file cannot be created, it
// panics in a way that ends the process without a word. Such failures end in
// Options.Fatal instead. Others are reported by pebble as errors of Apply.
//
// It also syncs the directory before a marker is made, the name of which says
// which manifest counts: pebble relies on the file system to keep the order of
// new names over a power failure, which not all do.
type logFS struct {
	vfs.FS
	s *Store
}

// Parts of pebble's file names.
const (
	logSuffix    = ".log"
	markerPrefix = "marker."
)

// rotationGrace is how long a batch may take to be handed to pebble while the
// log fails. One that takes longer is waiting for the log to be rotated.
const rotationGrace = 100 * time.Millisecond

// Unwrap implements vfs.FS.
func (f logFS) Unwrap() vfs.FS { return f.FS }

// Create implements vfs.FS.
func (f logFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(f.PathBase(name), markerPrefix) {
		if err := syncDir(f.FS, f.PathDir(name)); err != nil {
			return nil, f.s.ends(err)
		}
	}
	file, err := f.FS.Create(name, c)
	return f.created(name, file, err)
}

// ReuseForWrite implements vfs.FS.
func (f logFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(old, name, c)
	return f.created(name, file, err)
}

func (f logFS) created(name string, file vfs.File, err error) (vfs.File, error) {
	if !strings.HasSuffix(name, logSuffix) {
		return file, err
	}
	if err != nil {
		return nil, f.s.ends(err)
	}
	return logFile{file, f.s}, nil
}

// OpenDir implements vfs.FS.
func (f logFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return dirFile{file, f.s}, nil
}

// ends reports a failure that pebble does not survive.
func (s *Store) ends(err error) error {
	if err != nil {
		s.fatal(s.fail(err))
	}
	return err
}

// logFailed reports a failure to write the log. No batch is written any more.
func (s *Store) logFailed(err error) error {
	if err == nil || !s.opened.Load() {
		return err
	}
	failed := s.fail(err)
	t := time.NewTimer(rotationGrace)
	defer t.Stop()
	select {
	case s.writing <- struct{}{}: // nobody is inside pebble, nor will be
		<-s.writing
	case <-t.C:
		s.fatal(failed)
	}
	return err
}

type dirFile struct {
	vfs.File
	s *Store
}

// Sync implements vfs.File.
func (f dirFile) Sync() error { return f.s.ends(f.File.Sync()) }

type logFile struct {
	vfs.File
	s *Store
}

// Write implements vfs.File.
func (f logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.s.logFailed(err)
}

// Sync implements vfs.File.
func (f logFile) Sync() error { return f.s.logFailed(f.File.Sync()) }

// SyncData implements vfs.File.
func (f logFile) SyncData() error { return f.s.logFailed(f.File.SyncData()) }

// SyncTo implements vfs.File.
func (f logFile) SyncTo(n int64) (bool, error) {
	full, err := f.File.SyncTo(n)
	return full, f.s.logFailed(err)
}

// Preallocate implements vfs.File.
func (f logFile) Preallocate(off, n int64) error { return f.s.logFailed(f.File.Preallocate(off, n)) }

// Close implements vfs.File.
func (f logFile) Close() error { return f.s.logFailed(f.File.Close()) }
