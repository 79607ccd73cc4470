package lsmstore_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store/lsmstore"
)

// fullFS is a file system that may be full.
type fullFS struct {
	vfs.FS
	full    atomic.Bool
	refused atomic.Int64 // writes
}

func newFullFS(t *testing.T) *fullFS {
	f := &fullFS{}
	f.FS = errorfs.Wrap(disk(t), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || !strings.HasSuffix(op.Path, ".sst") || !f.full.Load() {
			return nil
		}
		f.refused.Add(1)
		return syscall.ENOSPC
	}))
	return f
}

func (f *fullFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if f.full.Load() {
		return vfs.DiskUsage{}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}

// open opens a store without a log on the file system; fatal gets why it ended.
func (f *fullFS) open(t *testing.T) (s *lsmstore.Store, fatal chan error) {
	t.Helper()
	fatal = make(chan error, 1)
	s, err := lsmstore.Open(lsmstore.Options{
		Dir: "data/store", FS: f, MemoryBudget: lsmstore.MinMemory, NoLog: true, Log: slog.New(slog.DiscardHandler),
		Fatal: func(err error) {
			fatal <- err
			select {} // as if the process had ended
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, fatal
}

// fill applies rows of a kilobyte each.
func fill(s *lsmstore.Store, from, n int) error {
	for i := range n {
		op := keyspace.Op{Kind: keyspace.Set, Key: keyspace.JobEvent("job", uint64(from+i)), Value: make([]byte, 1000)}
		if err := s.Apply([]keyspace.Op{op}, false); err != nil {
			return err
		}
	}
	return nil
}

// What need not survive waits for room on a full disk, and nothing is lost.
func TestWaitsForRoom(t *testing.T) {
	defer func(d time.Duration) { *lsmstore.RoomPause = d }(*lsmstore.RoomPause)
	*lsmstore.RoomPause = time.Millisecond
	f := newFullFS(t)
	s, fatal := f.open(t)
	defer s.Close()
	f.full.Store(true)
	const n = 20_000 // more than fit in memory
	filled := make(chan error, 1)
	go func() { filled <- fill(s, 0, n) }()
	for f.refused.Load() == 0 {
		select {
		case err := <-filled:
			t.Fatalf("all is in memory: %v", err)
		default:
			time.Sleep(time.Millisecond)
		}
	}
	f.full.Store(false)
	select {
	case err := <-filled:
		if err != nil {
			t.Fatal(err)
		}
	case err := <-fatal:
		t.Fatal(err)
	}
	rows := 0
	if err := s.Snapshot().Scan(nil, nil, func(_, _ []byte) bool { rows++; return true }); err != nil || rows != n {
		t.Errorf("%d rows, want %d: %v", rows, n, err)
	}
}

// It does not wait for ever.
func TestWaitsForRoomOnlySoLong(t *testing.T) {
	defer func(d time.Duration) { *lsmstore.RoomWait = d }(*lsmstore.RoomWait)
	*lsmstore.RoomWait = 50 * time.Millisecond
	f := newFullFS(t)
	s, fatal := f.open(t)
	f.full.Store(true)
	go func() { _ = fill(s, 0, 20_000) }()
	if err := <-fatal; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("ended with %v", err)
	}
}

// One that is closed does not wait.
func TestCloseDoesNotWaitForRoom(t *testing.T) {
	f := newFullFS(t)
	s, fatal := f.open(t)
	f.full.Store(true)
	if err := fill(s, 0, 2_000); err != nil {
		t.Fatal(err)
	}
	for f.refused.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
	case err := <-fatal:
		t.Error(err)
	case <-time.After(*lsmstore.RoomWait / 2):
		t.Error("it waits")
	}
}
