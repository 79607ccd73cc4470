package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// The runner of sdks/go: what a blank import of its package registers.
const (
	ours        = "pharos"
	oursPackage = "github.com/pharos-beam/pharos/sdks/go/pharos"
)

// universal is an import of Beam's portable runner by its name, to call it in code.
var universal = regexp.MustCompile(`(?m)^\t"` + regexp.QuoteMeta(module+"/go/pkg/beam/runners/universal") + `"$`)

// workspace compiles Beam's tests with our runner in them: a Go workspace makes Beam's module and ours one build, and
// an overlay adds a file with the blank import to each package of tests. The copy of Beam's module stays as it is.
type workspace struct {
	dir  string // for the workspace's files
	src  string // of Beam's module
	root string // of this repository
}

func (w workspace) goWork() string  { return filepath.Join(w.dir, "go.work") }
func (w workspace) overlay() string { return filepath.Join(w.dir, "overlay.json") }

// make writes the workspace's files. go.work.sum stays from the time before.
func (w workspace) make() error {
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	if err := os.Remove(w.goWork()); err != nil && !os.IsNotExist(err) {
		return err
	}
	cmd := exec.Command("go", "work", "init", w.src, w.root, filepath.Join(w.root, "sdks", "go"))
	cmd.Env = append(os.Environ(), "GOWORK="+w.goWork())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go work init: %w: %s", err, out)
	}
	files := map[string]string{}
	for _, p := range pkgs {
		if err := w.lay(p, files); err != nil {
			return err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		return err
	}
	return os.WriteFile(w.overlay(), b, 0o644)
}

// lay puts into files what the compiler shall see in a package of tests: which path is to be read from where.
func (w workspace) lay(p pkg, files map[string]string) error {
	dir := filepath.Join(w.src, "go", filepath.FromSlash(p.path))
	tests, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	name := ""
	for _, path := range tests {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if name == "" {
			name = packageName(b)
		}
		if !universal.Match(b) {
			continue
		}
		// Prism's tests call Beam's portable runner whatever --runner says.
		changed := universal.ReplaceAll(b, []byte("\tuniversal \""+oursPackage+"\""))
		if files[path], err = w.write(p, filepath.Base(path), changed); err != nil {
			return err
		}
	}
	if name == "" {
		return fmt.Errorf("%s: there are no tests", p.path)
	}
	// In a package of its own, which may import what imports the package under test.
	blank := fmt.Sprintf("package %s_test\n\nimport _ %q\n", name, oursPackage)
	files[filepath.Join(dir, "pharos_runner_test.go")], err = w.write(p, "pharos_runner_test.go", []byte(blank))
	return err
}

func (w workspace) write(p pkg, name string, content []byte) (path string, err error) {
	path = filepath.Join(w.dir, strings.ReplaceAll(p.path, "/", "_"), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, content, 0o644)
}

var packageClause = regexp.MustCompile(`(?m)^package (\w+)$`)

// packageName returns the name of the package that a file of Go, or its external tests, belong to.
func packageName(file []byte) string {
	m := packageClause.FindSubmatch(file)
	if m == nil {
		return ""
	}
	return strings.TrimSuffix(string(m[1]), "_test")
}
