package environment

import "syscall"

// dieWithParent has the kernel kill the process when the runner dies.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
