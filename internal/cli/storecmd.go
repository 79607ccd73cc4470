package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/plan/layout"
	"github.com/pharos-beam/pharos/internal/storage/datadir"
	"github.com/pharos-beam/pharos/internal/storage/snapshot"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store/lsmstore"
)

type storeCmd struct {
	Check   storeCheckCmd   `cmd:"" help:"Read everything in a data directory, and say what is damaged or missing."`
	Compact storeCompactCmd `cmd:"" help:"Give the space back that nobody needs any more."`
	Stats   storeStatsCmd   `cmd:"" help:"Show what is in a data directory, by job and table."`
}

// storeFlags are of all commands on a data directory.
type storeFlags struct {
	Dir string `arg:"" help:"The data directory, which no server may use meanwhile." type:"path"`
	outputFlags
}

// use opens what is in the directory, and closes it after fn.
func (c *storeFlags) use(readOnly bool, fn func(*datadir.Dir, *lsmstore.Store) error) error {
	dir, err := datadir.OpenExisting(c.Dir, nil)
	if err != nil {
		return err
	}
	kv, err := lsmstore.Open(lsmstore.Options{Dir: dir.Store(), ReadOnly: readOnly, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	err = fn(dir, kv)
	return errors.Join(err, kv.Close(), dir.Close())
}

// inspect reads all rows; with check, and looks for what they refer to.
func inspect(dir *datadir.Dir, kv *lsmstore.Store, check bool) (*job.Inspection, error) {
	view := kv.Snapshot()
	defer view.Close()
	return job.Inspect(view, func(found func(spool.Found)) error { return spool.Check(dir.Spool(), nil, found) }, check)
}

type storeCheckCmd struct{ storeFlags }

// Help is the long help.
func (*storeCheckCmd) Help() string {
	return `Verifies the checksums of all files of the store, of each block of elements and of snapshots; that each row can be read; that timers and holds are found by time and that blocks that are named are there. Changes nothing. Exits with 1 if something is wrong.

Example:

    pharos store check /var/tmp/pharos`
}

// checked is what a check says.
type checked struct {
	OK       bool     `json:"ok"`
	Wrong    int      `json:"wrong"`
	Problems []string `json:"problems"` // the first ones
	Rows     int64    `json:"rows"`
	Blocks   int64    `json:"blocks"`
	Jobs     int      `json:"jobs"`
	// Torn are bytes that a process has left that died while it wrote; they are no
	// problem.
	Torn      int64 `json:"torn_bytes"`
	Snapshots int   `json:"snapshots"`
}

// Run checks a data directory.
func (c *storeCheckCmd) Run(env *Env) error {
	var v *checked
	err := c.use(true, func(dir *datadir.Dir, kv *lsmstore.Store) (err error) {
		v, err = check(dir, kv)
		return err
	})
	if err != nil {
		return err
	}
	if err := v.print(env.Stdout, c.Output); err != nil {
		return err
	}
	if !v.OK {
		return &exitError{code: exitFailed, err: fmt.Errorf("problems in %s: %d", c.Dir, v.Wrong)}
	}
	return nil
}

func check(dir *datadir.Dir, kv *lsmstore.Store) (*checked, error) {
	x, err := inspect(dir, kv, true)
	if err != nil {
		return nil, err
	}
	v := &checked{Problems: slices.Concat([]string{}, x.Problems), Wrong: x.Wrong, Blocks: x.Blocks.Count, Jobs: len(x.Jobs), Torn: x.Torn}
	wrong := func(err error) {
		v.Problems = append(v.Problems, err.Error())
		v.Wrong++
	}
	if err := kv.Check(); err != nil {
		wrong(err)
	}
	for _, j := range x.Jobs {
		for _, a := range j.Tables {
			v.Rows += a.Count
		}
	}
	files, err := filepath.Glob(filepath.Join(dir.Path(), snapshotsName, "*"+job.SnapshotSuffix))
	for _, path := range files {
		v.Snapshots++
		if err := checkSnapshot(path); err != nil {
			wrong(fmt.Errorf("snapshot %s: %w", path, err))
		}
	}
	v.OK = v.Wrong == 0
	return v, err
}

func checkSnapshot(path string) error {
	f, err := snapshot.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Each(func(uint64, []byte) error { return nil }, func([]byte, []byte) error { return nil }), f.Close())
}

func (v *checked) print(w io.Writer, output string) error {
	if output == "json" {
		return printJSON(w, v)
	}
	for _, p := range v.Problems {
		fmt.Fprintln(w, p)
	}
	if more := v.Wrong - len(v.Problems); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	if !v.OK {
		return nil
	}
	_, err := fmt.Fprintf(w, "ok: %d jobs, %d rows, %d blocks, %d snapshots\n", v.Jobs, v.Rows, v.Blocks, v.Snapshots)
	return err
}

type storeStatsCmd struct{ storeFlags }

// Help is the long help.
func (*storeStatsCmd) Help() string {
	return "Rows are counted with their keys, before they are compressed.\n\nExample:\n\n    pharos store stats -o json /var/tmp/pharos | jq .folders"
}

// storeStats is what is in a data directory.
type storeStats struct {
	Folders      map[string]int64 `json:"folders"` // bytes on disk
	Blocks       layout.Amount    `json:"blocks"`
	Unreferenced layout.Amount    `json:"unreferenced_blocks"`
	Jobs         []jobStats       `json:"jobs"`
}

type jobStats struct {
	ID     string                   `json:"id"`
	Name   string                   `json:"name"`
	State  string                   `json:"state"`
	Tables map[string]layout.Amount `json:"tables"`
	Blocks layout.Amount            `json:"blocks"`
}

// Run shows what is in a data directory.
func (c *storeStatsCmd) Run(env *Env) error {
	var v *storeStats
	err := c.use(true, func(dir *datadir.Dir, kv *lsmstore.Store) error {
		x, err := inspect(dir, kv, false)
		if err != nil {
			return err
		}
		v = &storeStats{Blocks: x.Blocks, Unreferenced: x.Unreferenced, Jobs: []jobStats{}}
		for _, j := range x.Jobs {
			v.Jobs = append(v.Jobs, jobStats(*j))
		}
		v.Folders, err = folders(dir.Path())
		return err
	})
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	return v.print(env.Stdout)
}

func (v *storeStats) print(w io.Writer) error {
	t := newTable(w, "FOLDER", "BYTES")
	for _, name := range sortedNames(v.Folders) {
		t.row(name, v.Folders[name])
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = newTable(w, "JOB", "STATE", "TABLE", "COUNT", "BYTES")
	for _, j := range v.Jobs {
		for _, name := range sortedNames(j.Tables) {
			t.row(j.ID, j.State, name, j.Tables[name].Count, j.Tables[name].Bytes)
		}
		if j.Blocks.Count > 0 {
			t.row(j.ID, j.State, "blocks of elements", j.Blocks.Count, j.Blocks.Bytes)
		}
	}
	if v.Unreferenced.Count > 0 {
		t.row("none", "", "blocks of elements", v.Unreferenced.Count, v.Unreferenced.Bytes)
	}
	return t.flush()
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// folders are the bytes of what is in a directory, by name.
func folders(dir string) (map[string]int64, error) {
	sizes := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		rel, _ := filepath.Rel(dir, path)
		name, _, inside := strings.Cut(rel, string(filepath.Separator))
		if inside && err == nil {
			sizes[name] += info.Size()
		}
		return err
	})
	return sizes, err
}

type storeCompactCmd struct{ storeFlags }

// Help is the long help.
func (*storeCompactCmd) Help() string {
	return `Removes what jobs that have ended have left and blocks that nobody refers to, merges the files of the store, and moves what is needed of segment files that are mostly not.

Example:

    pharos store compact /var/tmp/pharos`
}

// compacted is what a compaction has done.
type compacted struct {
	Before int64 `json:"before_bytes"`
	After  int64 `json:"after_bytes"`
}

// Run compacts a data directory.
func (c *storeCompactCmd) Run(env *Env) error {
	var v compacted
	var err error
	if v.Before, err = storedBytes(c.Dir); err != nil {
		return err
	}
	if err := c.use(false, compact); err != nil {
		return err
	}
	if v.After, err = storedBytes(c.Dir); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	_, err = fmt.Fprintf(env.Stdout, "%d bytes before, %d now\n", v.Before, v.After)
	return err
}

// storedBytes is the size of store and spool.
func storedBytes(dir string) (int64, error) {
	sizes, err := folders(dir)
	return sizes["store"] + sizes["spool"], err
}

func compact(dir *datadir.Dir, kv *lsmstore.Store) error {
	blocks, err := spool.Open(spool.Options{Dir: dir.Spool(), Keep: true})
	if err != nil {
		return fmt.Errorf("open spool: %w", err)
	}
	err = job.Tidy(kv, blocks)
	if err == nil {
		_, err = blocks.Compact()
	}
	if err == nil {
		err = kv.Compact(context.Background())
	}
	return errors.Join(err, blocks.Close())
}
