package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// pythonProcess is a PROCESS environment that runs Python's worker without a
// boot program, after some shell commands.
func pythonProcess(t *testing.T, before string) environment {
	t.Helper()
	command := "/bin/sh -c '" + before + " exec \"" + need(t, pythonVar) + "\" -m apache_beam.runners.worker.sdk_worker_main'"
	config, err := json.Marshal(map[string]any{"command": command})
	if err != nil {
		t.Fatal(err)
	}
	return environment{"PROCESS", string(config)}
}

// messages are all messages of the newest job.
func (r *runner) messages() string {
	v, _ := r.job()
	var all []string
	for _, m := range v.Messages {
		all = append(all, m.Text)
	}
	return strings.Join(all, "\n")
}

// expectMessage checks that one of the job's messages has all of the parts.
func (r *runner) expectMessage(t *testing.T, parts ...string) {
	t.Helper()
	v, _ := r.job()
messages:
	for _, m := range v.Messages {
		for _, part := range parts {
			if !strings.Contains(m.Text, part) {
				continue messages
			}
		}
		return
	}
	t.Errorf("no message has all of %q; there are:\n%s", parts, r.messages())
}

// Each number costs a worker 4 MiB for ever: workers are replaced before that
// is too much, and nothing is lost or done twice.
func TestLeakingDoFn(t *testing.T) {
	t.Parallel()
	r := serve(t, "--workers-per-environment", "1", "--worker-memory", "400MiB")
	s := submitPython(t, r, pythonProcess(t, ""), nil, "--numbers=200", "--leak=4", "--pause=0.05")
	s.expectExactlyOnce(t, 200)
	r.expectMessage(t, "memory", "400 MiB", "Slow")
}

func TestStuckDoFn(t *testing.T) {
	t.Parallel()
	r := serve(t, "--workers-per-environment", "1", "--stuck-after", "5s", "--bundle-timeout", "20s")
	s := submitPython(t, r, pythonProcess(t, ""), nil, "--numbers=100", "--stick="+filepath.Join(t.TempDir(), "stuck"))
	s.expectExactlyOnce(t, 100)
	r.expectMessage(t, "makes no progress", "transform Slow", "never_returns")
}

func TestWorkerThatStartsSlowly(t *testing.T) {
	t.Parallel()
	r := serve(t, "--workers-per-environment", "1", "--worker-start-timeout", "2s", "--max-attempts", "1")
	if submitPython(t, r, pythonProcess(t, "sleep 1000;"), nil).wait(t) == nil {
		t.Fatal("a job without a worker has run")
	}
	v, _ := r.job()
	for _, part := range []string{"Create", "did not connect", "2s (--worker-start-timeout)"} {
		if !strings.Contains(v.Error, part) {
			t.Errorf("the error %q does not say %q", v.Error, part)
		}
	}

	r = serve(t, "--workers-per-environment", "1", "--worker-start-timeout", "80s")
	submitPython(t, r, pythonProcess(t, "sleep 22;"), nil, "--numbers=100").expectExactlyOnce(t, 100)
	r.expectMessage(t, "is starting for 20s", "may take 1m20s", "Create")
}
