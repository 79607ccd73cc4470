package cli

import (
	"path/filepath"
	"strings"

	"github.com/pharos-beam/pharos/internal/job"
)

// snapshotsName is the folder of snapshots in a data directory.
const snapshotsName = "snapshots"

// originFlags say which snapshot a job begins from.
type originFlags struct {
	FromSnapshot       string            `help:"The first job that is run begins with the state that this snapshot has: a file or, with --data, the name of one that was taken there." placeholder:"SNAPSHOT"`
	AllowNonRestored   bool              `help:"Leave behind what of the snapshot has no place in the new pipeline. By default that is an error that lists it."`
	AllowChangedCoders bool              `help:"Take coders for the same whose code has changed since the snapshot."`
	MapTransform       map[string]string `help:"A transform, and all in it, that has another name now. May be repeated." placeholder:"OLD=NEW" mapsep:"none"`
}

// origin is the snapshot; nil if there is none. Names are those of a data
// directory, "" if there is none.
func (f *originFlags) origin(dir string) *job.Origin {
	if f.FromSnapshot == "" {
		return nil
	}
	path := f.FromSnapshot
	if dir != "" && !strings.ContainsRune(path, filepath.Separator) && !strings.HasSuffix(path, job.SnapshotSuffix) {
		path = filepath.Join(dir, snapshotsName, path+job.SnapshotSuffix)
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs // after a restart the server may be in another folder
	}
	return &job.Origin{Path: path, Lossy: f.AllowNonRestored, ShapesOnly: f.AllowChangedCoders, Renamed: f.MapTransform}
}
