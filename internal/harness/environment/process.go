package environment

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// processStopTimeout is how long a process may take to end once its
	// control stream is closed, and again after SIGTERM.
	processStopTimeout = 3 * time.Second
	// tailBytes is how much of a process' output is kept for messages.
	tailBytes = 32 << 10
	// exitLineMax bounds the line of output that goes into an error.
	exitLineMax = 400
)

// process is a worker that is a process of this machine.
type process struct {
	cmd     *exec.Cmd
	dir     string // for what a boot program fetches; no two workers share it
	secrets secrets
	out     tail
	guard   *guard
	done    chan struct{}
	err     error // valid once done
}

// NoForkHandlers is a variable, NAME=VALUE, that turns gRPC's fork handlers off. It
// comes before those of the runner's own environment, which may say otherwise. In Python they are on, and cannot work beside
// threads that use gRPC, which every harness has: processes that a DoFn forks
// then and now abort, in a thread that the handlers have started in them
// (https://github.com/grpc/grpc/pull/41759).
const NoForkHandlers = "GRPC_ENABLE_FORK_SUPPORT=0"

// startProcess runs the target's command with the flags of Beam's container
// contract, and with the variables that SDK harnesses read when they are run
// without a boot program.
func startProcess(t *Target, c contact, info provision) (*process, error) {
	words := []string{t.Command}
	if _, err := exec.LookPath(t.Command); err != nil {
		// Not a program as a whole: a command line.
		if words, err = splitCommand(t.Command); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "pharos-worker-")
	if err != nil {
		return nil, fmt.Errorf("folder for a worker: %w", err)
	}
	args := append(words[1:], c.flags()...)
	args = append(args, "--semi_persist_dir="+dir)
	p := &process{cmd: exec.Command(words[0], args...), dir: dir, secrets: info.secrets, done: make(chan struct{})}
	p.cmd.Env = slices.Concat([]string{NoForkHandlers}, os.Environ(), c.vars(info)) // the last counts
	for k, v := range t.Vars {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = time.Second // do not wait for grandchildren's output
	isolate(p.cmd)
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("start %s: %w", words[0], err)
	}
	return p, nil
}

// run starts the process and waits for it. It stays on one thread, for a
// parent-death signal is sent when the thread that started the process ends.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	p.guard = newGuard(p.cmd.Process.Pid)
	started <- nil
	err := p.cmd.Wait()
	killGroup(p.cmd.Process.Pid) // what it left behind
	p.guard.dismiss()
	os.RemoveAll(p.dir)
	p.err = fmt.Errorf("its process ended with %s%s", exitText(err), lastLine([]byte(p.output())))
	close(p.done)
}

// memory is what the process holds with all that it has started.
func (p *process) memory(context.Context) (int64, error) { return treeMemory(p.cmd.Process.Pid) }

// output is the end of what the process has written.
func (p *process) output() string { return p.secrets.hide(p.out.String()) }

// exitText describes the result of exec.Cmd.Wait.
func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// exited is closed when the process has ended.
func (p *process) exited() <-chan struct{} { return p.done }

// exitError says how it ended; it is valid once exited is closed.
func (p *process) exitError() error { return p.err }

// stop ends the process: it gets time to end by itself now that its control
// stream is closed, then a signal, then it is killed with its whole group.
func (p *process) stop() {
	for _, end := range []func(int){func(int) {}, terminateGroup, killAll} {
		end(p.cmd.Process.Pid)
		t := time.NewTimer(processStopTimeout)
		select {
		case <-p.done:
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// killAll ends a process with all that it has started.
func killAll(pid int) {
	killTree(pid) // first, while it is known who belongs to whom
	killGroup(pid)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// lastLine returns ": " and the last line of a text that is not blank, or "".
func lastLine(text []byte) string {
	b := bytes.TrimSpace(text)
	line := bytes.TrimSpace(b[bytes.LastIndexByte(b, '\n')+1:])
	if len(line) == 0 {
		return ""
	}
	if len(line) > exitLineMax {
		line = append(line[:exitLineMax:exitLineMax], "..."...)
	}
	return ": " + strings.ToValidUTF8(string(line), "?")
}

// waitExit waits a moment for w's end, to explain why its stream ended.
func waitExit(ctx context.Context, w worker, d time.Duration) error {
	if w == nil || w.exited() == nil {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.exited():
		return w.exitError()
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}
