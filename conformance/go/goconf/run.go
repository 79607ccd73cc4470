package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Outcomes of a case. A noRunner case passed without a connection to the job service.
const (
	pass     = "pass"
	fail     = "fail"
	skip     = "skip"
	timeout  = "timeout"
	noRunner = "norunner"
)

type result struct {
	Test    string  `json:"test"`
	Status  string  `json:"status"`
	Seconds float64 `json:"seconds"`
	Reason  string  `json:"reason,omitempty"`
	Output  string  `json:"output,omitempty"`
}

// attemptsMax bounds how often one top-level test is started again after a subtest hung or ended its process.
const attemptsMax = 40

// top is one top-level test, the unit that runs in a process of its own.
type top struct {
	pkg  pkg
	name string
	subs []string // subtests wanted; nil means all
}

func (t top) id(test string) string { return t.pkg.path + "." + test }

// children are the processes that must not outlive this one.
type children struct{ pids sync.Map }

func (c *children) add(pid int)    { c.pids.Store(pid, true) }
func (c *children) remove(pid int) { c.pids.Delete(pid) }
func (c *children) killAll() {
	c.pids.Range(func(pid, _ any) bool {
		syscall.Kill(-pid.(int), syscall.SIGKILL)
		return true
	})
}

type runner struct {
	compiler *compiler
	timeout  time.Duration
	children *children
	flags    func(p pkg, port int) []string
}

// run runs one top-level test, again without its finished parts when a subtest hangs or takes the process down.
func (r *runner) run(t top, bin string, fw *forwarder) (all []result) {
	var done []string
	for range attemptsMax {
		p := r.start(t, bin, fw, done)
		res, again := p.results(t)
		all = append(all, res...)
		if !again {
			break
		}
		done = append(done, p.finished...)
	}
	return all
}

// transcript is what one process of a test printed, sorted by test.
type transcript struct {
	order    []string
	began    map[string]time.Time
	ends     map[string]ended
	out      map[string][]string
	all      []string
	timedOut bool
	limit    time.Duration
	err      error
	touched  bool // opened a connection to the job service
	first    bool // nothing was skipped as done before
	seconds  float64
	finished []string // -test.skip patterns of the subtests that need no second run
}

type ended struct {
	status  string
	seconds float64
}

func (r *runner) start(t top, bin string, fw *forwarder, done []string) *transcript {
	skips := append([]string{}, done...)
	if t.pkg.skip != "" {
		skips = append(skips, t.pkg.skip)
	}
	args := []string{"-test.v", "-test.timeout=0", "-test.run", t.pattern()}
	if len(skips) > 0 {
		args = append(args, "-test.skip", strings.Join(skips, "|"))
	}
	cmd := exec.Command(bin, append(args, r.flags(t.pkg, fw.port())...)...)
	cmd.Dir = filepath.Join(r.compiler.src, "go", filepath.FromSlash(t.pkg.path))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tr := &transcript{began: map[string]time.Time{}, ends: map[string]ended{}, out: map[string][]string{}, limit: r.timeout, first: len(done) == 0}
	before, start := fw.conns.Load(), time.Now()
	pr, pw, err := os.Pipe()
	if err != nil {
		tr.err = err
		return tr
	}
	cmd.Stdout, cmd.Stderr = pw, pw
	err = cmd.Start()
	pw.Close()
	if err != nil {
		pr.Close()
		tr.err = err
		return tr
	}
	r.children.add(cmd.Process.Pid)
	tr.read(t.name, pr, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	tr.err = cmd.Wait()
	r.children.remove(cmd.Process.Pid)
	tr.touched = fw.conns.Load() > before
	tr.seconds = time.Since(start).Seconds()
	return tr
}

// pattern selects the test and, where only some are wanted, the first level of its subtests.
func (t top) pattern() string {
	p := "^" + t.name + "$"
	if t.subs == nil {
		return p
	}
	var alts []string
	for _, s := range t.subs {
		level, _, _ := strings.Cut(s, "/")
		alts = append(alts, regexp.QuoteMeta(level))
	}
	return p + "/^(" + strings.Join(alts, "|") + ")$"
}

var (
	runLine = regexp.MustCompile(`^\s*=== (?:RUN|CONT|NAME)\s+(\S+)`)
	endLine = regexp.MustCompile(`^(\s*)--- (PASS|FAIL|SKIP): (\S+) \(([0-9.]+)s\)`)
)

// read takes the process's output until its end, and kills it when no test begins or ends for too long.
func (tr *transcript) read(name string, pr *os.File, kill func()) {
	lines := make(chan string, 256)
	go func() {
		defer close(lines)
		sc := bufio.NewScanner(pr)
		sc.Buffer(make([]byte, 1<<20), 16<<20)
		for sc.Scan() {
			lines <- sc.Text()
		}
		io.Copy(io.Discard, pr)
		pr.Close()
	}()
	timer := time.NewTimer(tr.limit)
	defer timer.Stop()
	cur := name
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				return
			}
			if next := tr.line(cur, l); next != "" {
				cur = next
				timer.Reset(tr.limit)
			}
		case <-timer.C:
			tr.timedOut = true
			kill()
		}
	}
}

