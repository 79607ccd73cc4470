package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLay(t *testing.T) {
	w := workspace{dir: t.TempDir(), src: t.TempDir()}
	dir := filepath.Join(w.src, "go", "pkg", "x")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"plain_test.go": "// a comment\npackage x\n\nimport _ \"" + module + "/go/pkg/beam/runners/universal\"\n",
		"calls_test.go": "package x_test\n\nimport (\n\t\"" + module + "/go/pkg/beam/runners/universal\"\n)\n\nvar run = universal.Execute\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{}
	if err := w.lay(pkg{path: "pkg/x"}, files); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"calls_test.go":         "package x_test\n\nimport (\n\tuniversal \"" + oursPackage + "\"\n)\n\nvar run = universal.Execute\n",
		"pharos_runner_test.go": "package x_test\n\nimport _ \"" + oursPackage + "\"\n",
	}
	got := map[string]string{}
	for seen, read := range files {
		b, err := os.ReadFile(read)
		if err != nil || filepath.Dir(seen) != dir || strings.HasPrefix(read, w.src) {
			t.Errorf("%s is read from %s (%v)", seen, read, err)
		}
		got[filepath.Base(seen)] = string(b)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the overlay has %q, want %q", got, want)
	}
	if err := w.lay(pkg{path: "pkg/none"}, files); err == nil {
		t.Error("a package without tests gives no error")
	}
}
