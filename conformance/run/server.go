package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit   = 30 * time.Second
	stopGrace    = 5 * time.Second
	restartPause = 200 * time.Millisecond
	restartsMax  = 50
)

// server is the runner under test: a process of ours, started again when it dies, always at the same port.
type server struct {
	argv     []string
	log      *os.File
	endpoint string
	restarts int
	stop     context.CancelFunc
	done     chan struct{}
}

// startServer starts the runner. A command may name its port as {port}; "pharos" and "prism" know their own flags.
func startServer(ctx context.Context, command, logPath string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &server{
		argv: serverCommand(command, port), log: log, endpoint: net.JoinHostPort("localhost", strconv.Itoa(port)),
		stop: cancel, done: make(chan struct{}),
	}
	go s.supervise(ctx)
	if err := waitFor(ctx, s.endpoint, startLimit); err != nil {
		s.close()
		return nil, fmt.Errorf("%s did not start, see %s: %w", command, logPath, err)
	}
	return s, nil
}

func serverCommand(command string, port int) []string {
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
func (s *server) supervise(ctx context.Context) {
	defer close(s.done)
	for ; ctx.Err() == nil && s.restarts < restartsMax; s.restarts++ {
		cmd := exec.CommandContext(ctx, s.argv[0], s.argv[1:]...)
		cmd.Stdout, cmd.Stderr = s.log, s.log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = stopGrace
		err := cmd.Run()
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintf(os.Stderr, "conformance: the runner ended (%v) and is started again\n", err)
		time.Sleep(restartPause)
	}
}

func (s *server) close() {
	s.stop()
	<-s.done
	s.log.Close()
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
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
