//go:build unix

package environment

import (
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// isolate puts the command into a process group of its own, so that it can be
// ended with everything it started.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
}

// terminateGroup asks the process group to end.
func terminateGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGTERM) }

// killGroup ends the process group.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// guardScript kills a process group when its standard input ends.
const guardScript = `read x; kill -TERM -"$1" 2>/dev/null; sleep 2; kill -KILL -"$1" 2>/dev/null`

// guard is a small process that holds one end of a pipe to the runner. When
// the runner is gone, however it ended, the guard ends a process group. The
// parent-death signal does that for the direct child only, and on Linux only.
type guard struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

// newGuard returns nil if there is no shell; then there is just no guard.
func newGuard(group int) *guard {
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", guardScript, "pharos-guard", strconv.Itoa(group))
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil
	}
	return &guard{cmd: cmd, pipe: w}
}

// dismiss ends the guard once the group is gone.
func (g *guard) dismiss() {
	if g == nil {
		return
	}
	killGroup(g.cmd.Process.Pid) // before it could read the end of the pipe
	_ = g.cmd.Wait()
	g.pipe.Close()
}
