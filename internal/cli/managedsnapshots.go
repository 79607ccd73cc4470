package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/plan/layout"
	"github.com/pharos-beam/pharos/internal/server"
)

// What becomes of a job of which a snapshot was taken, in requests.
var afterSnapshot = map[string]job.After{"": job.Continue, "stop": job.Stop, "drain": job.DrainAfter}

// TakeSnapshot implements server.Snapshots.
func (a managed) TakeSnapshot(ctx context.Context, id, name, after string) (*server.Snapshot, error) {
	then, ok := afterSnapshot[after]
	if !ok {
		return nil, known{fmt.Errorf("after a snapshot a job can stop or drain, not %q", after), server.ErrState}
	}
	return snapshotOrErr(a.m.TakeSnapshot(ctx, id, name, then))
}

// Snapshots implements server.Snapshots.
func (a managed) Snapshots() ([]*server.Snapshot, error) {
	all, err := a.m.Snapshots()
	var out []*server.Snapshot
	for _, s := range all {
		out = append(out, describeSnapshot(s))
	}
	return out, translate(err)
}

// Snapshot implements server.Snapshots.
func (a managed) Snapshot(name string) (*server.Snapshot, error) {
	return snapshotOrErr(a.m.Snapshot(name))
}

// DropSnapshot implements server.Snapshots.
func (a managed) DropSnapshot(name string) error { return translate(a.m.DropSnapshot(name)) }

func snapshotOrErr(s *job.Snapshot, err error) (*server.Snapshot, error) {
	if err != nil {
		return nil, translate(err)
	}
	return describeSnapshot(s), nil
}

func describeSnapshot(s *job.Snapshot) *server.Snapshot {
	out := &server.Snapshot{Name: s.Name, Path: s.Path, Bytes: s.Bytes, Job: s.Job, JobName: s.JobName, Created: s.Created}
	for i := range s.Content {
		if i < len(s.Layout.Stages) {
			out.Parts = append(out.Parts, partsOf(&s.Layout.Stages[i], &s.Content[i])...)
		}
	}
	return out
}

// partsOf lists what there is in a stage.
func partsOf(s *layout.Stage, c *layout.Content) (parts []server.SnapshotPart) {
	add := func(transform, kind, name string, a layout.Amount) {
		if a.Count > 0 {
			parts = append(parts, server.SnapshotPart{Transform: transform, Kind: kind, Name: name, Count: a.Count, Bytes: a.Bytes})
		}
	}
	head := s.Takers[0]
	add(head, "waiting elements", "", c.Queue)
	for _, id := range slices.Sorted(maps.Keys(c.States)) {
		add(head, "state", id, c.States[id])
	}
	for _, family := range slices.Sorted(maps.Keys(c.Timers)) {
		add(head, "timers", family, c.Timers[family])
	}
	add(head, "grouped", "", c.Grouped)
	add(head, "sorted", "", c.Sorted)
	for i, a := range c.Sides {
		if i < len(s.Sides) {
			add(s.Sides[i].Reader, "side input", s.Sides[i].Local, a)
		}
	}
	return parts
}
