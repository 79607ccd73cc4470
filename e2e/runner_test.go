package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binaryVar is the pharos program that is tested.
const binaryVar = "PHAROS_BINARY"

// pollEvery is how often the tests look for what they wait for.
const pollEvery = 100 * time.Millisecond

// jobLimit bounds a job. Machines of tests may be busy.
const jobLimit = 8 * time.Minute

// startLimit is for workers whose boot programs run pip, several times.
const startLimit = "10m"

func TestMain(m *testing.M) {
	code := m.Run()
	if e := theEngine.engine; e != nil {
		e.stop()
	}
	os.Exit(code)
}

// eventually waits for a condition.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(pollEvery) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}

// runner is a pharos server.
type runner struct {
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{}

	JobEndpoint string `json:"job_endpoint"`
	HTTP        string `json:"http"`
}

// serve starts a server and waits until it serves. It is stopped with the test.
func serve(t *testing.T, flags ...string) *runner {
	t.Helper()
	binary := os.Getenv(binaryVar)
	if binary == "" {
		t.Skipf("%s is not set", binaryVar)
	}
	ready := filepath.Join(t.TempDir(), "ready")
	r := &runner{log: &lockedBuffer{}, done: make(chan struct{})}
	r.cmd = exec.Command(binary, append([]string{"serve", "--port", "0", "--http-port", "0", "--ready-file", ready, "--log-level", "debug"}, flags...)...)
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait()
	}()
	t.Cleanup(func() {
		r.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the runner's log:\n%s", r.log.interesting())
		}
	})
	eventually(t, time.Minute, "the runner to serve", func() bool {
		b, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(b, r) == nil
	})
	return r
}

// end signals the server and waits for its end.
func (r *runner) end(s syscall.Signal) {
	_ = r.cmd.Process.Signal(s)
	<-r.done
}

// jobView is what the server's JSON says of a job.
type jobView struct {
	ID, State, Error string
	Stages           []struct {
		Name   string
		Output int64 `json:"output_elements"`
	}
	Messages []struct{ Text string }
}

// get reads a JSON view.
func (r *runner) get(path string, to any) error {
	resp, err := http.Get(r.HTTP + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(to)
}

// job is the only job of the server, or the newest one.
func (r *runner) job() (v jobView, ok bool) {
	var list struct{ Jobs []jobView }
	if r.get("/api/jobs", &list) != nil || len(list.Jobs) == 0 {
		return v, false
	}
	return v, r.get("/api/jobs/"+list.Jobs[0].ID, &v) == nil
}

// outputOf is how many elements the stages with a transform have put out.
func (r *runner) outputOf(transform string) (n int64) {
	v, _ := r.job()
	for _, s := range v.Stages {
		if strings.Contains(s.Name, transform) {
			n += s.Output
		}
	}
	return n
}

// lockedBuffer collects what a process writes.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// interesting leaves out what is logged of every bundle.
func (b *lockedBuffer) interesting() string {
	var lines []string
	for line := range strings.Lines(b.String()) {
		if !strings.Contains(line, "msg=commit") && !strings.Contains(line, "attempt ended") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// submission is a program that submits a job and waits for its end.
type submission struct {
	out  lockedBuffer
	done chan struct{}
	err  error // how it ended; valid once done
}

// submit starts a program with variables and arguments.
func submit(t *testing.T, vars []string, argv ...string) *submission {
	t.Helper()
	s := &submission{done: make(chan struct{})}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), vars...)
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		s.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.done
		if t.Failed() {
			t.Logf("%s wrote:\n%s", filepath.Base(argv[0]), s.out.String())
		}
	})
	return s
}

// goesOn fails the test if the program has ended.
func (s *submission) goesOn(t *testing.T) {
	t.Helper()
	select {
	case <-s.done:
		t.Fatalf("the job ended too early: %v", s.err)
	default:
	}
}

// wait waits for the program's end.
func (s *submission) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-s.done:
		return s.err
	case <-time.After(jobLimit):
		t.Fatalf("the job has not ended after %v", jobLimit)
		return nil
	}
}

// expectExactlyOnce checks the line that the jobs print: each of n numbers has
// counted once.
func (s *submission) expectExactlyOnce(t *testing.T, n int) {
	t.Helper()
	if err := s.wait(t); err != nil {
		t.Fatalf("the job failed: %v", err)
	}
	want := fmt.Sprintf("count=%d sum=%d grouped=%d", n, n*(n-1)/2, n)
	if !strings.Contains(s.out.String(), want) {
		t.Errorf("the job did not print %q", want)
	}
}
