package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const expansionStartLimit = 60 * time.Second

// expansion is the Python expansion service and worker pool of the cross-language tests, started when first needed.
type expansion struct {
	python, script string
	children       *children

	mu      sync.Mutex
	address string
	err     error
	cmd     *exec.Cmd
}

// has reports whether the Python at hand can import a module.
func (e *expansion) has(mod string) bool {
	return e.python != "" && exec.Command(e.python, "-c", "import "+mod).Run() == nil
}

// at returns the address of the service.
func (e *expansion) at() (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.address == "" && e.err == nil {
		e.address, e.err = e.start()
	}
	return e.address, e.err
}

func (e *expansion) start() (string, error) {
	ln, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return "", err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	log, err := os.CreateTemp("", "pharos-expansion-*.log")
	if err != nil {
		return "", err
	}
	defer log.Close()
	e.cmd = exec.Command(e.python, e.script, "--port", strconv.Itoa(port))
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		return "", err
	}
	e.children.add(e.cmd.Process.Pid)
	address := net.JoinHostPort("localhost", strconv.Itoa(port))
	if err := waitFor(address, expansionStartLimit); err != nil {
		return "", fmt.Errorf("expansion service did not start, see %s: %w", log.Name(), err)
	}
	return address, nil
}

func (e *expansion) stop() {
	if e.cmd == nil || e.cmd.Process == nil {
		return
	}
	syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
	e.cmd.Wait()
	e.children.remove(e.cmd.Process.Pid)
}

// waitFor waits until something accepts connections at the address.
func waitFor(address string, limit time.Duration) error {
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}
