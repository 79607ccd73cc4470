package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// bootEnvironment is a PROCESS environment that runs the same boot program as
// an SDK's container, in the same root file system, without a container.
// Variables come from the environment, folders of this machine from binds:
// HOST:/INSIDE.
func bootEnvironment(t *testing.T, sdk string, vars map[string]string, binds ...string) environment {
	t.Helper()
	root := filepath.Join(need(t, rootsVar), sdk)
	config, err := json.Marshal(map[string]any{
		"command": strings.Join(append([]string{"/bin/sh", absolute(t, "boot.sh"), root}, append(binds, "--")...), " "),
		"env":     vars,
	})
	if err != nil {
		t.Fatal(err)
	}
	return environment{"PROCESS", string(config)}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	a, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBootPython(t *testing.T) {
	flags, vars := extraRequirements(t)
	r := serve(t, "--workers-per-environment", "2", "--worker-start-timeout", startLimit)
	env := bootEnvironment(t, "python", map[string]string{
		"RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1", "E2E_WORD": extraWord, "PIP_NO_INDEX": "1",
	}, wordFile(t)+":/mnt/e2e")
	submitPython(t, r, env, vars, append(flags, "--numbers=300")...).expectExactlyOnce(t, 300)
}

func TestBootJava(t *testing.T) {
	r := serve(t, "--workers-per-environment", "2")
	submitJava(t, r, bootEnvironment(t, "java", nil), "--numbers=300").expectExactlyOnce(t, 300)
}

func TestBootGo(t *testing.T) {
	out := t.TempDir()
	r := serve(t, "--workers-per-environment", "2")
	if err := submitGo(t, r, bootEnvironment(t, "go", nil, out+":/out"), "/out", "--records=1000").wait(t); err != nil {
		t.Fatal(err)
	}
	expectRecords(t, out, 1000)
}
