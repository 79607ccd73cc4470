package job

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/failpoint"
	"github.com/pharos-beam/pharos/internal/plan/layout"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// journal writes down what jobs are found by after a restart of the runner:
// their pipelines, states and messages. What their bundles have done is in the
// records that the committer applies. A nil journal writes nothing.
type journal struct{ store store.Store }

// entry is the record of a job in the store.
type entry struct {
	Name     string
	Created  time.Time
	Pipeline []byte // proto
	Options  []byte // proto
	State    jobpb.JobState_Enum
	Since    time.Time
	Draining bool
	// Shards of keyed stages, and the fingerprint of the plan: what the job has
	// in the store is laid out by them.
	Shards int
	Plan   string
	// Layout says what its rows mean, to a runner that plans it differently.
	Layout *layout.Layout `json:",omitempty"`
	// Origin is the snapshot that it begins, or has begun, from.
	Origin *Origin `json:",omitempty"`
	// Metrics are the final ones; those of a job that goes on are in the records
	// of its bundles.
	Metrics []byte
}

// save writes a job's entry. With sync it is durable afterwards.
func (l *journal) save(id string, e *entry, sync bool) error {
	if l == nil {
		return nil
	}
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("entry of job %s: %w", id, err)
	}
	failpoint.Hit(failpoint.EntryWrite)
	if err := l.store.Apply([]keyspace.Op{{Kind: keyspace.Set, Key: keyspace.JobRecord(id), Value: b}}, sync); err != nil {
		return err
	}
	failpoint.Hit(failpoint.EntryWritten)
	return nil
}

// event writes down event number n of a job, and forgets those beyond the
// limit.
func (l *journal) event(id string, n int, e Event) error {
	if l == nil {
		return nil
	}
	v, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("event of job %s: %w", id, err)
	}
	ops := []keyspace.Op{{Kind: keyspace.Set, Key: keyspace.JobEvent(id, uint64(n)), Value: v}}
	if n >= maxHistory {
		ops = append(ops, keyspace.Op{Kind: keyspace.Delete, Key: keyspace.JobEvent(id, uint64(n-maxHistory))})
	}
	return l.store.Apply(ops, false)
}

// forget removes all of a job.
func (l *journal) forget(id string) error {
	if l == nil {
		return nil
	}
	events := keyspace.JobEvents(id)
	data := keyspace.Job(id)
	return l.store.Apply([]keyspace.Op{
		{Kind: keyspace.Delete, Key: keyspace.JobRecord(id)},
		{Kind: keyspace.DeleteRange, Key: events, Value: keyspace.PrefixEnd(events)},
		{Kind: keyspace.DeleteRange, Key: data, Value: keyspace.PrefixEnd(data)},
	}, false)
}

// sweep removes the data of a job that has ended: the runner may have died, or
// the job failed before it could run, after its end was written down.
func (l *journal) sweep(id string) error {
	r := l.store.Snapshot()
	defer r.Close()
	data, left := keyspace.Job(id), false
	err := r.Scan(data, keyspace.PrefixEnd(data), func(_, _ []byte) bool {
		left = true
		return false
	})
	if err == nil && left {
		err = dropJob(l.store, id)
	}
	if err != nil {
		return fmt.Errorf("drop what job %s has left: %w", id, err)
	}
	return nil
}

// found is a job as it is in the store.
type found struct {
	id     string
	entry  entry
	events []Event
	first  int // number of the first of the events
	// Of one that goes on:
	records *table.Records
	saved   *table.Saved
}

// load reads all jobs.
func (l *journal) load() ([]*found, error) {
	r := l.store.Snapshot()
	defer r.Close()
	var all []*found
	var bad error
	prefix := keyspace.JobRecords()
	err := r.Scan(prefix, keyspace.PrefixEnd(prefix), func(key, value []byte) bool {
		f := &found{}
		if f.id, bad = keyspace.ParseJobRecord(key); bad == nil {
			bad = json.Unmarshal(value, &f.entry)
		}
		all = append(all, f)
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	for _, f := range all {
		if err := f.load(r); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// load reads what a job has besides its entry.
func (f *found) load(r store.Reader) error {
	events := keyspace.JobEvents(f.id)
	var bad error
	err := r.Scan(events, keyspace.PrefixEnd(events), func(key, value []byte) bool {
		var e Event
		if len(f.events) == 0 {
			n, _, err := keyspace.Uint64(key[len(events):])
			if bad = err; err != nil {
				return false
			}
			f.first = int(n)
		}
		bad = json.Unmarshal(value, &e)
		f.events = append(f.events, e)
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("events of job %s: %w", f.id, err)
	}
	if !isTerminal(f.entry.State) && f.begun() {
		f.records = table.NewRecords(f.id)
		f.saved, err = f.records.Load(r)
	}
	return err
}

// begun says whether what the job has in the store is its own: what was being
// read from a snapshot is read again.
func (f *found) begun() bool { return f.entry.Origin == nil || f.entry.Origin.Restored }

// request is what the job was prepared with.
func (f *found) request() (*jobpb.PrepareJobRequest, error) {
	p, o := &pipepb.Pipeline{}, &structpb.Struct{}
	if err := proto.Unmarshal(f.entry.Pipeline, p); err != nil {
		return nil, fmt.Errorf("pipeline of job %s: %w", f.id, err)
	}
	if err := proto.Unmarshal(f.entry.Options, o); err != nil {
		return nil, fmt.Errorf("options of job %s: %w", f.id, err)
	}
	return &jobpb.PrepareJobRequest{JobName: f.entry.Name, Pipeline: p, PipelineOptions: o}, nil
}

// blocks are the blocks of the spool that the job refers to.
func (f *found) blocks() []uint64 {
	if f.saved == nil {
		return nil
	}
	ids := f.saved.Kept
	for _, it := range f.saved.Items {
		ids = append(ids, it.Block.ID)
	}
	for _, s := range f.saved.Sides {
		ids = append(ids, s.Block)
	}
	return ids
}

// fingerprint is the hash of a text.
func fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// encodeInfos writes metrics down.
func encodeInfos(infos []*pipepb.MonitoringInfo) ([]byte, error) {
	return proto.Marshal(&fnpb.ProcessBundleResponse{MonitoringInfos: infos})
}

func decodeInfos(b []byte) ([]*pipepb.MonitoringInfo, error) {
	var r fnpb.ProcessBundleResponse
	err := proto.Unmarshal(b, &r)
	return r.GetMonitoringInfos(), err
}
