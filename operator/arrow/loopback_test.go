package arrow_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/operatortest"
)

// TestLoopback runs functions in a Python program that was there before.
func TestLoopback(t *testing.T) {
	cmd := exec.Command(operatortest.Python(t, "operator"), "-m", "pharos_beam.udf", "--serve=0")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(operatortest.Root(), "sdks", "python"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p, err := operator.NewPool(operator.Loopback(strings.TrimSpace(address)), operator.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	op, err := arrow.Open(ctx, p, arrow.Function(arrow.Call{Function: "add", Source: source}), operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	b, err := op.Call(ctx, numbers(5, 20))
	if err != nil {
		t.Fatal(err)
	}
	checkSum(t, b, 0, 5, 20)
}
