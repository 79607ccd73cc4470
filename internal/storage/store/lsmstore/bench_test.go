package lsmstore_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store/lsmstore"
)

// The shape of what a bundle changes: a few rows of some hundred bytes.
const (
	bundleOps  = 20
	valueBytes = 200
)

func onDisk(b *testing.B) *lsmstore.Store {
	b.Helper()
	s, err := lsmstore.Open(lsmstore.Options{Dir: b.TempDir() + "/store"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// bundle is what bundle number n changes: rows that come and go.
func bundle(n uint64) []keyspace.Op {
	ops := make([]keyspace.Op, 0, 2*bundleOps)
	for i := range uint64(bundleOps) {
		ops = append(ops, keyspace.Op{Kind: keyspace.Set, Key: row(n, i), Value: make([]byte, valueBytes)})
		if n >= 100 {
			ops = append(ops, keyspace.Op{Kind: keyspace.Delete, Key: row(n-100, i)})
		}
	}
	return ops
}

func row(n, i uint64) []byte {
	k := binary.BigEndian.AppendUint64([]byte("d/some-job/q/0001/"), n)
	return binary.BigEndian.AppendUint64(k, i)
}

// BenchmarkCommit measures one writer whose every batch is synced.
func BenchmarkCommit(b *testing.B) {
	s := onDisk(b)
	took := make([]time.Duration, 0, b.N)
	for n := range b.N {
		ops := bundle(uint64(n))
		start := time.Now()
		if err := s.Apply(ops, true); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	reportAmplification(b, s)
}

// BenchmarkGroupCommit measures batches of several bundles, and several jobs.
func BenchmarkGroupCommit(b *testing.B) {
	for _, c := range []struct{ jobs, bundles int }{{1, 16}, {1, 64}, {8, 1}, {8, 16}} {
		b.Run(fmt.Sprintf("jobs=%d/bundles=%d", c.jobs, c.bundles), func(b *testing.B) {
			s := onDisk(b)
			var wg sync.WaitGroup
			for j := range c.jobs {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for n := range b.N / c.jobs {
						var ops []keyspace.Op
						for i := range c.bundles {
							ops = append(ops, bundle(uint64(j)<<48+uint64(n*c.bundles+i))...)
						}
						if err := s.Apply(ops, true); err != nil {
							b.Error(err)
						}
					}
				}()
			}
			wg.Wait()
			b.ReportMetric(float64(b.N/c.jobs*c.jobs*c.bundles)/b.Elapsed().Seconds(), "bundles/s")
			reportAmplification(b, s)
		})
	}
}

func reportAmplification(b *testing.B, s *lsmstore.Store) {
	b.Helper()
	b.ReportMetric(float64(s.Stats().WrittenBytes)/float64(s.Stats().AppliedBytes), "written/applied")
}

// BenchmarkRead measures what a bundle of a stateful stage does first.
func BenchmarkRead(b *testing.B) {
	s := onDisk(b)
	for n := range uint64(20_000) {
		if err := s.Apply(bundle(n), false); err != nil {
			b.Fatal(err)
		}
	}
	r := s.Snapshot()
	defer r.Close()
	b.Run("get", func(b *testing.B) {
		for n := range b.N {
			if _, _, err := r.Get(row(19_950+uint64(n)%50, uint64(n)%bundleOps)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan-first", func(b *testing.B) {
		for n := range b.N {
			lo := row(19_950+uint64(n)%50, uint64(n)%bundleOps)
			if err := r.Scan(lo, nil, func(_, _ []byte) bool { return false }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		for range b.N {
			s.Snapshot().Close()
		}
	})
}
