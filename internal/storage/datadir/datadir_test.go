package datadir

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func mustOpen(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// refused wants an error of a kind that names the directory.
func refused(t *testing.T, path string, want error) {
	t.Helper()
	d, err := Open(path, nil)
	if err == nil {
		d.Close()
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want %v and %s", err, want, path)
	}
}

func TestCreateAndReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d := mustOpen(t, path)
	for _, dir := range []string{d.Store(), d.Spool(), d.Temp(), d.Artifacts()} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", dir, info, err)
		}
	}
	keep, lose := filepath.Join(d.Spool(), "x"), filepath.Join(d.Temp(), "x")
	for _, name := range []string{keep, lose} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.Close()
	d.Close()
	mustOpen(t, path)
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(lose); err == nil {
		t.Error("tmp is not emptied")
	}
}

func TestVersions(t *testing.T) {
	path := t.TempDir()
	mustOpen(t, path).Close()
	for _, c := range []struct {
		text string
		want error
	}{
		{formatIntro + "2\n", ErrVersion},
		{formatIntro + "4294967295", ErrVersion},
		{formatIntro + "0", ErrForeign},
		{formatIntro + "99999999999999999999", ErrForeign},
		{"", ErrForeign},
		{strings.Repeat("x", 1<<20), ErrForeign},
	} {
		if err := os.WriteFile(filepath.Join(path, formatName), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, path, c.want)
	}
}

func TestForeign(t *testing.T) {
	for _, name := range []string{"precious.txt", "store/x", "tmp/x", "artifacts/x"} {
		path := t.TempDir()
		file := filepath.Join(path, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		refused(t, path, ErrForeign)
		if _, err := os.Stat(filepath.Join(path, lockName)); err == nil {
			t.Error("a lock file was left in a directory that is not ours")
		}
	}
}

// TestPrivateInOpenFolder: what clients stage and compute is nobody else's
// business, even if the folder was made for all to enter.
func TestPrivateInOpenFolder(t *testing.T) {
	path := t.TempDir()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || e.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestOpenExistingNeedsOne(t *testing.T) {
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		d, err := OpenExisting(path, nil)
		if err == nil {
			d.Close()
		}
		if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want %v and %s", err, ErrNone, path)
		}
	}
}

func TestOneProcess(t *testing.T) {
	path := t.TempDir()
	if child := os.Getenv("DATADIR_TEST_PATH"); child != "" {
		_, err := Open(child, nil)
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), child) {
			t.Fatalf("the directory of another process: %v", err)
		}
		return
	}
	d := mustOpen(t, path)
	refused(t, path, ErrInUse) // the same process
	cmd := exec.Command(os.Args[0], "-test.run=^TestOneProcess$")
	cmd.Env = append(os.Environ(), "DATADIR_TEST_PATH="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	d.Close()
	mustOpen(t, path)
}

// TestCreationIsAtomic stops the creation at each write, and loses a part of
// what was not synced: the next one succeeds.
func TestCreationIsAtomic(t *testing.T) {
	for k := int64(0); ; k++ {
		var writes atomic.Int64
		mem := vfs.NewCrashableMem()
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && writes.Add(1)-1 >= k {
				return errorfs.ErrInjected
			}
			return nil
		}))
		d, err := Open("a/b", fs)
		for _, percent := range []int{0, 50, 100} {
			rng := rand.New(rand.NewPCG(uint64(k), 0))
			again, openErr := Open("a/b", mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
			if openErr != nil {
				t.Fatalf("after write %d failed with %v: %v", k, err, openErr)
			}
			again.Close()
		}
		if err == nil {
			d.Close()
			t.Logf("creation takes %d writes", k)
			return
		}
	}
}
