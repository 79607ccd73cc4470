package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pharos-beam/pharos/internal/plan/layout"
	"github.com/pharos-beam/pharos/internal/storage/snapshot"
)

// After says what becomes of a job of which a snapshot has been taken.
type After uint8

// The choices.
const (
	// Continue lets it go on.
	Continue After = iota
	// Stop ends it at the snapshot, as UPDATED: it does nothing that is not in
	// the snapshot.
	Stop
	// DrainAfter drains it. What it puts out then, one that begins from the
	// snapshot puts out again.
	DrainAfter
)

// Snapshot describes a snapshot.
type Snapshot struct {
	Name    string
	Path    string
	Bytes   int64 // of the file
	Job     string
	JobName string
	Created time.Time
	Layout  *layout.Layout
	Content []layout.Content // by stage of the layout
}

// manifest is what a snapshot's file says of itself.
type manifest struct {
	Job, JobName string
	Created      time.Time
	Layout       *layout.Layout
	Content      []layout.Content
}

const (
	// SnapshotSuffix is what the names of the files end with.
	SnapshotSuffix  = ".snapshot"
	snapshotNameMax = 100
)

var snapshotName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// ErrSnapshot is wrapped by errors about the name of a snapshot.
var ErrSnapshot = errors.New("no such snapshot")

// snapshotPath is the file of a snapshot of this manager's.
func (m *Manager) snapshotPath(name string) (string, error) {
	switch {
	case m.opts.Snapshots == "":
		return "", fmt.Errorf("%w: this server keeps no data, and so no snapshots", ErrState)
	case len(name) > snapshotNameMax || !snapshotName.MatchString(name):
		return "", fmt.Errorf("%w: %q is no name: letters, digits, dots, hyphens and underscores, at most %d", ErrSnapshot, name, snapshotNameMax)
	}
	return filepath.Join(m.opts.Snapshots, name+SnapshotSuffix), nil
}

// TakeSnapshot writes down where a job stands after its last commit. An empty
// name makes one of the job's and the time. It returns when the snapshot is
// durable.
func (m *Manager) TakeSnapshot(ctx context.Context, id, name string, after After) (*Snapshot, error) {
	j, ok := m.Job(id)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	if name == "" {
		name = readable(j.name) + "-" + time.Now().UTC().Format("20060102-150405")
	}
	path, err := m.snapshotPath(name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(m.opts.Snapshots, 0o700); err != nil {
		return nil, fmt.Errorf("folder of snapshots: %w", err)
	}
	if err := m.ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: the server is shutting down", ErrState)
	}
	m.wg.Add(1)
	defer m.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	if err := j.takeSnapshot(ctx, path, after); err != nil {
		return nil, fmt.Errorf("snapshot of job %s: %w", id, err)
	}
	if after == Stop {
		for range j.Events(ctx) { // until it has ended
		}
	}
	return openSnapshot(path)
}

// Snapshots returns all, oldest first. Files that cannot be read are left out
// and logged.
func (m *Manager) Snapshots() ([]*Snapshot, error) {
	if m.opts.Snapshots == "" {
		return nil, nil
	}
	files, err := os.ReadDir(m.opts.Snapshots)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("folder of snapshots: %w", err)
	}
	var all []*Snapshot
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), SnapshotSuffix) {
			continue
		}
		s, err := openSnapshot(filepath.Join(m.opts.Snapshots, f.Name()))
		if err != nil {
			m.opts.Log.Warn("a snapshot cannot be read", "err", err)
			continue
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b *Snapshot) int { return a.Created.Compare(b.Created) })
	return all, nil
}

// Snapshot returns one by its name.
func (m *Manager) Snapshot(name string) (*Snapshot, error) {
	path, err := m.snapshotPath(name)
	if err != nil {
		return nil, err
	}
	s, err := openSnapshot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q", ErrSnapshot, name)
	}
	return s, err
}

// DropSnapshot removes a snapshot. A job that begins from it and has not read
// it yet cannot begin any more.
func (m *Manager) DropSnapshot(name string) error {
	path, err := m.snapshotPath(name)
	if err != nil {
		return err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %q", ErrSnapshot, name)
	}
	return err
}

// openSnapshot reads what a file says of itself.
func openSnapshot(path string) (*Snapshot, error) {
	f, err := snapshot.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return describeSnapshot(path, f)
}

func describeSnapshot(path string, f *snapshot.File) (*Snapshot, error) {
	var m manifest
	if err := json.Unmarshal(f.Manifest(), &m); err != nil || m.Layout == nil {
		return nil, fmt.Errorf("snapshot %s: its manifest cannot be read (%v)", path, err)
	}
	return &Snapshot{
		Name: strings.TrimSuffix(filepath.Base(path), SnapshotSuffix), Path: path, Bytes: f.Size(),
		Job: m.Job, JobName: m.JobName, Created: m.Created, Layout: m.Layout, Content: m.Content,
	}, nil
}
