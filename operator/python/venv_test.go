package python_test

import (
	"context"
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
