package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	kills   int
	seed    uint64
	ci      bool
	keep    bool
	pharos  string
	before  string
	cache   string
	hang    time.Duration
	workers int
	// Of each round:
	ids     int
	records int
	quota   int // kills
	disk    bool
	moveOn  bool // the snapshot drill
}

// ciHang is how long a job may make no progress at least in continuous integration: on a machine that is busy with something
// else, workers take long to start.
const ciHang = 3 * time.Minute

func flags() config {
	var c config
	flag.IntVar(&c.kills, "kills", 200, "processes to kill at least")
	flag.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "of everything that is random here")
	flag.BoolVar(&c.ci, "ci", false, "one small round, for continuous integration")
	flag.BoolVar(&c.keep, "keep", false, "leave data, results and the runner's log")
	flag.StringVar(&c.pharos, "pharos", "bin/pharos", "the runner's binary")
	flag.StringVar(&c.before, "upgrade-from", "", "the upgrade drill: a job that this binary has started is taken over by --pharos")
	flag.StringVar(&c.cache, "cache", cacheDir(), "folder with venv, bin/crash-batch and crash-java")
	flag.DurationVar(&c.hang, "hang", time.Minute, "how long a job may make no progress")
	flag.IntVar(&c.workers, "workers", 2, "processes for each of the jobs")
	flag.IntVar(&c.ids, "ids", 8000, "ids of each streaming job of a round")
	flag.IntVar(&c.records, "records", 200_000, "records of a KiB in the shuffle of a round")
	flag.IntVar(&c.quota, "kills-per-round", 25, "kills after which a round may end in peace")
	flag.BoolVar(&c.disk, "disk", true, "end with a full disk, where a file system of limited size can be mounted")
	flag.BoolVar(&c.moveOn, "snapshot", false, "the snapshot drill: a changed pipeline goes on from a snapshot of the streaming job")
	flag.Parse()
	if c.ci {
		c.ids, c.records, c.quota, c.workers = 1500, 20_000, c.kills, 1
		c.hang = max(c.hang, ciHang)
	}
	return c
}

func cacheDir() string {
	if dir := os.Getenv("PHAROS_CACHE"); dir != "" {
		return dir
	}
	return ".cache"
}

func main() {
	if err := run(flags()); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func run(c config) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	fmt.Printf("seed %d: to do it again, --seed %d --kills %d\n", c.seed, c.seed, c.kills)
	dir, err := os.MkdirTemp("", "pharos-crash-")
	if err != nil {
		return err
	}
	s, err := newSuite(c, dir)
	if err != nil {
		return err
	}
	defer s.close()
	switch {
	case c.before != "":
		err = s.upgrade(ctx)
	case c.moveOn:
		err = s.moveOn(ctx)
	default:
		err = s.rounds(ctx)
		if err == nil && c.disk {
			err = s.fullDisk(ctx)
		}
	}
	s.close() // what the last runner has written counts
	s.report.print(os.Stdout)
	switch {
	case err != nil || c.keep:
		fmt.Println("data, results and the runner's log are in", dir)
	default:
		os.RemoveAll(dir)
	}
	if err == nil {
		err = s.report.verdict()
	}
	return err
}

// absolute is a path that holds in any working directory.
func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}