// line takes one line of output; where it says that a test begins or ends, line returns that test's name.
func (tr *transcript) line(cur, l string) string {
	tr.all = append(tr.all, l)
	if m := runLine.FindStringSubmatch(l); m != nil {
		if _, ok := tr.began[m[1]]; !ok {
			tr.began[m[1]] = time.Now()
			tr.order = append(tr.order, m[1])
		}
		return m[1]
	}
	if m := endLine.FindStringSubmatch(l); m != nil {
		var s float64
		fmt.Sscanf(m[4], "%g", &s)
		tr.ends[m[3]] = ended{strings.ToLower(m[2]), s}
		return m[3]
	}
	tr.out[cur] = append(tr.out[cur], l)
	return ""
}

// results gives the outcome of every leaf (a test without subtests), and of a parent that failed by itself. again
// says that the process ended before all subtests had run.
func (tr *transcript) results(t top) (res []result, again bool) {
	add := func(n, status, reason string, secs float64, out []string) {
		if status == pass && !tr.touched {
			status = noRunner
		}
		x := result{t.id(n), status, secs, reason, ""}
		if status == fail || status == timeout {
			x.Output = tail(out)
		}
		res = append(res, x)
	}
	parents, open := tr.parents(), ""
	for _, n := range tr.order {
		e, ok := tr.ends[n]
		switch {
		case parents[n] && ok && e.status == fail && !tr.childFailed(n):
			add(n, fail, bestLine(tr.out[n]), e.seconds, tr.out[n])
		case parents[n]:
		case !ok:
			open = n
		default:
			reason := ""
			if e.status != pass {
				reason = reasonOf(tr.out[n])
			}
			add(n, e.status, reason, e.seconds, tr.out[n])
			tr.finish(n)
		}
	}
	switch {
	case open != "": // what hung or brought the process down
		status, reason := fail, "process died: "+reasonOf(tr.out[open])
		if tr.timedOut {
			status, reason = timeout, fmt.Sprintf("no end after %v; last: %s", tr.limit, bestLine(tr.out[open]))
		}
		add(open, status, reason, time.Since(tr.began[open]).Seconds(), tr.all)
		again = strings.Contains(open, "/")
		tr.finish(open)
	case len(tr.order) == 0 && tr.first:
		add(t.name, fail, fmt.Sprintf("did not start (%v): %s", tr.err, bestLine(tr.all)), tr.seconds, tr.all)
	}
	return res, again
}

func (tr *transcript) finish(n string) {
	if !strings.Contains(n, "/") {
		return
	}
	parts := strings.Split(n, "/")
	for i, s := range parts {
		parts[i] = "^" + regexp.QuoteMeta(s) + "$"
	}
	tr.finished = append(tr.finished, strings.Join(parts, "/"))
}

func (tr *transcript) parents() map[string]bool {
	parents := map[string]bool{}
	for _, n := range tr.order {
		if i := strings.LastIndex(n, "/"); i > 0 {
			parents[n[:i]] = true
		}
	}
	return parents
}

func (tr *transcript) childFailed(n string) bool {
	for c, e := range tr.ends {
		if strings.HasPrefix(c, n+"/") && e.status == fail {
			return true
		}
	}
	return false
}
