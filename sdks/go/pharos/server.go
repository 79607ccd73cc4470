package pharos

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/pharos-beam/pharos/internal/cli"
)

// servers is the one server of this process, while there are pipelines for it.
var servers shared

// shared counts who uses a server: the first starts it, the last ends it.
type shared struct {
	mu      sync.Mutex
	users   int
	server  *cli.Embedded
	signals chan os.Signal
}

// acquire returns HOST:PORT of a server that serves until release is called.
func (s *shared) acquire() (endpoint string, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		cfg, err := config()
		if err != nil {
			return "", nil, err
		}
		if s.server, err = cli.Embed(cfg); err != nil {
			return "", nil, err
		}
		s.signals = make(chan os.Signal, 1)
		signal.Notify(s.signals, os.Interrupt, syscall.SIGTERM)
		go endOn(s.signals, s.server)
	}
	s.users++
	return s.server.JobEndpoint, s.release, nil
}

func (s *shared) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	if s.users > 0 {
		return
	}
	signal.Stop(s.signals)
	close(s.signals)
	if err := s.server.Close(); err != nil {
		slog.Warn("pharos: stop the server", "err", err)
	}
	s.server = nil
}

// endOn ends a server when the program gets a signal, and then the program as
// that signal does. It returns when the channel is closed.
func endOn(signals chan os.Signal, server *cli.Embedded) {
	got, ok := <-signals
	if !ok {
		return
	}
	server.Close()
	signal.Stop(signals)
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(got)
	}
	if err != nil { // Windows cannot send itself these
		os.Exit(1)
	}
}

// config is what the flags say.
func config() (cli.Config, error) {
	level := slog.LevelError
	if *verbose {
		level = slog.LevelDebug
	}
	c := cli.Config{
		Host: "127.0.0.1", Memory: cli.DefaultMemory(), MaxAttempts: *attempts, Version: own(),
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	if *attempts < 1 || *attempts > maxAttempts {
		return cli.Config{}, fmt.Errorf("--pharos_max_attempts: %d is not a number from 1 to %d", *attempts, maxAttempts)
	}
	for _, o := range []struct {
		name, text string
		to         *int64
	}{{"--pharos_memory", *memory, &c.Memory}, {"--pharos_disk", *disk, &c.Disk}} {
		if o.text == "" {
			continue
		}
		n, err := cli.ParseSize(o.text)
		if err != nil {
			return cli.Config{}, fmt.Errorf("%s: %w", o.name, err)
		}
		*o.to = n
	}
	return c, nil
}
