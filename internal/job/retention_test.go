package job

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

type droppedArtifacts struct {
	Artifacts
	ids []string
}

func (d *droppedArtifacts) Drop(id string) { d.ids = append(d.ids, id) }

// agedJobs adds n jobs that were prepared one second after the other, named by
// number, and lets those end that end says.
func agedJobs(m *Manager, n int, end func(int) bool) {
	for i := range n {
		j := newJob(m, fmt.Sprint(i), &jobpb.PrepareJobRequest{}, nil)
		if end(i) {
			j.setState(jobpb.JobState_DONE)
		}
		j.created = time.Unix(int64(i), 0)
		j.since = j.created
		m.jobs[j.id] = j
	}
}

func never(int) bool  { return false }
func always(int) bool { return true }

// Jobs that are prepared and never run do not pile up.
func TestJobsThatAreNeverRun(t *testing.T) {
	dropped := &droppedArtifacts{}
	m := NewManager(Options{Artifacts: dropped})
	agedJobs(m, maxPrepared+1, never)
	first := m.jobs["0"]
	m.trim()
	if _, there := m.Job("0"); there || len(m.jobs) != maxPrepared {
		t.Errorf("%d jobs are left, the oldest among them: %v", len(m.jobs), there)
	}
	if !slices.Contains(dropped.ids, "0") || first.stateNow() != jobpb.JobState_CANCELLED {
		t.Errorf("dropped the artifacts of %v; the oldest is %v", dropped.ids, first.stateNow())
	}
}

// Of the jobs that have ended the newest are kept; others do not count.
func TestKeepJobs(t *testing.T) {
	m := NewManager(Options{KeepJobs: 2})
	agedJobs(m, 6, func(i int) bool { return i%2 == 0 || i == 1 })
	m.trim()
	var left []string
	for _, j := range m.Jobs() {
		left = append(left, j.id)
	}
	if want := []string{"2", "3", "4", "5"}; !slices.Equal(left, want) {
		t.Errorf("jobs %v are left, want %v", left, want)
	}
}

func TestKeepFor(t *testing.T) {
	m := NewManager(Options{})
	m.opts.KeepFor = time.Hour
	agedJobs(m, 2, always)
	m.jobs["1"].since = time.Now()
	agedIdle := newJob(m, "idle", &jobpb.PrepareJobRequest{}, nil)
	agedIdle.since = time.Unix(0, 0)
	m.jobs["idle"] = agedIdle
	m.trim()
	if len(m.jobs) != 2 || m.jobs["0"] != nil {
		t.Errorf("%d jobs are left", len(m.jobs))
	}
}

// What a forgotten job has in the store goes with it.
func TestForgottenJobLeavesNoRows(t *testing.T) {
	kv := store.NewMem()
	m := NewManager(Options{Store: kv, Durable: true, KeepJobs: 1, Log: slog.New(slog.DiscardHandler)})
	for _, id := range []string{"a", "b"} {
		for _, key := range [][]byte{keyspace.JobRecord(id), keyspace.JobEvent(id, 7), append(keyspace.Job(id), "left"...)} {
			if err := kv.Apply([]keyspace.Op{{Kind: keyspace.Set, Key: key, Value: []byte("{}")}}, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, id := range []string{"a", "b"} {
		j := blankJob(m, id, &jobpb.PrepareJobRequest{})
		j.state, j.since = jobpb.JobState_DONE, time.Unix(int64(i), 0)
		j.bury()
		m.jobs[id] = j
	}
	m.trim()
	r := kv.Snapshot()
	defer r.Close()
	rows := 0
	err := r.Scan(nil, nil, func(key, _ []byte) bool {
		rows++
		return true
	})
	if err != nil || rows != 3 {
		t.Errorf("%d rows are left, want those of b; error %v", rows, err)
	}
}
