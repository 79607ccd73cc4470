package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/conformance/serve"
)

const (
	startLimit  = 60 * time.Second
	pollEvery   = 50 * time.Millisecond
	sampleEvery = 100 * time.Millisecond
	// tagVariable marks the processes of a run: the runner hands it down to its workers.
	tagVariable = "PHAROS_CRASH_RUN"
)

// errDied says that the runner ended although nobody has killed it.
var errDied = errors.New("the runner died by itself")

// runner is a server that is killed and started again, always with the same data and ports.
type runner struct {
	binary string
	data   string
	flags  []string
	tag    string
	port   int
	http   int
	log    *os.File
	report *report

	cmd     *exec.Cmd
	offset  time.Duration // of its clock
	armed   string        // the failpoint it was started with
	started time.Time
	done    chan struct{} // closed when the process has ended
	written atomic.Int64  // bytes, by this process
}

func newRunner(binary, data, log string, r *report) (*runner, error) {
	port, err := serve.FreePort()
	if err != nil {
		return nil, err
	}
	web, err := serve.FreePort()
	if err != nil {
		return nil, err
	}
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	return &runner{
		binary: absolute(binary), data: data, port: port, http: web, log: f, report: r,
		tag: fmt.Sprintf("%d-%d", os.Getpid(), port),
	}, nil
}

// start starts the process, with a failpoint NAME:COUNT or "". It does not wait for it to serve.
func (r *runner) start(failpoint string) error {
	argv := append([]string{
		"serve", "--data", r.data, "--port", strconv.Itoa(r.port), "--http-port", strconv.Itoa(r.http), "--log-level", "debug",
	}, r.flags...)
	r.cmd = exec.Command(r.binary, argv...)
	r.cmd.Env = append(os.Environ(), tagVariable+"="+r.tag, "PHAROS_FAILPOINT="+failpoint, "PHAROS_CLOCK_OFFSET="+r.offset.String())
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := r.cmd.StderrPipe()
	if err != nil {
		return err
	}
	r.armed, r.started, r.done = failpoint, time.Now(), make(chan struct{})
	r.written.Store(0)
	if err := r.cmd.Start(); err != nil {
		return err
	}
	fmt.Fprintf(r.log, "--- process %d, failpoint %q, clock off by %v\n", r.cmd.Process.Pid, failpoint, r.offset)
	go r.watch(r.cmd, r.done, out)
	return nil
}

// watch reads what the process logs, and counts what it writes, until it ends.
func (r *runner) watch(cmd *exec.Cmd, done chan struct{}, out io.Reader) {
	defer close(done)
	stop := make(chan struct{})
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		r.sample(cmd.Process.Pid, stop)
	}()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r.line(lines.Text())
	}
	_, _ = io.Copy(io.Discard, out) // a line too long ends the scan, not the process
	close(stop)
	<-sampled
	_ = cmd.Wait()
	r.report.wrote(r.written.Load())
}

// line takes a line of the log. It is not written to a file by the process itself, so as not to count as written by it.
func (r *runner) line(text string) {
	if c, ok := parseCommit(text); ok {
		r.report.commit(c)
	}
	if !strings.Contains(text, "level=DEBUG") {
		fmt.Fprintln(r.log, text)
	}
}

// commit is what the runner logs of one.
type commit struct {
	bytes int64
	took  time.Duration
}

func parseCommit(line string) (c commit, ok bool) {
	_, rest, ok := strings.Cut(line, "msg=commit ")
	if !ok {
		return c, false
	}
	for _, field := range strings.Fields(rest) {
		var err error
		switch name, value, _ := strings.Cut(field, "="); name {
		case "bytes":
			c.bytes, err = strconv.ParseInt(value, 10, 64)
		case "took":
			c.took, err = time.ParseDuration(value)
		}
		if err != nil {
			return c, false
		}
	}
	return c, true
}

// sample reads how much the process has written, for the system does not tell afterwards.
func (r *runner) sample(pid int, stop chan struct{}) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid)); err == nil {
			if _, after, ok := strings.Cut(string(b), "\nwrite_bytes: "); ok {
				n, _ := strconv.ParseInt(strings.SplitN(after, "\n", 2)[0], 10, 64)
				r.written.Store(max(n, r.written.Load()))
			}
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// alive says whether the process runs.
func (r *runner) alive() bool {
	if r.done == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// kill ends the process with SIGKILL and waits until it is gone.
func (r *runner) kill() {
	if r.alive() {
		_ = r.cmd.Process.Kill()
		<-r.done
	}
}

// ready waits until it serves. errDied if it dies first.
func (r *runner) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if _, err := r.jobs(ctx); err == nil {
			return nil
		}
		select {
		case <-r.done:
			return errDied
		case <-ctx.Done():
			return fmt.Errorf("the runner does not serve %v after its start", time.Since(r.started).Round(time.Second))
		case <-time.After(pollEvery):
		}
	}
}
