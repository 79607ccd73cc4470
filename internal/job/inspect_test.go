package job_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// inspect looks into the rig's store and spool, which are closed.
func (r *durableRig) inspect() *job.Inspection {
	r.t.Helper()
	view := r.kv.Snapshot()
	defer view.Close()
	x, err := job.Inspect(view, func(found func(spool.Found)) error { return spool.Check(r.dir, nil, found) }, true)
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

// suspendedRig is a rig with a job that waits for the next start, and its id.
func suspendedRig(t *testing.T) (*durableRig, string) {
	t.Helper()
	r := newDurableRig(t)
	hung := make(chan struct{}, 1)
	id := r.submit(&sdk{elements: 10, use: func(b *fakesdk.Bundle) error {
		hung <- struct{}{}
		return fakesdk.Hang(b)
	}})
	<-hung
	r.close()
	if err := r.sp.Close(); err != nil {
		t.Fatal(err)
	}
	return r, id
}

func TestInspect(t *testing.T) {
	r, id := suspendedRig(t)
	timer := table.Timer{Transform: "x", Family: "f", Key: []byte("k"), Domain: table.EventTime, Fire: 5, Hold: 3}
	rows := table.NewTimers(nil, id, 1).Append(nil, 0, &timer)
	rows = table.NewHolds(nil, id, 1).Append(rows, 0, []byte("owner"), 7)
	if err := r.kv.Apply(rows, false); err != nil {
		t.Fatal(err)
	}
	x := r.inspect()
	if x.Wrong != 0 || len(x.Jobs) != 1 || x.Jobs[0].Blocks.Count != 1 || x.Jobs[0].Name != "test" || x.Jobs[0].Tables["timers"].Count != 1 {
		t.Errorf("%+v; jobs %+v", x, x.Jobs)
	}
	for i := range rows {
		missing := keyspace.Op{Kind: keyspace.Delete, Key: rows[i].Key}
		if err := r.kv.Apply([]keyspace.Op{missing}, false); err != nil {
			t.Fatal(err)
		}
		if x := r.inspect(); x.Wrong == 0 {
			t.Errorf("row %x is not missed", rows[i].Key)
		}
		if err := r.kv.Apply(rows[i:i+1], false); err != nil {
			t.Fatal(err)
		}
	}
	if x := r.inspect(); x.Wrong != 0 {
		t.Errorf("all is there again: %q", x.Problems)
	}
}

func TestInspectFindsDamage(t *testing.T) {
	r, id := suspendedRig(t)
	for name, c := range map[string]struct {
		row  keyspace.Op
		says string
	}{
		"a block that is not there": {
			table.NewRecords(id).Append(nil, &commit.Record{Put: []commit.Item{{Stage: 0, Seq: 99, Block: commit.Block{ID: 12345}}}})[0], "block 12345 is not there",
		},
		"a row that is none":   {keyspace.Op{Kind: keyspace.Set, Key: append(keyspace.Job(id), 'q'), Value: nil}, "malformed"},
		"a job without entry":  {keyspace.Op{Kind: keyspace.Set, Key: keyspace.JobEvent("ghost", 1), Value: []byte("{}")}, "ghost"},
		"an entry that is not": {keyspace.Op{Kind: keyspace.Set, Key: keyspace.JobRecord("y"), Value: []byte("?")}, "entry of job y"},
	} {
		if err := r.kv.Apply([]keyspace.Op{c.row}, false); err != nil {
			t.Fatal(err)
		}
		if x := r.inspect(); x.Wrong == 0 || !strings.Contains(strings.Join(x.Problems, "\n"), c.says) {
			t.Errorf("%s: problems %q", name, x.Problems)
		}
		c.row.Kind = keyspace.Delete
		if err := r.kv.Apply([]keyspace.Op{c.row}, false); err != nil {
			t.Fatal(err)
		}
	}
	segments, err := filepath.Glob(filepath.Join(r.dir, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 24; at < len(b); at++ { // what follows the first header
			b[at] ^= 1
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if x := r.inspect(); x.Wrong == 0 || !strings.Contains(strings.Join(x.Problems, "\n"), "corrupt") {
		t.Errorf("damaged segments: %+v", x)
	}
}
