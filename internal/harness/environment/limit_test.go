package environment

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// heldWorker holds so much memory.
type heldWorker struct{ held int64 }

func (heldWorker) stop()                                   {}
func (heldWorker) exited() <-chan struct{}                 { return nil }
func (heldWorker) exitError() error                        { return nil }
func (heldWorker) output() string                          { return "" }
func (w heldWorker) memory(context.Context) (int64, error) { return w.held, nil }

// A worker that holds too much gets no more bundles and ends with the last one;
// one that holds far too much ends at once.
func TestMemoryLimit(t *testing.T) {
	srv := newServer(t)
	_, addr := newPoolService(t)
	var notices []string
	p := newTestPool(t, srv, externalEnv(t, addr), Options{
		MemoryMax: 100 << 20, Notice: func(_ *fnapi.Harness, text string) { notices = append(notices, text) },
	})
	add := func(held int64, load int) *member {
		m := &member{h: srv.Expect(fnapi.WorkerConfig{Name: "held"}), w: heldWorker{held << 20}, load: load}
		p.mu.Lock()
		p.live = append(p.live, m)
		p.mu.Unlock()
		t.Cleanup(func() { m.h.Close(nil) })
		return m
	}
	fine, much, far, idle := add(100, 1), add(150, 1), add(201, 1), add(150, 0)
	for _, m := range []*member{fine, much, much, far, idle} {
		p.measure(m)
	}
	if !alive(fine.h) || fine.retired {
		t.Error("a worker within its limit has been ended")
	}
	if alive(idle.h) {
		t.Error("an idle worker over its limit goes on")
	}
	if alive(far.h) || far.h.Err() == nil || !strings.Contains(far.h.Err().Error(), "201 MiB of memory, more than 2 times the 100 MiB") {
		t.Errorf("a worker far over its limit: %v", far.h.Err())
	}
	if !alive(much.h) || !much.retired {
		t.Error("a worker over its limit is ended within its bundle, or gets others")
	}
	if len(notices) != 2 || !strings.Contains(notices[0], "held holds 150 MiB of memory, more than the 100 MiB") {
		t.Errorf("notices %q", notices)
	}
	p.Put(much.h)
	<-much.h.Done()
	if much.h.Err() != nil {
		t.Errorf("it has not ended in order: %v", much.h.Err())
	}
}

func TestTreeMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("known on Linux only")
	}
	before, err := treeMemory(os.Getpid())
	if err != nil || before < 1<<20 {
		t.Fatalf("this process holds %d bytes, %v", before, err)
	}
	cmd := exec.Command("/bin/sh", "-c", "setsid sleep 100 & echo; wait") // a session, and so a process group, of its own
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	tree, err := processTree(cmd.Process.Pid)
	if err != nil || len(tree) != 2 {
		t.Fatalf("%d processes, %v", len(tree), err)
	}
	killTree(cmd.Process.Pid)
	_ = cmd.Wait()
	for pid := range tree {
		for deadline := time.Now().Add(fakesdk.HangLimit); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d lives on", pid)
			}
		}
	}
}
