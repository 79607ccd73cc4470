package server

import (
	"context"
	"errors"
	"time"
)

// ErrSnapshot: there is no such snapshot, or none can have that name.
var ErrSnapshot = errors.New("no such snapshot")

// Snapshots is what the jobs of a server also implement if it keeps data.
type Snapshots interface {
	// TakeSnapshot writes down where a job stands; it returns when that is
	// durable. ErrNotFound and ErrState are about the job. Without a name it gets
	// one. After says what becomes of the job: "", "stop" or "drain".
	TakeSnapshot(ctx context.Context, job, name, after string) (*Snapshot, error)
	// Snapshots lists all, oldest first.
	Snapshots() ([]*Snapshot, error)
	// Snapshot finds one by its name.
	Snapshot(name string) (*Snapshot, error)
	// DropSnapshot removes one.
	DropSnapshot(name string) error
}

// Snapshot describes a snapshot of a job.
type Snapshot struct {
	Name    string
	Path    string
	Bytes   int64
	Job     string // id
	JobName string
	Created time.Time
	Parts   []SnapshotPart
}

// SnapshotPart is something that a snapshot has, of one transform.
type SnapshotPart struct {
	Transform string
	Kind      string // waiting elements, state, timers, grouped, sorted, side input
	Name      string // of the state, timer or side input
	Count     int64
	Bytes     int64
}
