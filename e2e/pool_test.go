package e2e

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// workerPool is a `pharos worker --pool`.
type workerPool struct {
	cmd  *exec.Cmd
	log  lockedBuffer
	done chan struct{}
}

// offer starts a worker pool for Python at an address.
func offer(t *testing.T, address string) *workerPool {
	t.Helper()
	p := &workerPool{done: make(chan struct{})}
	p.cmd = exec.Command(need(t, binaryVar), "worker", "--pool", address, "--slots", "1", "--",
		need(t, pythonVar), "-m", "apache_beam.runners.worker.sdk_worker_main")
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("worker pool %s:\n%s", address, p.log.String())
		}
	})
	return p
}

func (p *workerPool) end(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s)
	<-p.done
}

// used tells whether the pool has started a worker.
func (p *workerPool) used() bool { return strings.Contains(p.log.String(), "worker started") }

// Of three machines, which are loopback addresses here, one dies in the middle
// of a job, and another one appears.
func TestPoolsComeAndGo(t *testing.T) {
	addresses := []string{"127.0.0.2:50071", "127.0.0.3:50071", "127.0.0.4:50071", "127.0.0.5:50071"}
	var pools []*workerPool
	for _, a := range addresses[:3] {
		pools = append(pools, offer(t, a))
	}
	r := serve(t)
	s := submitPython(t, r, environment{"EXTERNAL", strings.Join(addresses, ",")}, nil, "--numbers=3000", "--pause=0.03")
	eventually(t, jobLimit, "all three pools to have a worker", func() bool {
		s.goesOn(t)
		return pools[0].used() && pools[1].used() && pools[2].used()
	})
	eventually(t, jobLimit, "the job to get somewhere", func() bool { s.goesOn(t); return r.outputOf("Slow") > 0 })
	pools[0].end(syscall.SIGKILL)
	late := offer(t, addresses[3])
	eventually(t, jobLimit, "work to move to the new pool", func() bool { s.goesOn(t); return late.used() })
	again := offer(t, addresses[0]) // and the first one comes back
	eventually(t, jobLimit, "work to move to the pool that is back", func() bool { s.goesOn(t); return again.used() })
	s.expectExactlyOnce(t, 3000)
}

// A pool that ends takes its workers along, however it ends.
func TestPoolTakesItsWorkersAlong(t *testing.T) {
	const address = "127.0.0.6:50071"
	p := offer(t, address)
	r := serve(t)
	s := submitPython(t, r, environment{"EXTERNAL", address}, nil, "--numbers=1000", "--pause=0.02")
	eventually(t, jobLimit, "the job to get somewhere", func() bool { s.goesOn(t); return r.outputOf("Slow") > 0 })
	workers := workersOf(t, r)
	if len(workers) == 0 {
		t.Fatal("there is no worker process")
	}
	p.end(syscall.SIGKILL)
	eventually(t, time.Minute, "the workers of the dead pool to end", func() bool { return len(workersOf(t, r)) == 0 })
	offer(t, address)
	s.expectExactlyOnce(t, 1000)
}

// workersOf lists the processes that have been told a runner's address.
func workersOf(t *testing.T, r *runner) []string {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "control_endpoint="+r.JobEndpoint).Output()
	if err != nil && len(out) > 0 {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}
