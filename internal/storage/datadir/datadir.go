// Package datadir owns the directory in which a runner keeps what must outlive
// it.
//
// # Layout
//
//	FORMAT     what the directory is, and the version of all below
//	LOCK       locked by the process that uses the directory
//	store/     the ordered store: see package lsmstore
//	spool/     blocks of elements: see package spool
//	artifacts/ what clients have staged
//	snapshots/ snapshots of jobs: see package snapshot
//	logs/      what workers have logged: see package logbook
//	tmp/       what nobody needs after the process; emptied by Open
//
// # Invariants
//
//   - One process at a time uses a directory.
//   - A directory of a later version is not touched.
//   - FORMAT is the last thing that is created. A directory without it has
//     nothing in it that anybody was told of, or is not ours: then it is
//     refused.
package datadir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Version is the format of what is in the directory: the layout, the keys and
// rows of the store, the records and the segment files. A change that an older
// runner would misread, or that needs a conversion, makes it larger.
const Version = 1

// Errors of Open and OpenExisting, wrapped together with the directory's name.
var (
	// ErrInUse: another process uses the directory.
	ErrInUse = errors.New("in use by another process")
	// ErrVersion: the directory was written by a later version of Pharos.
	ErrVersion = errors.New("written by a later version of Pharos")
	// ErrForeign: there are other things in the directory.
	ErrForeign = errors.New("not a data directory of Pharos, and not empty")
	// ErrNone: OpenExisting has found nothing that a server has left.
	ErrNone = errors.New("not a data directory of Pharos")
)

// Names in the directory.
const (
	formatName    = "FORMAT"
	formatNew     = "FORMAT.new"
	lockName      = "LOCK"
	storeName     = "store"
	spoolName     = "spool"
	artifactsName = "artifacts"
	tempName      = "tmp"
	formatIntro   = "pharos data directory, version "
	// formatBytesMax bounds how much of a FORMAT file is read.
	formatBytesMax = 256
)

// Dir is a data directory that this process has locked.
type Dir struct {
	fs   vfs.FS
	path string
	lock io.Closer
}

// Open locks the data directory at path, which it creates if need be. fs nil
// is the machine's file system.
func Open(path string, fs vfs.FS) (*Dir, error) {
	if fs == nil {
		fs = vfs.Default
		abs, err := filepath.Abs(path) // also for locks, which are by name
		if err != nil {
			return nil, fmt.Errorf("data directory %s: %w", path, err)
		}
		path = abs
	}
	d := &Dir{fs: fs, path: path}
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", path, errors.Join(err, d.Close()))
	}
	return d, nil
}

// OpenExisting locks a data directory that must be there, and changes nothing
// in it.
func OpenExisting(path string, fs vfs.FS) (*Dir, error) {
	if fs == nil {
		fs = vfs.Default
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("data directory %s: %w", path, err)
		}
		path = abs
	}
	d := &Dir{fs: fs, path: path}
	err := d.checkVersion()
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w (%w)", ErrNone, err)
	}
	if err == nil {
		err = d.takeLock()
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", path, errors.Join(err, d.Close()))
	}
	return d, nil
}

func (d *Dir) takeLock() error {
	lock, err := d.fs.Lock(d.in(lockName))
	var notLocked *os.PathError // the file could not even be opened
	if errors.As(err, &notLocked) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	d.lock = lock
	return nil
}

func (d *Dir) open() error {
	if err := d.makePath(d.path); err != nil {
		return err
	}
	if err := d.mayUse(); err != nil {
		return err // before the lock, which leaves a file
	}
	if err := d.takeLock(); err != nil {
		return err
	}
	if err := d.mayUse(); err != nil { // nobody changes it now
		return err
	}
	if err := d.create(); err != nil {
		return err
	}
	if err := d.fs.RemoveAll(d.Temp()); err != nil {
		return err
	}
	return d.fs.MkdirAll(d.Temp(), 0o700)
}

// makePath creates a directory and those above it, durably.
func (d *Dir) makePath(path string) error {
	if _, err := d.fs.Stat(path); err == nil {
		return nil
	}
	parent := d.fs.PathDir(path)
	if parent == path {
		return fmt.Errorf("%s does not exist", path)
	}
	if parent != "." {
		if err := d.makePath(parent); err != nil {
			return err
		}
	}
	if err := d.fs.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return d.sync(parent)
}

// mayUse says whether the directory is one of this version, or one to create.
func (d *Dir) mayUse() error {
	names, err := d.fs.List(d.path)
	if err != nil {
		return err
	}
	if slices.Contains(names, formatName) {
		return d.checkVersion()
	}
	for _, name := range names {
		if err := d.mayBeLeft(name); err != nil {
			return err
		}
	}
	return nil
}

// mayBeLeft refuses what cannot be left from a creation that was interrupted.
func (d *Dir) mayBeLeft(name string) error {
	switch name {
	case lockName, formatNew:
		return nil
	case storeName, spoolName, artifactsName, tempName:
		if inside, err := d.fs.List(d.in(name)); err == nil && len(inside) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: there is %s", ErrForeign, name)
}

func (d *Dir) checkVersion() error {
	f, err := d.fs.Open(d.in(formatName))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, formatBytesMax))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	number, ok := strings.CutPrefix(strings.TrimSpace(string(text)), formatIntro)
	version, err := strconv.ParseUint(number, 10, 32)
	if !ok || err != nil || version == 0 {
		return fmt.Errorf("%w: %s says %q", ErrForeign, formatName, text)
	}
	if version > Version {
		return fmt.Errorf("%w: it has format %d, this one knows formats up to %d", ErrVersion, version, Version)
	}
	return nil
}

// create makes what is missing, FORMAT last: in one step, once all else is
// durable.
func (d *Dir) create() error {
	if _, err := d.fs.Stat(d.in(formatName)); err == nil {
		return nil
	}
	// Also the store's, which makes its own folder for everybody to read: the
	// directory itself may be one that others may enter.
	for _, dir := range []string{d.Store(), d.Spool(), d.Artifacts()} {
		if err := d.fs.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := d.writeNew(fmt.Sprintf("%s%d\n", formatIntro, Version)); err != nil {
		return err
	}
	if err := d.sync(d.path); err != nil {
		return err
	}
	if err := d.fs.Rename(d.in(formatNew), d.in(formatName)); err != nil {
		return err
	}
	return d.sync(d.path)
}

func (d *Dir) writeNew(text string) error {
	f, err := d.fs.Create(d.in(formatNew), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (d *Dir) sync(dir string) error {
	f, err := d.fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *Dir) in(name string) string { return d.fs.PathJoin(d.path, name) }

// Path is the directory itself.
func (d *Dir) Path() string { return d.path }

// Store is the directory of the ordered store.
func (d *Dir) Store() string { return d.in(storeName) }

// Spool is the directory of the spool.
func (d *Dir) Spool() string { return d.in(spoolName) }

// Artifacts is the directory for what clients stage.
func (d *Dir) Artifacts() string { return d.in(artifactsName) }

// Temp is an empty directory for what nobody needs after the process.
func (d *Dir) Temp() string { return d.in(tempName) }

// Close unlocks the directory.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	lock := d.lock
	d.lock = nil
	return lock.Close()
}
