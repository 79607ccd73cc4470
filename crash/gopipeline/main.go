// Command gopipeline is the crash suite's batch job: a large shuffle. Run with --worker it is the job's worker.
//
// Everything that the job computes is a line of text, and the lines are a pure function of its size and seed.
// crash/oracle.go computes the same.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

var (
	records = flag.Int64("records", 10_000, "records in the shuffle")
	keys    = flag.Int64("keys", 500, "keys")
	size    = flag.Int("size", 1024, "bytes of a record")
	seed    = flag.Uint64("seed", 1, "of keys and contents")
	pause   = flag.Duration("pause", 0, "before each record")
	out     = flag.String("out", "", "folder for the result")

	// Flags of Beam's container contract that the Go SDK does not know.
	_ = flag.String("artifact_endpoint", "", "not used")
	_ = flag.String("provision_endpoint", "", "not used")

	generated = beam.NewCounter("crash", "records")
)

// shards are the parts in which records are generated.
const shards = 32

func init() {
	register.Function2x0(split)
	register.DoFn3x0[context.Context, int64, func(int64, []byte)](&generate{})
	register.DoFn2x2[int64, func(*[]byte) bool, string, error](&check{})
	register.Function1x2(toOne)
	register.DoFn2x1[int, func(*string) bool, error](&write{})
	register.Emitter1[int64]()
	register.Emitter2[int64, []byte]()
	register.Iter1[[]byte]()
	register.Iter1[string]()
}

// mix is a hash of 64 bits: the finalizer of splitmix64.
func mix(seed, n uint64) uint64 {
	z := (seed*0x9E3779B97F4A7C15 + n + 1) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// record is the content of a record: its number, then bytes that follow from it.
func record(seed, n uint64, size int) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, size+8), n)
	for x := mix(seed, n); len(b) < size; x = mix(x, n) {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b
}

func split(_ []byte, emit func(int64)) {
	for i := range int64(shards) {
		emit(i)
	}
}

// generate makes the records of a shard.
type generate struct {
	Records, Keys int64
	Size          int
	Seed          uint64
	Pause         time.Duration
}

// ProcessElement makes the records of one shard.
func (f *generate) ProcessElement(ctx context.Context, shard int64, emit func(int64, []byte)) {
	for n := shard; n < f.Records; n += shards {
		time.Sleep(f.Pause)
		generated.Inc(ctx, 1)
		emit(int64(mix(f.Seed, uint64(n))%uint64(f.Keys)), record(f.Seed, uint64(n), f.Size))
	}
}

// check reads what the shuffle has made of it.
type check struct {
	Size int
	Seed uint64
}

// ProcessElement checks the records of one key, and tells how many there are and a hash of which.
func (f *check) ProcessElement(key int64, values func(*[]byte) bool) (string, error) {
	var count, digest uint64
	var v []byte
	for values(&v) {
		if len(v) < 8 {
			return "", fmt.Errorf("a record of %d bytes", len(v))
		}
		n := binary.LittleEndian.Uint64(v)
		if !bytes.Equal(v, record(f.Seed, n, f.Size)) {
			return "", fmt.Errorf("record %d has been damaged", n)
		}
		count++
		digest += mix(f.Seed, n)
	}
	return fmt.Sprintf("batch|%d|%d|%d", key, count, digest), nil
}

func toOne(line string) (int, string) { return 0, line }

// write writes all lines to a file, which says the same however often it is written.
type write struct{ Out string }

// ProcessElement writes the lines of one bucket.
func (f *write) ProcessElement(bucket int, values func(*string) bool) error {
	var lines []string
	var v string
	for values(&v) {
		lines = append(lines, v+"\n")
	}
	sort.Strings(lines)
	text := []byte(strings.Join(lines, ""))
	path := filepath.Join(f.Out, fmt.Sprint(bucket))
	switch old, err := os.ReadFile(path); {
	case err == nil && !bytes.Equal(old, text):
		path += ".differs"
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	tmp := fmt.Sprintf("%s.tmp%d", path, os.Getpid())
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func main() {
	flag.Parse()
	beam.Init()
	p, s := beam.NewPipelineWithRoot()
	parts := beam.Reshuffle(s, beam.ParDo(s, split, beam.Impulse(s)))
	pairs := beam.ParDo(s, &generate{Records: *records, Keys: *keys, Size: *size, Seed: *seed, Pause: *pause}, parts)
	lines := beam.ParDo(s, &check{Size: *size, Seed: *seed}, beam.GroupByKey(s, pairs))
	beam.ParDo0(s, &write{Out: *out}, beam.GroupByKey(s, beam.ParDo(s, toOne, lines)))
	if err := beamx.Run(context.Background(), p); err != nil {
		log.Fatalf("gopipeline: %v", err)
	}
}
