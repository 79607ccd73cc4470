package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// write makes a file with some blocks and rows, more than fit one frame.
func write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.snapshot")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint64(3) {
		if err := w.Block(id+1, bytes.Repeat([]byte{byte(id)}, int(id)*1000)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 30_000 {
		if err := w.Row(fmt.Appendf(nil, "key %d", n), fmt.Appendf(nil, "value %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	size, err := w.Close([]byte("all"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != size {
		t.Fatalf("the file has %d bytes, not %d: %v", info.Size(), size, err)
	}
	return path
}

// read returns how much is in a file.
func read(path string) (blocks, rows int, manifest string, err error) {
	f, err := Open(path)
	if err != nil {
		return 0, 0, "", err
	}
	defer f.Close()
	err = f.Each(func(id uint64, data []byte) error {
		if id != uint64(blocks)+1 || len(data) != blocks*1000 {
			return fmt.Errorf("block %d has %d bytes", id, len(data))
		}
		blocks++
		return nil
	}, func(key, value []byte) error {
		if string(key) != fmt.Sprintf("key %d", rows) || string(value) != fmt.Sprintf("value %d", rows) {
			return fmt.Errorf("row %q is %q", key, value)
		}
		rows++
		return nil
	})
	return blocks, rows, string(f.Manifest()), err
}

func TestFile(t *testing.T) {
	path := write(t)
	if blocks, rows, manifest, err := read(path); blocks != 3 || rows != 30_000 || manifest != "all" || err != nil {
		t.Errorf("%d blocks, %d rows, manifest %q, %v", blocks, rows, manifest, err)
	}
	if _, err := Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second file of the name: %v", err)
	}
}

// A file that was given up leaves nothing.
func TestAbort(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "a.snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// Whatever is changed or cut off is noticed.
func TestDamage(t *testing.T) {
	path := write(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := read(path); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrVersion) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for at := 0; at < len(whole); at += len(whole)/40 - 7 {
		b := bytes.Clone(whole)
		b[at] ^= 0x40
		bad(fmt.Sprintf("byte %d changed", at), b)
		bad(fmt.Sprintf("cut at %d", at), whole[:at])
	}
	bad("a later version", bytes.Replace(whole, []byte("version 1"), []byte("version 9"), 1))
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(intro + "1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "a")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		read(path)
	})
}
