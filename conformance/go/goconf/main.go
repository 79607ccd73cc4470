// Command goconf runs Beam's own Go pipeline tests against any job service.
//
//	goconf HOST:PORT OUT.json [-only FILE] [-timeout 90s] [-workers N] [-runner NAME] [-python PY -expansion-script FILE]
//	goconf build [PACKAGE...]     only compile the tests
//	goconf list                   print the top-level tests
//
// It copies the Go part of Beam's module out of the (read-only) module cache, compiles each package of tests once, and
// then runs every top-level test in a process of its own, as runner "universal" in a LOOPBACK environment. No filter
// list of Beam's names that runner, so nothing is filtered. -runner pharos compiles the tests with the runner of
// sdks/go in them, and runs them through it. With -python the cross-language tests run, too, against an expansion
// service in Python.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// serviceGoneLimit is how long a test waits for a job service that is being started again.
const serviceGoneLimit = 20 * time.Second

type options struct {
	cache, version, only, runner, root, python, script string
	timeout                                            time.Duration
	workers                                            int
}

func main() {
	var o options
	flag.StringVar(&o.cache, "cache", ".cache/go", "folder for the copy of the SDK and the compiled tests")
	flag.StringVar(&o.version, "beam", "2.77.0", "version of the Beam Go SDK")
	flag.StringVar(&o.only, "only", "", "file with the tests to run, one id in each line (default: all)")
	flag.DurationVar(&o.timeout, "timeout", 90*time.Second, "longest time between two lines of test progress")
	flag.IntVar(&o.workers, "workers", 1, "tests at the same time")
	flag.StringVar(&o.runner, "runner", "universal", "the SDK's runner: universal, or pharos, which is that of sdks/go")
	flag.StringVar(&o.root, "root", ".", "this repository, for the runner pharos")
	flag.StringVar(&o.python, "python", "", "Python with apache-beam; without it the cross-language tests are left out")
	flag.StringVar(&o.script, "expansion-script", "", "path of xlang_expansion.py")
	args := interspersed()
	if err := dispatch(o, args); err != nil {
		fmt.Fprintln(os.Stderr, "goconf:", err)
		os.Exit(2)
	}
}

// interspersed parses flags that may follow the positional arguments, and returns the latter.
func interspersed() (args []string) {
	rest := os.Args[1:]
	for {
		flag.CommandLine.Parse(rest)
		if flag.NArg() == 0 {
			return args
		}
		args, rest = append(args, flag.Arg(0)), flag.Args()[1:]
	}
}

func dispatch(o options, args []string) error {
	if len(args) == 0 {
		flag.Usage()
		return errors.New("an endpoint is needed")
	}
	abs, err := filepath.Abs(o.cache)
	if err != nil {
		return err
	}
	src, err := prepare(abs, o.version)
	if err != nil {
		return err
	}
	c, err := newCompiler(o, src)
	if err != nil {
		return err
	}
	switch {
	case args[0] == "build":
		return build(c, args[1:])
	case args[0] == "list":
		tops, err := tests(src, nil)
		for _, t := range tops {
			fmt.Println(t.id(t.name))
		}
		return err
	case len(args) == 2:
		return runAll(o, c, args[0], args[1])
	}
	return errors.New("usage: goconf HOST:PORT OUT.json [flags]")
}

func build(c *compiler, only []string) error {
	for _, p := range pkgs {
		if len(only) > 0 && !slices.Contains(only, p.path) {
			continue
		}
		if _, err := c.binary(p); err != nil {
			return err
		}
	}
	return nil
}

// tests returns the top-level tests, all of them or those that only names.
func tests(src string, only []string) (tops []top, err error) {
	for _, p := range pkgs {
		onlyNames, err := matcher(p.only)
		if err != nil {
			return nil, err
		}
		names, err := testNames(filepath.Join(src, "go", filepath.FromSlash(p.path)))
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if neverRun.MatchString(n) || !onlyNames(n) {
				continue
			}
			t := top{pkg: p, name: n}
			if only == nil || t.selectFrom(only) {
				tops = append(tops, t)
			}
		}
	}
	return tops, nil
}

// selectFrom takes the subtests of t that ids name, and reports whether there is anything to run.
func (t *top) selectFrom(ids []string) bool {
	whole := false
	for _, id := range ids {
		name, ok := strings.CutPrefix(id, t.id(t.name))
		if !ok {
			continue
		}
		if name == "" {
			whole = true
		} else if sub, ok := strings.CutPrefix(name, "/"); ok {
			t.subs = append(t.subs, sub)
		}
	}
	found := whole || t.subs != nil
	if whole {
		t.subs = nil
	}
	return found
}

