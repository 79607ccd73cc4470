package servertest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pharos-beam/pharos/internal/server"
)

// TakeSnapshot implements server.Snapshots: of a job that has not ended.
func (f *Jobs) TakeSnapshot(_ context.Context, id, name, after string) (*server.Snapshot, error) {
	j, ok := f.Job(id)
	if !ok {
		return nil, fmt.Errorf("%w: %s", server.ErrNotFound, id)
	}
	if st, _ := j.State(); server.Terminal(st) {
		return nil, fmt.Errorf("%w: it is %v", server.ErrState, st)
	}
	if name == "" {
		name = j.Name() + "-1"
	}
	switch after {
	case "stop":
		j.Cancel()
	case "drain":
		j.Drain()
	}
	s := &server.Snapshot{
		Name: name, Path: "/data/" + name, Bytes: 1234, Job: j.ID(), JobName: j.Name(), Created: time.Unix(1_700_000_000, 0).UTC(),
		Parts: []server.SnapshotPart{{Transform: "Count", Kind: "state", Name: "sum", Count: 3, Bytes: 30}},
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshots = append(f.snapshots, s)
	return s, nil
}

// Snapshots implements server.Snapshots.
func (f *Jobs) Snapshots() ([]*server.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.snapshots), nil
}

// Snapshot implements server.Snapshots.
func (f *Jobs) Snapshot(name string) (*server.Snapshot, error) {
	all, _ := f.Snapshots()
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", server.ErrSnapshot, name)
}

// DropSnapshot implements server.Snapshots.
func (f *Jobs) DropSnapshot(name string) error {
	if _, err := f.Snapshot(name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshots = slices.DeleteFunc(f.snapshots, func(s *server.Snapshot) bool { return s.Name == name })
	return nil
}
