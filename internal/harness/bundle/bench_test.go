package bundle_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// BenchmarkBundle is the cost of an almost empty bundle, runner and fake SDK
// together, over a TCP connection.
func BenchmarkBundle(b *testing.B) {
	for name, caps := range map[string][]string{"stream": nil, "embedded": {urn.ProtocolControlRequestElementsEmbedding}} {
		for _, parallel := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/parallel=%d", name, parallel), func(b *testing.B) {
				r := newRig(b, fnapi.WorkerConfig{Capabilities: caps}, fakesdk.Config{Embed: name == "embedded"})
				b.ReportAllocs()
				b.SetParallelism(parallel)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						var out sink
						if _, err := bundle.Start(b.Context(), r.h, r.plain(text("hello"), &out)).Wait(); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkData is the throughput of data to the SDK and back.
func BenchmarkData(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 256 << 10, 512 << 10, 1<<20 - 4096, 1 << 20, 2 << 20} {
		b.Run(fmt.Sprintf("chunk=%dKiB", size>>10), func(b *testing.B) {
			r := newRig(b, fnapi.WorkerConfig{}, fakesdk.Config{})
			data := bytes.Repeat([]byte("x"), size)
			b.SetBytes(2 * int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			src := &repeat{data: data, n: b.N}
			var got int
			s := r.plain(src, &sink{})
			s.Output = func(_ string, d []byte) error { got += len(d); return nil }
			if _, err := bundle.Start(b.Context(), r.h, s).Wait(); err != nil {
				b.Fatal(err)
			}
			if got != b.N*size {
				b.Errorf("%d bytes came back of %d", got, b.N*size)
			}
		})
	}
}