func runAll(o options, c *compiler, endpoint, out string) error {
	var only []string
	if o.only != "" {
		b, err := os.ReadFile(o.only)
		if err != nil {
			return err
		}
		only = append([]string{}, strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })...)
	}
	tops, err := tests(c.src, only)
	if err != nil {
		return err
	}
	if err := waitFor(endpoint, serviceGoneLimit); err != nil {
		return fmt.Errorf("no job service: %w", err)
	}
	kids := &children{}
	stopOnSignal(kids)
	exp := &expansion{python: o.python, script: o.script, children: kids}
	defer exp.stop()
	r := &runner{compiler: c, timeout: o.timeout, children: kids, flags: flagsFor(o.runner, exp)}

	start := time.Now()
	results := r.runTests(tops, endpoint, o.workers, exp)
	wall := time.Since(start)
	report := map[string]any{"kit": "go", "beam": o.version, "wall_seconds": wall.Seconds(), "tests": results}
	b, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(b, '\n'), 0o644)
}

func stopOnSignal(kids *children) {
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-sig
		kids.killAll()
		os.Exit(130)
	}()
}

// flagsFor gives the flags of a package's test program.
func flagsFor(runner string, exp *expansion) func(pkg, int) []string {
	return func(p pkg, port int) []string {
		name := "--runner=" + runner
		if strings.HasPrefix(p.path, prismTests) {
			name = "--runner=testlocal" // what these register
		}
		flags := []string{fmt.Sprintf("--endpoint=localhost:%d", port), "--environment_type=LOOPBACK", name}
		if p.label == "" {
			return flags
		}
		if a, err := exp.at(); err == nil {
			flags = append(flags, "--expansion_addr="+p.label+":"+a)
		} else {
			fmt.Fprintln(os.Stderr, "goconf:", err)
		}
		return flags
	}
}

// runTests runs the tests with so many at a time, and returns the results in the order of the tests.
func (r *runner) runTests(tops []top, endpoint string, workers int, exp *expansion) (all []result) {
	results := make([][]result, len(tops))
	next := make(chan int)
	usable := r.usable(tops, exp)
	var wg sync.WaitGroup
	for range max(1, workers) {
		wg.Go(func() {
			fw, err := newForwarder(endpoint)
			if err != nil {
				fmt.Fprintln(os.Stderr, "goconf:", err)
				return
			}
			defer fw.ln.Close()
			for i := range next {
				results[i] = r.test(tops[i], endpoint, fw, usable)
				show(results[i])
			}
		})
	}
	for i := range tops {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, rs := range results {
		all = append(all, rs...)
	}
	return all
}

// usable maps each package to its compiled tests; a package that lacks a Python module is left out.
func (r *runner) usable(tops []top, exp *expansion) map[string]func() (string, error) {
	bins := map[string]func() (string, error){}
	for _, t := range tops {
		p := t.pkg
		if _, ok := bins[p.path]; ok {
			continue
		}
		if p.needs != "" && !exp.has(p.needs) {
			bins[p.path] = nil
			continue
		}
		bins[p.path] = sync.OnceValues(func() (string, error) { return r.compiler.binary(p) })
	}
	return bins
}

func (r *runner) test(t top, endpoint string, fw *forwarder, usable map[string]func() (string, error)) []result {
	compile := usable[t.pkg.path]
	if compile == nil {
		return []result{{Test: t.id(t.name), Status: skip, Reason: "no Python with module " + t.pkg.needs}}
	}
	bin, err := compile()
	if err == nil {
		if err = waitFor(endpoint, serviceGoneLimit); err != nil {
			err = fmt.Errorf("the job service is gone: %w", err)
		}
	}
	if err != nil {
		return []result{{Test: t.id(t.name), Status: fail, Reason: err.Error()}}
	}
	return r.run(t, bin, fw)
}

// show prints what a reader of the log wants to see of some results.
func show(rs []result) {
	var b strings.Builder
	for _, x := range rs {
		fmt.Fprintf(&b, "%-8s %6.1fs  %s", x.Status, x.Seconds, x.Test)
		if x.Reason != "" {
			fmt.Fprintf(&b, "  -- %s", x.Reason)
		}
		b.WriteByte('\n')
	}
	os.Stdout.WriteString(b.String())
}
