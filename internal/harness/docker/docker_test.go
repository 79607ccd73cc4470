package docker

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/internal/harness/environment"
)

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o   Options
		err string
	}{
		"nothing":           {},
		"everything":        {o: Options{Pull: PullNever, Volumes: []string{"/a:/b", "name:/c:ro"}, Vars: map[string]string{"A": "b=c"}}},
		"policy":            {o: Options{Pull: "sometimes"}, err: "sometimes"},
		"volume, one part":  {o: Options{Volumes: []string{"/a"}}, err: `"/a"`},
		"volume, no folder": {o: Options{Volumes: []string{"/a:b"}}, err: `"/a:b"`},
		"variable":          {o: Options{Vars: map[string]string{"": "x"}}, err: "not a name"},
	} {
		err := c.o.Check()
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for _, c := range []struct{ network, runner, want string }{
		{"host", "127.0.0.1:1", "127.0.0.1:1"},
		{"bridge", "127.0.0.1:1", "host.docker.internal:1"},
		{"bridge", "localhost:1", "host.docker.internal:1"},
		{"bridge", "[::1]:1", "host.docker.internal:1"},
		{"mine", "runner.example:1", "runner.example:1"},
	} {
		got, err := New(Options{Network: c.network}).Endpoint(c.runner)
		if err != nil || got != c.want {
			t.Errorf("%s, %s: %q, %v, want %q", c.network, c.runner, got, err, c.want)
		}
	}
	if _, err := New(Options{}).Endpoint("nowhere"); err == nil {
		t.Error("an address without a port has been taken")
	}
}

func TestNoEngine(t *testing.T) {
	e := New(Options{Host: "unix://" + filepath.Join(t.TempDir(), "none")})
	defer e.Close()
	if err := e.Fetch(t.Context(), "image"); !errors.Is(err, environment.ErrNoEngine) {
		t.Errorf("error %v", err)
	}
	if _, err := e.Sweep(t.Context()); err == nil {
		t.Error("containers of no engine have been listed")
	}
}

func TestOwner(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are told apart on Linux only")
	}
	me := self()
	if got, ok := parseOwner(me.String()); !ok || got != me {
		t.Errorf("%q is read as %+v", me.String(), got)
	}
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lives := me
	lives.pid = child.Process.Pid
	lives.start, _ = startOf(child.Process.Pid)
	if me.gone(lives) || me.gone(me) {
		t.Error("a process that lives is taken for one that is gone")
	}
	in.Close()
	_ = child.Wait()
	if !me.gone(lives) {
		t.Error("a process that has ended is not noticed")
	}
	for name, c := range map[string]struct {
		change func(*owner)
		gone   bool
	}{
		"another start of the process number": {func(o *owner) { o.start += "1" }, true},
		"an earlier start of the machine":     {func(o *owner) { o.boot = "x" }, true},
		"another container":                   {func(o *owner) { o.space = "pid:[1]"; o.pid = 1 }, false},
		"another machine":                     {func(o *owner) { o.host = "elsewhere"; o.boot = "x" }, false},
	} {
		o := me
		o.pid = os.Getpid()
		c.change(&o)
		if me.gone(o) != c.gone {
			t.Errorf("%s: gone is %v", name, !c.gone)
		}
	}
	for _, bad := range []string{"", "a b c d e", "a b c 0 e", "a b c 1"} {
		if _, ok := parseOwner(bad); ok {
			t.Errorf("%q is taken for an owner", bad)
		}
	}
}
