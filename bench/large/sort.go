package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/bench/load"
)

const (
	// keyBytes is how long a key is in the lines that are sorted: with the value and the end of the line, as much as
	// an element.
	keyBytes = 10
	// distinctLine is the length of the lines of the load "distinct": a key, a tab, a one, the end.
	distinctLine = keyBytes + 3
	// hotShare of the lines have the same key, as in bench/goload.
	hotShare = 6
)

// sort has GNU sort order as many bytes as the load has, by key, from one file to another. A file's writing and reading
// count: the pipeline has neither, but it has a worker that makes the values and one that reads them.
func (b *bench) sort(ctx context.Context, w workload) (s load.Sample, err error) {
	dir, err := os.MkdirTemp("", "pharos-bench")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	in := filepath.Join(dir, "in")
	if err := writeLines(in, w); err != nil {
		return s, err
	}
	cmd := exec.CommandContext(ctx, "sort", "-S", fmt.Sprintf("%dM", b.o.memory), "-T", dir, "-t", "\t", "-k1,1", "-s", "-o", filepath.Join(dir, "out"), in)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return s, err
	}
	s = load.Sample{Seconds: time.Since(start).Seconds(), CPU: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.Memory = usage.Maxrss << 10
	}
	return s, nil
}

// writeLines writes the keys of a load with values of the same size, as text.
func writeLines(path string, w workload) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, w.size-keyBytes-2)
	for i := range w.n {
		key := r.Int64N(w.n)
		if w.of > 0 && i%hotShare == 0 {
			key = 0
		}
		for j := range value {
			value[j] = 'a' + byte(int64(j)*key%23)
		}
		fmt.Fprintf(out, "%0*d\t%s\n", keyBytes, key, value)
	}
	return out.Flush()
}
