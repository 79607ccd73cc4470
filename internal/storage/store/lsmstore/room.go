package lsmstore

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// How long a store whose rows need not survive waits on a full disk for others to
// make room: what fills it may be the data of a job that fails for that reason,
// and is dropped then. A durable store does not wait: its log could not be written
// either.
var (
	roomWait  = time.Minute            // variables for tests
	roomPause = 100 * time.Millisecond // between two looks
)

// Free returns how many bytes there is room for in the file system of a directory.
func Free(dir string) (int64, error) {
	u, err := vfs.Default.GetDiskUsage(dir)
	if err != nil {
		return 0, fmt.Errorf("ask for the room in %s: %w", dir, err)
	}
	return int64(u.AvailBytes), nil
}

// waitsForRoom returns a file system that waits when the disk is full.
func (s *Store) waitsForRoom(fs vfs.FS, dir string, need uint64) vfs.FS {
	return vfs.OnDiskFull(fs, func() { s.waitForRoom(fs, dir, need) })
}

// waitForRoom waits until need bytes are free, or it has waited for long enough
// since work in the background last succeeded.
func (s *Store) waitForRoom(fs vfs.FS, dir string, need uint64) {
	now := time.Now()
	if s.fullSince.CompareAndSwap(0, now.UnixNano()) {
		s.log.Warn("store: the disk is full; rows wait for room", "dir", dir, "bytes", need, "at most", roomWait)
	}
	end := time.Unix(0, s.fullSince.Load()).Add(roomWait)
	for ; now.Before(end); now = time.Now() {
		if u, err := fs.GetDiskUsage(dir); err == nil && u.AvailBytes >= need {
			return
		}
		select {
		case <-time.After(roomPause):
		case <-s.closing:
			return
		}
	}
}
