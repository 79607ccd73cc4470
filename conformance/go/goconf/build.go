package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

const module = "github.com/apache/beam/sdks/v2"

// prepare makes a writable copy of the Go part of Beam's module and returns its root. (Its tests cannot be compiled
// as a dependency: their own dependencies are in no other module's go.sum.)
func prepare(cache, version string) (string, error) {
	src := filepath.Join(cache, "beam-"+version, "src")
	complete := filepath.Join(src, ".complete")
	if _, err := os.Stat(complete); err == nil {
		return src, nil
	}
	cmd := exec.Command("go", "mod", "download", "-json", module+"@v"+version)
	cmd.Dir = os.TempDir()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download: %w: %s", err, out)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil || m.Dir == "" {
		return "", fmt.Errorf("go mod download answered %q", out)
	}
	if err := os.MkdirAll(src, 0o755); err != nil {
		return "", err
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		if err := copyFile(filepath.Join(src, f), filepath.Join(m.Dir, f)); err != nil {
			return "", err
		}
	}
	if err := copyTree(filepath.Join(src, "go"), filepath.Join(m.Dir, "go")); err != nil {
		return "", err
	}
	return src, os.WriteFile(complete, nil, 0o644)
}

func copyFile(dst, src string) error {
	b, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, b, 0o644)
}

func copyTree(dst, src string) error {
	return filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, p)
		if err != nil {
			return err
		}
		to := filepath.Join(dst, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		return copyFile(to, p)
	})
}

// compiler makes a program of each package of tests.
type compiler struct {
	src     string     // of Beam's module
	through *workspace // with our runner in it; nil: as Beam has made it
}

// newCompiler returns a compiler of tests that know the runner of that name.
func newCompiler(o options, src string) (*compiler, error) {
	if o.runner != ours {
		return &compiler{src: src}, nil
	}
	root, err := filepath.Abs(o.root)
	if err != nil {
		return nil, err
	}
	w := &workspace{dir: filepath.Join(filepath.Dir(src), ours), src: src, root: root}
	return &compiler{src: src, through: w}, w.make()
}

// binary compiles p's tests. Those with nothing of ours in them are compiled once for all.
func (c *compiler) binary(p pkg) (string, error) {
	dir := "bin"
	if c.through != nil {
		dir += "-" + ours
	}
	bin := filepath.Join(filepath.Dir(c.src), dir, strings.ReplaceAll(p.path, "/", "_")+".test")
	if _, err := os.Stat(bin); err == nil && c.through == nil {
		return bin, nil
	}
	fmt.Fprintf(os.Stderr, "goconf: compiling %s\n", p.path)
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return "", err
	}
	args := []string{"test", "-c", "-ldflags=-s -w", "-o", bin + ".tmp"}
	env := os.Environ()
	if c.through != nil {
		args = append(args, "-overlay", c.through.overlay())
		env = append(env, "GOWORK="+c.through.goWork())
	}
	cmd := exec.Command("go", append(args, "./go/"+p.path)...)
	cmd.Dir, cmd.Env = c.src, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile %s: %w: %s", p.path, err, out)
	}
	return bin, os.Rename(bin+".tmp", bin)
}

var testFunc = regexp.MustCompile(`(?m)^func (Test[A-Z0-9_]\w*)\(\w+ \*testing\.T\)`)

// testNames returns the top-level tests of the package in dir in source order.
func testNames(dir string) (names []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names, nil
}

// matcher compiles an optional pattern.
func matcher(pattern string) (func(string) bool, error) {
	if pattern == "" {
		return func(string) bool { return true }, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return re.MatchString, nil
}
