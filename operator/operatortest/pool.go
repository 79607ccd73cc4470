// Package operatortest has what tests of operators share: pools of the workers
// that scripts/setup-pyflink.sh installs.
package operatortest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pharos-beam/pharos/operator"
)

// Root returns the folder of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Cache returns the folder of what scripts install.
func Cache() string {
	if dir := os.Getenv("PHAROS_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(Root(), ".cache")
}

// Python returns the interpreter of an installed environment ("operator" or
// "pyflink"). It skips the test if that is not installed.
func Python(t testing.TB, venv string) string {
	t.Helper()
	dir := filepath.Join(Cache(), venv)
	if _, err := os.Stat(filepath.Join(dir, ".installed")); err != nil {
		t.Skipf("%s is not installed: run make test-operator", dir)
	}
	return filepath.Join(dir, "bin", "python")
}

// Environment returns the environment of pharos_beam.udf.
func Environment(t testing.TB) operator.Environment {
	t.Helper()
	return operator.Process(Python(t, "operator"), "-m", "pharos_beam.udf").
		With("PYTHONPATH", filepath.Join(Root(), "sdks", "python"))
}

// Pool returns a pool of workers of pharos_beam.udf that ends with the test.
func Pool(t testing.TB, o operator.PoolOptions) *operator.Pool {
	t.Helper()
	p, err := operator.NewPool(Environment(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
