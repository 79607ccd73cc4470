// Package serve starts a runner as a process, for conformance kits and benchmarks.
package serve

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	startLimit   = 30 * time.Second
	stopGrace    = 5 * time.Second
	restartPause = 200 * time.Millisecond
	restartsMax  = 50
)

// Server is a runner: a process of ours, started again when it dies, always at the same port.
type Server struct {
	Endpoint string // HOST:PORT of the job service

	argv     []string
	log      *os.File
	pid      atomic.Int64
	restarts int
	stop     context.CancelFunc
	done     chan struct{}
}

// Start starts a runner, its output in a file. A command may name its port as {port}; "pharos" and "prism" know their own flags.
func Start(ctx context.Context, command, logPath string) (*Server, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Server{
		Endpoint: net.JoinHostPort("localhost", strconv.Itoa(port)), argv: argv(command, port), log: log,
		stop: cancel, done: make(chan struct{}),
	}
	go s.supervise(ctx)
	if err := waitFor(ctx, s.Endpoint, startLimit); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s did not start, see %s: %w", command, logPath, err)
	}
	return s, nil
}

func argv(command string, port int) []string {
	p := strconv.Itoa(port)
	if strings.ContainsAny(command, " {") {
		return strings.Fields(strings.ReplaceAll(command, "{port}", p))
	}
	switch filepath.Base(command) {
	case "prism":
		return []string{command, "--job_port", p, "--serve_http=false", "--log_level", "warn"}
	default:
		return []string{command, "serve", "--port", p, "--http-port", "0"}
	}
}

// supervise runs the server until the context ends.
func (s *Server) supervise(ctx context.Context) {
	defer close(s.done)
	for ; ctx.Err() == nil && s.restarts < restartsMax; s.restarts++ {
		cmd := exec.CommandContext(ctx, s.argv[0], s.argv[1:]...)
		cmd.Stdout, cmd.Stderr = s.log, s.log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = stopGrace
		err := cmd.Start()
		if err == nil {
			s.pid.Store(int64(cmd.Process.Pid))
			err = cmd.Wait()
		}
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintf(os.Stderr, "the runner ended (%v) and is started again\n", err)
		time.Sleep(restartPause)
	}
}

// Close ends the runner.
func (s *Server) Close() {
	s.stop()
	<-s.done
	s.log.Close()
}

// Ports from portMin up to portEnd are below those that systems give to whoever asks for any, or connects.
const (
	portMin   = 20_000
	portEnd   = 32_768
	portTries = 100
)

// FreePort returns a port that nobody listens on. The system gives it to nobody by itself, so that a server that is started
// again finds it free. The error is that of the last of many ports that were tried.
func FreePort() (port int, err error) {
	for range portTries {
		port = portMin + rand.IntN(portEnd-portMin)
		var ln net.Listener
		if ln, err = net.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(port))); err == nil {
			return port, ln.Close()
		}
	}
	return 0, err
}

// waitFor waits until something accepts connections at the address.
func waitFor(ctx context.Context, address string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// PeakMemory returns the most bytes that the runner's process has held in RAM; 0 where the system does not say.
func (s *Server) PeakMemory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid.Load()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}

// CPU returns how long the processors have worked for the runner's process; 0 where the system does not say.
func (s *Server) CPU() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid.Load()))
	if err != nil {
		return 0
	}
	// The fields follow the program's name, in parentheses.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const user, system, ticks = 11, 12, 100 // proc(5); ticks a second, everywhere
	if len(fields) <= system {
		return 0
	}
	u, _ := strconv.ParseInt(fields[user], 10, 64)
	v, _ := strconv.ParseInt(fields[system], 10, 64)
	return time.Duration(u+v) * time.Second / ticks
}
