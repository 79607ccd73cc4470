package e2e

import (
	"archive/zip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the jobs need, see scripts/docker-test.sh.
const (
	pythonVar = "PHAROS_TEST_PYTHON"         // an interpreter with Apache Beam
	javaVar   = "PHAROS_TEST_JAVA_CLASSPATH" // our runner and the Java job
	goVar     = "PHAROS_TEST_GO_JOB"         // crash/gopipeline
)

// need returns a variable's value.
func need(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Skipf("%s is not set", name)
	}
	return v
}

// The environments of jobs, as their SDKs' flags.
type environment struct{ kind, config string }

func dockerEnvironment(sdk string) environment { return environment{"DOCKER", image(sdk)} }

// submitPython starts the Python job.
func submitPython(t *testing.T, r *runner, env environment, vars []string, flags ...string) *submission {
	t.Helper()
	argv := []string{need(t, pythonVar), "python/job.py", "--runner=PortableRunner", "--job_endpoint=" + r.JobEndpoint,
		"--environment_type=" + env.kind, "--environment_config=" + env.config}
	return submit(t, vars, append(argv, flags...)...)
}

// submitJava starts the Java job.
func submitJava(t *testing.T, r *runner, env environment, flags ...string) *submission {
	t.Helper()
	argv := []string{"java", "-XX:TieredStopAtLevel=1", "-cp", need(t, javaVar), "Job", "--runner=PharosRunner", "--pharosEndpoint=" + r.JobEndpoint,
		"--defaultEnvironmentType=" + env.kind, "--defaultEnvironmentConfig=" + env.config}
	return submit(t, nil, append(argv, flags...)...)
}

// submitGo starts the Go job, whose workers write to the folder out, which they
// see as seen.
func submitGo(t *testing.T, r *runner, env environment, seen string, flags ...string) *submission {
	t.Helper()
	binary := need(t, goVar)
	argv := []string{binary, "--worker_binary=" + binary, "--runner=universal", "--endpoint=" + r.JobEndpoint,
		"--environment_type=" + env.kind, "--environment_config=" + env.config, "--out=" + seen}
	return submit(t, nil, append(argv, flags...)...)
}

// expectRecords checks the Go job's result: all records, each in one key's
// count.
func expectRecords(t *testing.T, out string, want int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(out, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the job wrote nothing (%v)", err)
	}
	got, keys := 0, map[string]bool{}
	for _, f := range files {
		if strings.HasSuffix(f, ".differs") {
			t.Errorf("a bundle that was repeated wrote something else: %s", f)
		}
		if strings.Contains(f, ".tmp") {
			continue // of a worker that was killed
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var key string
			var n int
			var digest uint64
			fields := strings.Split(strings.TrimSpace(line), "|")
			if len(fields) != 4 || keys[fields[1]] {
				t.Fatalf("line %q", line)
			}
			key = fields[1]
			if _, err := fmt.Sscan(fields[2], &n); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscan(fields[3], &digest); err != nil {
				t.Fatal(err)
			}
			keys[key] = true
			got += n
		}
	}
	if got != want {
		t.Errorf("%d records have been counted, want %d", got, want)
	}
}

// extraWord is what the Python job's staged package, mounted file and variable
// must agree on.
const extraWord = "lighthouse"

// extraRequirements makes a package that only exists here, and a requirements
// file that asks for it. It returns the flags and variables by which the client
// stages both without asking an index.
func extraRequirements(t *testing.T) (flags, vars []string) {
	t.Helper()
	dir := t.TempDir()
	wheel, err := os.Create(filepath.Join(dir, "e2e_extra-1.0-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	defer wheel.Close()
	w := zip.NewWriter(wheel)
	const info = "e2e_extra-1.0.dist-info/"
	for _, f := range [][2]string{
		{"e2e_extra.py", "WORD = '" + extraWord + "'\n"},
		{info + "METADATA", "Metadata-Version: 2.1\nName: e2e-extra\nVersion: 1.0\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: e2e\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", "e2e_extra.py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	} {
		part, err := w.Create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	requirements := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(requirements, []byte("e2e-extra==1.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--requirements_file=" + requirements, "--requirements_cache=" + dir, "--extra"},
		[]string{"PIP_NO_INDEX=1", "PIP_FIND_LINKS=" + dir}
}

// wordFile makes the file that the Python job looks for.
func wordFile(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "word"), []byte(extraWord), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
