package python_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/operator/operatortest"
	"github.com/pharos-beam/pharos/operator/python"
)

// pack writes a package that pip can install without the network.
func pack(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"setup.py":       "from setuptools import setup\nsetup(name='onefunction', version='" + version + "', py_modules=['onefunction'])\n",
		"onefunction.py": "VERSION = '" + version + "'\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestVenvIsMadeOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s := python.Spec{Interpreter: operatortest.Python(t, "operator"), Cache: t.TempDir()}
	var wg sync.WaitGroup
	got := make([]string, 3)
	for i := range got {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var err error
			if got[i], err = python.Venv(ctx, s); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if got[0] != got[1] || got[1] != got[2] {
		t.Fatal(got)
	}
	out, err := exec.Command(got[0], "-c", "import sys; print(sys.prefix != sys.base_prefix)").Output()
	if err != nil || strings.TrimSpace(string(out)) != "True" {
		t.Fatal(err, string(out))
	}
}

func TestAVenvForEachSetOfRequirements(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s := python.Spec{Interpreter: operatortest.Python(t, "operator"), Cache: t.TempDir(), Requirements: []string{pack(t, "1.0")}}
	first, err := python.Venv(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(first, "-c", "import onefunction; print(onefunction.VERSION)").Output()
	if err != nil || strings.TrimSpace(string(out)) != "1.0" {
		t.Fatal(err, string(out))
	}
	if again, err := python.Venv(ctx, s); err != nil || again != first {
		t.Fatal(err, again)
	}
	s.Requirements = []string{"no-such-package-of-anybody @ file:///nowhere"}
	if _, err := python.Venv(ctx, s); err == nil || !strings.Contains(err.Error(), "pip install") {
		t.Fatal(err)
	}
}

// Whatever way a folder is named, another environment is made when it changes.
func TestAChangedFolderMakesAnotherVenv(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir := pack(t, "1.0")
	t.Chdir(filepath.Dir(dir))
	relative := "." + string(filepath.Separator) + filepath.Base(dir)
	file := filepath.Join(t.TempDir(), "requirements.txt")
	if err := os.WriteFile(file, []byte("# ours\n"+relative+"[extra]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	specs := map[string]python.Spec{"in a file": {RequirementsFile: file}}
	for _, r := range []string{
		dir, relative, relative + "[extra]", relative + "[extra,more]", relative + " [extra] ; python_version > '3'",
		"onefunction @ file://" + dir, "onefunction[extra] @ file://" + dir + "#egg=onefunction", "file://" + dir,
	} {
		specs[r] = python.Spec{Requirements: []string{r}}
	}
	name := func(s python.Spec) string {
		t.Helper()
		s.Interpreter = operatortest.Python(t, "operator")
		n, err := s.Name(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := map[string]string{}
	for how, s := range specs {
		if before[how] = name(s); before[how] != name(s) {
			t.Errorf("%s: two names", how)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "onefunction.py"), []byte("VERSION = 'changed'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for how, s := range specs {
		if before[how] == name(s) {
			t.Errorf("%s: the environment is that of before the change", how)
		}
	}
}

// What is wrong with a spec is named.
func TestWrongSpecs(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	interpreter := operatortest.Python(t, "operator")
	for want, s := range map[string]python.Spec{
		"no Python interpreter":       {Interpreter: "true"},
		"not found":                   {Interpreter: "no-such-python"},
		`"NAME" is not of the form`:   {Interpreter: interpreter, Vars: []string{"NAME"}},
		`"=value" is not of the form`: {Interpreter: interpreter, Vars: []string{"=value"}},
		"nowhere.txt":                 {Interpreter: interpreter, RequirementsFile: "nowhere.txt"},
	} {
		s.Cache = t.TempDir()
		if _, err := python.Environment(ctx, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	ended, end := context.WithCancelCause(ctx)
	end(errors.New("no more patience"))
	if _, err := python.Environment(ended, python.Spec{Interpreter: interpreter, Cache: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "no more patience") {
		t.Error(err)
	}
}
