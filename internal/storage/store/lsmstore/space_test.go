package lsmstore

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// Space of what has been deleted is given back to the system, also if nothing
// is written after that.
func TestSpaceIsGivenBack(t *testing.T) {
	defer func(d time.Duration) { flushDelay = d }(flushDelay)
	flushDelay = 100 * time.Millisecond
	s, err := Open(Options{Dir: t.TempDir() + "/store", MemoryBudget: MinMemory})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	random := rand.NewChaCha8([32]byte{})
	prefix := keyspace.JobEvents("job")
	for n := range uint64(20_000) {
		value := make([]byte, 1000)
		random.Read(value)
		op := keyspace.Op{Kind: keyspace.Set, Key: keyspace.JobEvent("job", n), Value: value}
		if err := s.Apply([]keyspace.Op{op}, false); err != nil {
			t.Fatal(err)
		}
	}
	full := s.Stats().DiskBytes
	if err := s.Apply([]keyspace.Op{{Kind: keyspace.DeleteRange, Key: prefix, Value: keyspace.PrefixEnd(prefix)}}, true); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(flushDelay) {
		left := s.Stats().DiskBytes
		if left < full/2 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes are left of %d", left, full)
		}
	}
}
