package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// inDefaultEnvironment keeps Python's boot program from making a virtual
// environment of its own for each worker, which takes a while.
const inDefaultEnvironment = "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1"

// killInTheMiddle kills containers once a job has got somewhere, each when the
// job has gone on after the one before.
func (e *engine) killInTheMiddle(t *testing.T, r *runner, s *submission, transform string, kills int) {
	t.Helper()
	seen := int64(0)
	for range kills {
		eventually(t, jobLimit, "the job to go on", func() bool {
			s.goesOn(t)
			now := r.outputOf(transform)
			if now <= seen {
				return false
			}
			seen = now
			return true
		})
		if !e.kill(t) {
			t.Error("no container runs")
		}
	}
}

func TestDockerPython(t *testing.T) {
	e := docker(t, "python")
	flags, vars := extraRequirements(t)
	r := serve(t, "--docker-host", e.host, "--workers-per-environment", "2", "--worker-start-timeout", startLimit, "--docker-var", inDefaultEnvironment, "--docker-var", "E2E_WORD="+extraWord,
		"--docker-var", "PIP_NO_INDEX=1", "--docker-volume", wordFile(t)+":/mnt/e2e:ro")
	const n = 1500
	s := submitPython(t, r, dockerEnvironment("python"), vars, append(flags, "--numbers=1500", "--pause=0.01")...)
	e.killInTheMiddle(t, r, s, "Slow", 2)
	s.expectExactlyOnce(t, n)
	e.expectNone(t)
}

func TestDockerJava(t *testing.T) {
	e := docker(t, "java")
	r := serve(t, "--docker-host", e.host, "--workers-per-environment", "2")
	s := submitJava(t, r, dockerEnvironment("java"), "--numbers=5000", "--pauseMillis=5")
	e.killInTheMiddle(t, r, s, "Slow", 1)
	s.expectExactlyOnce(t, 5000)
	e.expectNone(t)
}

func TestDockerGo(t *testing.T) {
	e := docker(t, "go")
	out := t.TempDir()
	r := serve(t, "--docker-host", e.host, "--workers-per-environment", "2", "--docker-volume", out+":/out")
	s := submitGo(t, r, dockerEnvironment("go"), "/out", "--records=4000", "--pause=5ms")
	e.killInTheMiddle(t, r, s, "generate", 2)
	if err := s.wait(t); err != nil {
		t.Fatalf("the job failed: %v", err)
	}
	expectRecords(t, out, 4000)
	e.expectNone(t)
}

// A runner that is killed leaves its containers; its successor removes them, and
// those of nobody else.
func TestRunnerThatIsKilledLeavesNoContainers(t *testing.T) {
	e := docker(t, "go")
	out, data := t.TempDir(), t.TempDir()
	flags := []string{"--docker-host", e.host, "--docker-volume", out + ":/out", "--data", data}
	r := serve(t, flags...)
	s := submitGo(t, r, dockerEnvironment("go"), "/out", "--records=3000", "--pause=5ms")
	eventually(t, jobLimit, "the job to get somewhere", func() bool { s.goesOn(t); return r.outputOf("generate") > 0 })
	r.end(syscall.SIGKILL)
	left := e.containers(t)
	if len(left) == 0 {
		t.Fatal("the killed runner has left no container")
	}
	r = serve(t, flags...)
	eventually(t, time.Minute, "the dead runner's containers to be gone", func() bool {
		now := e.containers(t)
		for id := range left {
			if now[id] != "" {
				return false
			}
		}
		return true
	})
	eventually(t, jobLimit, "the job to be done", func() bool {
		v, _ := r.job()
		return v.State == "DONE"
	})
	expectRecords(t, out, 3000)
	e.expectNone(t)
}

func TestDockerRetain(t *testing.T) {
	e := docker(t, "go")
	out := t.TempDir()
	r := serve(t, "--docker-host", e.host, "--docker-volume", out+":/out", "--docker-retain")
	if err := submitGo(t, r, dockerEnvironment("go"), "/out", "--records=100").wait(t); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the container to end", func() bool {
		for _, state := range e.containers(t) {
			return state == "exited"
		}
		return false
	})
	r.end(syscall.SIGTERM)
	// The next one looks for containers of runners that are gone, and ends when it has done so.
	serve(t, "--docker-host", e.host).end(syscall.SIGTERM)
	if left := e.containers(t); len(left) != 1 {
		t.Errorf("%d containers are kept, want 1", len(left))
	}
	e.removeAll(t)
}

func TestDockerImageThatIsNotThere(t *testing.T) {
	e := docker(t)
	r := serve(t, "--docker-host", e.host, "--docker-pull", "never", "--max-attempts", "1")
	s := submitGo(t, r, environment{"DOCKER", "pharos-test/nowhere:1"}, "/out")
	if s.wait(t) == nil {
		t.Fatal("a job without an image has run")
	}
	v, _ := r.job()
	for _, part := range []string{"main.split", "pharos-test/nowhere:1", "never pulled"} {
		if !strings.Contains(v.Error, part) {
			t.Errorf("the error %q does not say %q", v.Error, part)
		}
	}
	e.expectNone(t)
}
