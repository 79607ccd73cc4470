package lsmstore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// newSuffix is what the name of a directory ends in while the store in it is
// being created.
const newSuffix = ".new"

// create makes an empty store in dir, if dir is not there: as a whole, or not
// at all. Pebble by itself can leave files behind that it cannot open, when
// the power fails while it creates them.
func create(fs vfs.FS, dir string, o *pebble.Options) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	parent, fresh := fs.PathDir(dir), dir+newSuffix
	if err := fs.RemoveAll(fresh); err != nil {
		return err
	}
	db, err := pebble.Open(fresh, o)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := fs.Rename(fresh, dir); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, errors.Join(err, d.Close()))
	}
	return d.Close()
}
