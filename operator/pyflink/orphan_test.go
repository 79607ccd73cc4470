package pyflink_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/operatortest"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

// hostVar makes the test binary an engine that runs a function and waits to be
// killed; its value is the Python interpreter.
const hostVar = "PHAROS_TEST_HOST"

func TestMain(m *testing.M) {
	if python := os.Getenv(hostVar); python != "" {
		fmt.Fprintln(os.Stderr, host(python))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// host prints the process ids of two workers.
func host(python string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	p, err := operator.NewPool(pyflink.Environment(python, "UTC"), operator.PoolOptions{Workers: 2})
	if err != nil {
		return err
	}
	f := pyflink.Scalar(ab, ab[:1], pyflink.UDF{
		Payload: pyflink.ScalarSource("lambda a, b: (__import__('time').sleep(0.5), __import__('os').getpid())[1]"), Args: pyflink.Columns(0, 1),
	})
	op, err := p.Open(ctx, f, operator.Limits{BundleElements: 1})
	if err != nil {
		return err
	}
	in, _ := pyflink.NewRowCoder(ab)
	pids := map[int64]bool{}
	for len(pids) < 2 {
		for range 2 {
			b, err := in.Batch(pyflink.Values(int64(1), int64(2)))
			if err != nil {
				return err
			}
			if err := op.Send(ctx, b); err != nil {
				return err
			}
		}
		for range 2 {
			r, err := op.Receive(ctx)
			if err != nil || r.Err != nil {
				return errors.Join(err, r.Err)
			}
			out := pyflink.NewRowReader(1, r.Data)
			out.Next()
			pid, _ := out.Int64()
			pids[pid] = true
		}
	}
	for pid := range pids {
		fmt.Println(pid)
	}
	fmt.Println("ready")
	select {} // until SIGKILL
}

// TestKilledHostLeavesNoWorker: workers end with the process that started them,
// also if that could not do anything about it.
func TestKilledHostLeavesNoWorker(t *testing.T) {
	python := operatortest.Python(t, "pyflink")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), hostVar+"="+python)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	var pids []int
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
		pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 2 {
		t.Fatalf("workers %v, want two", pids)
	}
	for _, pid := range pids {
		if !running(pid) {
			t.Fatalf("worker %d does not run", pid)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for _, pid := range pids {
		for running(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("worker %d outlived its host", pid)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// running says whether there is a process that is no zombie.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
