package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/operator"
)

// settings are the flags.
type settings struct {
	cache   string
	rows    int64
	repeat  int
	workers int
	// parallelism is Flink's.
	parallelism int
	// bundle is how many rows make a bundle, Flink's too.
	bundle int64
	// bundles is how many run at a time in a worker.
	bundles int
	modes   []string
}

// modes are what can be measured, in order.
var modes = []struct {
	name string
	run  func(context.Context, *settings) error
}{
	{"row", rowMode}, {"byrow", byRowMode}, {"pandas", pandasMode}, {"flink", flinkMode},
	{"ownrow", ownRowMode}, {"own", ownMode}, {"latency", latencyMode}, {"echo", echoMode},
}

func main() {
	s := &settings{}
	flag.StringVar(&s.cache, "cache", cache(), "folder of the Python environments")
	flag.Int64Var(&s.rows, "rows", 1_000_000, "rows of a run")
	flag.IntVar(&s.repeat, "repeat", 3, "runs")
	flag.IntVar(&s.workers, "workers", 1, "workers")
	flag.IntVar(&s.parallelism, "parallelism", 1, "parallelism of Flink's jobs")
	flag.Int64Var(&s.bundle, "bundle", 10_000, "rows of a bundle in PyFlink's harness, Flink's too")
	flag.IntVar(&s.bundles, "bundles", 2, "bundles at a time in a worker of PyFlink's harness")
	list := flag.String("modes", "row,byrow,pandas,flink,ownrow,own,latency,echo", "what to measure")
	flag.Parse()
	s.modes = strings.Split(*list, ",")
	slog.SetLogLoggerLevel(slog.LevelWarn)
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	for _, m := range modes {
		if !slices.Contains(s.modes, m.name) {
			continue
		}
		if err := m.run(context.Background(), s); err != nil {
			log.Fatalf("%s: %v", m.name, err)
		}
	}
}

// cache is where the scripts install.
func cache() string {
	if dir := os.Getenv("PHAROS_CACHE"); dir != "" {
		return dir
	}
	return ".cache"
}

// python is the interpreter of an environment in the cache.
func (s *settings) python(venv string) string {
	dir, err := filepath.Abs(s.cache)
	if err != nil {
		dir = s.cache
	}
	return filepath.Join(dir, venv, "bin", "python")
}

// usage is CPU time.
type usage struct{ self, workers time.Duration }

// cpu returns what this process has used, and what those processes have that
// descend from it and still run.
func cpu() usage {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	self := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return usage{self, childrenCPU(os.Getpid())}
}

// clockTick is the unit of times in /proc: the kernel's USER_HZ.
const clockTick = 10 * time.Millisecond

// childrenCPU adds up the CPU of the children of a process, from /proc.
func childrenCPU(pid int) time.Duration {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var sum time.Duration
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
		var state string
		var parent, skip int
		var user, system int64
		_, err = fmt.Sscan(rest, &state, &parent, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system)
		if err == nil && parent == pid {
			sum += time.Duration(user+system) * clockTick
		}
	}
	return sum
}

// measured is one run.
type measured struct {
	rows  int64
	took  time.Duration
	start usage
	begin time.Time
}

func start(rows int64) *measured { return &measured{rows: rows, start: cpu(), begin: time.Now()} }

// report prints the run.
func (m *measured) report(mode string) {
	m.took = time.Since(m.begin)
	end := cpu()
	self, workers := end.self-m.start.self, end.workers-m.start.workers
	share := 0.0
	if self+workers > 0 {
		share = 100 * workers.Seconds() / (self + workers).Seconds()
	}
	fmt.Printf("%-28s %9d rows %8.2fs %10.0f rows/s   harness %.2f µs/row, host %.2f µs/row, harness share %.0f %%\n",
		mode, m.rows, m.took.Seconds(), float64(m.rows)/m.took.Seconds(),
		workers.Seconds()*1e6/float64(m.rows), self.Seconds()*1e6/float64(m.rows), share)
}

// flinkMode has Flink run the functions.
func flinkMode(ctx context.Context, s *settings) error {
	cmd := exec.CommandContext(ctx, s.python("pyflink"), "bench/operator/flink.py",
		fmt.Sprint(s.rows), fmt.Sprint(s.repeat), fmt.Sprint(s.parallelism), fmt.Sprint(s.bundle))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// ownPool is a pool of workers of pharos_beam.udf.
func (s *settings) ownPool() (*operator.Pool, error) {
	sdk, err := filepath.Abs("sdks/python")
	if err != nil {
		return nil, err
	}
	env := operator.Process(s.python("operator"), "-m", "pharos_beam.udf").With("PYTHONPATH", sdk)
	return operator.NewPool(env, operator.PoolOptions{Workers: s.workers})
}
