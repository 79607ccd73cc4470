package logbook

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o Options) *Book {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	b, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lines are those that a log has now.
func lines(l *Log) (all []string) {
	c := l.Cursor(0)
	for line, ok := c.Next(); ok; line, ok = c.Next() {
		all = append(all, string(line))
	}
	return all
}

func numbered(from, to int) (all []string) {
	for n := from; n < to; n++ {
		all = append(all, fmt.Sprintf("line %06d", n))
	}
	return all
}

// kinds runs a test with a book in memory and one on disk.
func kinds(t *testing.T, bytes int64, test func(*testing.T, *Book)) {
	for name, dir := range map[string]string{"memory": "", "disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			b := open(t, Options{Dir: dir, Bytes: bytes})
			defer b.Close()
			test(t, b)
		})
	}
}

func TestLinesComeBackInOrder(t *testing.T) {
	kinds(t, 64<<20, func(t *testing.T, b *Book) {
		l, other := b.Log("a"), b.Log("b")
		want := numbered(0, 20_000) // more than one read
		for _, s := range want {
			l.Append([]byte(s))
			other.Append([]byte("x" + s))
		}
		if got := lines(l); !slices.Equal(got, want) {
			t.Errorf("%d lines, want %d", len(got), len(want))
		}
		if got := lines(other); len(got) != len(want) || got[7] != "x"+want[7] {
			t.Errorf("%d lines of the other log", len(got))
		}
	})
}

func TestOldestLinesGo(t *testing.T) {
	const limit = 64 << 10
	kinds(t, limit, func(t *testing.T, b *Book) {
		l := b.Log("a")
		for _, s := range numbered(0, 50_000) {
			l.Append([]byte(s))
		}
		got := lines(l)
		if kept := int64(len(got) * len("line 000000\n")); kept > limit/shares || kept < limit/shares/2 {
			t.Errorf("%d bytes are kept, the limit is %d", kept, limit/shares)
		}
		if !slices.Equal(got, numbered(50_000-len(got), 50_000)) {
			t.Errorf("what is kept is not the end: %v…", got[:3])
		}
	})
}

func TestLogsShareTheLimit(t *testing.T) {
	const limit = 64 << 10
	kinds(t, limit, func(t *testing.T, b *Book) {
		for n := range 100 {
			l := b.Log(fmt.Sprintf("log-%d", n))
			for _, s := range numbered(0, 60) {
				l.Append([]byte(s))
			}
			if n%2 == 0 {
				l.End()
			}
		}
		if got := b.Stats().Bytes; got > limit {
			t.Errorf("%d bytes are kept, the limit is %d", got, limit)
		}
		if got := lines(b.Log("log-99")); len(got) == 0 {
			t.Error("the newest log is empty")
		}
	})
}

func TestFollow(t *testing.T) {
	kinds(t, 64<<20, func(t *testing.T, b *Book) {
		l := b.Log("a")
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				c := l.Cursor(0)
				var got []string
				for {
					for line, ok := c.Next(); ok; line, ok = c.Next() {
						got = append(got, string(line))
					}
					if !c.Wait(context.Background()) {
						break
					}
				}
				if want := numbered(0, 5000); !slices.Equal(got, want) {
					t.Errorf("%d lines, want %d", len(got), len(want))
				}
			}()
		}
		for _, s := range numbered(0, 5000) {
			l.Append([]byte(s))
		}
		l.End()
		wg.Wait()
		l.Append([]byte("late"))
		if got := lines(l); len(got) != 5000 {
			t.Errorf("%d lines after the end", len(got))
		}
	})
}

func TestReadersOfARemovedLogEnd(t *testing.T) {
	kinds(t, 64<<20, func(t *testing.T, b *Book) {
		l := b.Log("a")
		l.Append([]byte("one"))
		c := l.Cursor(0)
		c.Next()
		c.Next()
		b.Remove("a")
		for c.Wait(context.Background()) {
			if _, ok := c.Next(); ok {
				t.Error("there is a line after the removal")
			}
		}
		if len(b.Names()) != 0 || b.Stats().Bytes != 0 {
			t.Errorf("left: %v, %d bytes", b.Names(), b.Stats().Bytes)
		}
	})
}

func TestBookIsOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	for _, s := range numbered(0, 1000) {
		b.Log("a").Append([]byte(s))
	}
	b.Log("b").Append([]byte("gone"))
	b.Close()

	// A crash cut the last line in two.
	path := filepath.Join(dir, "a", "00000000.ndjson")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half a l"); err != nil {
		t.Fatal(err)
	}
	f.Close()

	b = open(t, Options{Dir: dir})
	b.Remove("b")
	l := b.Log("a")
	for _, s := range numbered(1000, 2000) {
		l.Append([]byte(s))
	}
	if got := lines(l); !slices.Equal(got, numbered(0, 2000)) {
		t.Errorf("%d lines, want 2000", len(got))
	}
	b.Close()
	if _, err := os.Stat(filepath.Join(dir, "b")); !os.IsNotExist(err) {
		t.Errorf("the folder of a removed log: %v", err)
	}
	b = open(t, Options{Dir: dir})
	defer b.Close()
	if got := lines(b.Log("a")); !slices.Equal(got, numbered(0, 2000)) {
		t.Errorf("%d lines at the third opening, want 2000", len(got))
	}
}

func TestLineThatIsTooLongIsLost(t *testing.T) {
	b := open(t, Options{Bytes: 64 << 10})
	l := b.Log("a")
	l.Append([]byte(strings.Repeat("x", 64<<10)))
	l.Append([]byte("short"))
	if got := lines(l); !slices.Equal(got, []string{"short"}) || b.Stats().Lost != 1 {
		t.Errorf("%d lines, %d lost", len(got), b.Stats().Lost)
	}
}

// A disk that takes nothing costs lines, and no more memory than a healthy one.
func TestBrokenDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil { // where a folder would be
		t.Fatal(err)
	}
	b := open(t, Options{Dir: dir})
	l := b.Log("a")
	for _, s := range numbered(0, 1000) {
		l.Append([]byte(s))
	}
	b.Close()
	if s := b.Stats(); s.Lost != 1000 || s.Bytes != 0 {
		t.Errorf("%+v, want 1000 lines lost", s)
	}
	if got := lines(l); len(got) != 0 {
		t.Errorf("%d lines", len(got))
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, dir := range map[string]string{"memory": "", "disk": b.TempDir()} {
		b.Run(name, func(b *testing.B) {
			book, err := Open(Options{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			defer book.Close()
			l, line := book.Log("a"), []byte(strings.Repeat("x", 200))
			for b.Loop() {
				l.Append(line)
			}
		})
	}
}
