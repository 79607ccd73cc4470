// Package lint holds the house rules that a compiler does not check, as tests.
package lint

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pharos-beam/pharos/internal/"

// layers says which internal packages a package may import, besides those of
// its own folder: the import direction of ARCHITECTURE.md.
var layers = map[string][]string{
	"model/":                  {"model/"},
	"plan":                    {"model/", "plan"},
	"storage/keyspace":        {"model/"},
	"engine/commit":           {"model/", "storage/keyspace"},
	"engine/watermark":        {"model/"},
	"engine/reduce":           {"model/", "storage/keyspace"},
	"engine/core":             {"model/", "plan", "engine/", "storage/keyspace"},
	"storage/store":           {"storage/keyspace"},
	"storage/store/lsmstore":  {"storage/keyspace", "storage/store"},
	"storage/table":           {"model/", "storage/keyspace", "engine/commit"},
	"storage/logbook":         {},
	"storage/spool":           {"model/"},
	"storage/shuffle":         {"model/"},
	"storage/datadir":         {},
	"storage/snapshot":        {},
	"harness/":                {"model/", "harness/"},
	"failpoint":               {},
	"memory":                  {},
	"job":                     {"model/", "plan", "engine/", "storage/", "harness/", "failpoint", "memory"},
	"sim":                     {"model/", "plan", "engine/", "storage/", "harness/", "job"}, // tests only
	"server":                  {"model/", "plan", "server"},
	"server/jobserver":        {"model/", "plan", "server"},
	"server/artifact":         {"model/", "server"},
	"server/api":              {"model/", "plan", "server"},
	"server/scrape":           {"model/", "server"},
	"server/webui":            {"model/", "plan", "server"},
	"telemetry":               {"job"},
	"cli":                     nil, // everything
	"server/servertest":       nil, // tests only
	"lint":                    {},
	"harness/fakesdk":         {"model/", "harness/"},
	"storage/store/storetest": {"storage/"},
}

// pure packages decide without a clock, I/O or goroutines.
var pure = []string{"model/", "plan", "engine/", "storage/keyspace", "memory"}

// impure are what a pure package may not import.
var impure = []string{"os", "io/fs", "net", "net/http", "os/exec", "sync", "sync/atomic", "math/rand", "math/rand/v2", "log/slog", "log", "google.golang.org/grpc"}

func TestImportDirection(t *testing.T) {
	for pkg, imports := range packages(t) {
		allowed, ok := rule(pkg)
		if !ok {
			t.Errorf("package %s is in no layer: say in imports_test.go where it belongs", pkg)
			continue
		}
		for _, imp := range imports {
			rel, internal := strings.CutPrefix(imp, module)
			if internal && allowed != nil && !matches(rel, allowed) && !strings.HasPrefix(rel, pkg+"/") {
				t.Errorf("%s imports %s, which its layer does not allow", pkg, rel)
			}
			if matches(pkg, pure) && slices.Contains(impure, imp) {
				t.Errorf("%s is pure but imports %s", pkg, imp)
			}
			if strings.HasPrefix(imp, "github.com/apache/beam/sdks/v2/") && !strings.Contains(imp, "/pkg/beam/model/") {
				t.Errorf("%s imports %s: only Beam's protos are allowed outside tests", pkg, imp)
			}
		}
	}
}

// rule finds the most specific layer of a package.
func rule(pkg string) ([]string, bool) {
	best, found := "", false
	for name := range layers {
		if matches(pkg, []string{name}) && len(name) >= len(best) {
			best, found = name, true
		}
	}
	return layers[best], found
}

// matches says whether a package is one of the patterns: a name, or a folder
// when it ends in a slash. A name stands for its sub-packages too.
func matches(pkg string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if strings.HasSuffix(p, "/") {
			return strings.HasPrefix(pkg, p)
		}
		return pkg == p || strings.HasPrefix(pkg, p+"/")
	})
}

// packages maps the internal packages to what they import, without tests.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		if rel, ok := strings.CutPrefix(fields[0], module); ok {
			all[rel] = fields[1:]
		}
	}
	return all
}

func TestNoPackageWithoutANoun(t *testing.T) {
	for pkg := range packages(t) {
		name := pkg[strings.LastIndex(pkg, "/")+1:]
		if slices.Contains([]string{"util", "utils", "common", "base", "helpers", "types", "misc"}, name) {
			t.Errorf("package %s: find its noun", pkg)
		}
	}
}
