package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/internal/storage/datadir"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store/lsmstore"
)

// dataWith makes a data directory with a job that has ended, rows that are left
// of it, and blocks that nobody needs.
func dataWith(t *testing.T, rows ...keyspace.Op) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	dir, err := datadir.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := lsmstore.Open(lsmstore.Options{Dir: dir.Store()})
	if err != nil {
		t.Fatal(err)
	}
	entry := keyspace.Op{Kind: keyspace.Set, Key: keyspace.JobRecord("job-1"), Value: []byte(`{"Name": "clicks", "State": 4}`)}
	if err := kv.Apply(append([]keyspace.Op{entry}, rows...), true); err != nil {
		t.Fatal(err)
	}
	blocks, err := spool.Open(spool.Options{Dir: dir.Spool(), Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	id, err := blocks.Put(make([]byte, 1<<20))
	if err == nil {
		err = blocks.Sync(id)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface{ Close() error }{kv, blocks, dir} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// pharos runs a command and returns its exit code and all that it says.
func pharos(args ...string) (int, string) {
	var out bytes.Buffer
	code := Main(args, &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
	return code, out.String()
}

func TestStore(t *testing.T) {
	left := keyspace.Op{Kind: keyspace.Set, Key: keyspace.AppendUint64(keyspace.Shard("job-1", keyspace.SideInputTable, 0, 0), 1), Value: []byte{7}}
	good := dataWith(t)
	bad := dataWith(t, left)
	inUse := dataWith(t)
	lock, err := datadir.Open(inUse, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	nothing := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"check " + good, 0, "ok: 1 jobs, 1 rows, 1 blocks, 0 snapshots"},
		{"check " + bad, 1, "job job-1: block 7 is not there"},
		{"check -o json " + bad, 1, `"ok": false`},
		{"stats " + bad, 0, "side inputs"},
		{"stats -o json " + good, 0, `"count": 1`},
		{"compact " + bad, 0, "bytes before"},
		{"check " + bad, 0, "ok: 1 jobs, 1 rows, 0 blocks"},
		{"check " + inUse, 1, "in use by another process"},
		{"check " + nothing, 1, "no such file"},
	} {
		if code, text := pharos(append([]string{"store"}, strings.Fields(c.args)...)...); code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("store %s: code %d, %s", c.args, code, text)
		}
	}
	if files, err := os.ReadDir(nothing); err != nil || len(files) != 0 {
		t.Errorf("a check leaves %v", files)
	}
	if err := os.MkdirAll(filepath.Join(good, snapshotsName), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(good, snapshotsName, "x.snapshot"), fmt.Append(nil, "?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, text := pharos("store", "check", good); code != 1 || !strings.Contains(text, "not a snapshot") {
		t.Errorf("code %d, %s", code, text)
	}
}
