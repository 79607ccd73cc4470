package python

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pharos-beam/pharos/operator"
)

const (
	// markerName is the file that a finished environment has.
	markerName = "pharos-ready"
	// outputMax is how much of a failed command's output goes into an error.
	outputMax = 4 << 10
	// stopWait is how long an interrupted command may take to end.
	stopWait = 5 * time.Second
)

// Spec is what a set of functions needs.
type Spec struct {
	// Interpreter is the Python that environments are made with; python3 when
	// empty.
	Interpreter string
	// Requirements are what pip installs: names with versions, or files and
	// folders, also with extras ("./folder[extra]") and as URLs. An environment
	// is made anew when one of these files, or a file in one of these folders,
	// has changed.
	Requirements []string
	// RequirementsFile is a file of further requirements, one a line. What it
	// includes in turn (-r) is not looked at for changes.
	RequirementsFile string
	// Path are folders and archives with modules of the functions' own.
	Path []string
	// Vars are further environment variables, as NAME=value.
	Vars []string
	// Cache is the folder of environments; one in the user's cache when empty.
	Cache string
}

// Environment returns the environment of s for a pool, with the worker of
// pharos_beam.udf. It makes the virtual environment if it is not there yet,
// which may take minutes.
func Environment(ctx context.Context, s Spec) (operator.Environment, error) {
	for _, v := range s.Vars {
		if i := strings.IndexByte(v, '='); i <= 0 {
			return operator.Environment{}, fmt.Errorf("variable %q is not of the form NAME=value", v)
		}
	}
	python, err := Venv(ctx, s)
	if err != nil {
		return operator.Environment{}, err
	}
	e := operator.Process(python, "-m", "pharos_beam.udf")
	if len(s.Path) > 0 {
		e = e.With("PYTHONPATH", strings.Join(s.Path, string(os.PathListSeparator)))
	}
	for _, v := range s.Vars {
		name, value, _ := strings.Cut(v, "=")
		e = e.With(name, value)
	}
	return e, nil
}

// Venv makes the virtual environment of s, if it is not there yet, and returns
// its interpreter.
func Venv(ctx context.Context, s Spec) (string, error) {
	if s.Interpreter == "" {
		s.Interpreter = "python3"
	}
	if s.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("cache of Python environments: %w", err)
		}
		s.Cache = filepath.Join(dir, "pharos", "python")
	}
	name, err := s.name(ctx)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.Cache, name)
	python := filepath.Join(dir, "bin", "python")
	if ready(dir) {
		return python, nil
	}
	if err := os.MkdirAll(s.Cache, 0o755); err != nil {
		return "", fmt.Errorf("cache of Python environments: %w", err)
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if ready(dir) {
		return python, nil
	}
	return python, s.install(ctx, dir, python)
}

// ready says whether an environment is finished.
func ready(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, markerName))
	return err == nil
}

// name identifies what the environment has in it.
func (s *Spec) name(ctx context.Context) (string, error) {
	version, err := run(ctx, s.Interpreter, "-c", "import sys; print(sys.version, sys.executable)")
	if err != nil {
		return "", err
	}
	if len(version) == 0 {
		return "", fmt.Errorf("%s is no Python interpreter: it has not told its version", s.Interpreter)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00", version, strings.Join(s.Requirements, "\x00"))
	all := s.Requirements
	if s.RequirementsFile != "" {
		b, err := os.ReadFile(s.RequirementsFile)
		if err != nil {
			return "", fmt.Errorf("requirements: %w", err)
		}
		h.Write(b)
		all = append(slices.Clone(all), strings.Split(string(b), "\n")...)
	}
	for _, r := range all {
		if err := hashFiles(h, localPath(r)); err != nil {
			return "", fmt.Errorf("requirement %s: %w", r, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}

// localPath is the file or folder that a requirement may name, without what else
// pip lets it have: an option, a name and "@" before it, a URL's scheme and
// fragment, extras, and a condition or a comment behind it.
func localPath(requirement string) string {
	r := strings.TrimSpace(requirement)
	if _, err := os.Stat(r); r == "" || err == nil {
		return r
	}
	for _, option := range []string{"-e ", "--editable ", "--editable="} {
		r = strings.TrimPrefix(r, option)
	}
	for _, end := range []string{" ;", "; ", " #"} {
		r, _, _ = strings.Cut(r, end)
	}
	if _, url, ok := strings.Cut(r, "@"); ok && strings.HasPrefix(strings.TrimSpace(url), "file:") {
		r = url
	}
	r = strings.TrimSpace(r)
	if u, err := url.Parse(r); err == nil && u.Scheme == "file" {
		r = u.Path
	}
	if i := strings.LastIndexByte(r, '['); i > 0 && strings.HasSuffix(r, "]") {
		r = strings.TrimSpace(r[:i])
	}
	return r
}

// hashFiles adds what is at path, if it is a file or a folder: an environment is
// made anew when it changes.
func hashFiles(h interface{ Write([]byte) (int, error) }, path string) error {
	if _, err := os.Stat(path); path == "" || err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil // a name for pip
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && isBuilt(d.Name()) {
			return fs.SkipDir
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if err == nil {
			fmt.Fprintf(h, "%s\x00%d\x00", p, len(b))
			_, _ = h.Write(b)
		}
		return err
	})
}

// isBuilt says that a folder is what pip and Python leave in a package's source.
func isBuilt(name string) bool {
	return name == "build" || name == "__pycache__" || strings.HasSuffix(name, ".egg-info")
}

// install makes the environment.
func (s *Spec) install(ctx context.Context, dir, python string) error {
	if err := os.RemoveAll(dir); err != nil { // half of one
		return fmt.Errorf("remove an unfinished environment: %w", err)
	}
	if _, err := run(ctx, s.Interpreter, "-m", "venv", dir); err != nil {
		return err
	}
	args := []string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check"}
	if s.RequirementsFile != "" {
		args = append(args, "-r", s.RequirementsFile)
	}
	if args = append(args, s.Requirements...); len(s.Requirements) > 0 || s.RequirementsFile != "" {
		if _, err := run(ctx, python, args...); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, markerName), nil, 0o644)
}

// run runs a command and returns what it wrote to its standard output.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = stopWait
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil { // what it has been killed for
			err = context.Cause(ctx)
		}
		err = fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
		if text := strings.TrimSpace(errs.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text[max(0, len(text)-outputMax):])
		}
		return nil, err
	}
	return out, nil
}
