// Command run runs a conformance kit against a runner, compares the outcome with the baseline, and fails on any test
// that passed before and does not now.
//
//	go run ./conformance/run --kit python --serve bin/pharos                   the whole kit
//	go run ./conformance/run --kit java --filter 'ViewTest' --endpoint localhost:8073
//	go run ./conformance/run --kit go --slice ci --tag batch
//	go run ./conformance/run --kit go --runner pharos                          through the runner that users install
//	go run ./conformance/run --kit python --update                             results become the baseline
//	go run ./conformance/run --kit python --serve .cache/bin/prism --peer prism
//	go run ./conformance/run --kit python --tags                               write conformance/tags/python.tsv
//
// Results go to conformance/results/KIT.tsv (test, status, reason). The last line reads "N passed, N failed, N skipped".
// Exit code: 0, 1 when a test was lost, 2 when the kit could not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/conformance/cases"
	"github.com/pharos-beam/pharos/conformance/serve"
)

type options struct {
	root, kit, serve, endpoint, filter, slice, tag, peer, runner string
	update, tags                                                 bool
	timeout                                                      time.Duration
	workers, retries                                             int
}

var errLost = errors.New("tests that passed before do not pass now")

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the repository")
	flag.StringVar(&o.kit, "kit", "", "java, python, go, typescript or xlang")
	flag.StringVar(&o.serve, "serve", "bin/pharos", "the runner to start: a binary, or a command with {port}")
	flag.StringVar(&o.endpoint, "endpoint", "", "HOST:PORT of a runner that already serves, instead")
	flag.StringVar(&o.filter, "filter", "", "only tests that match this regular expression")
	flag.StringVar(&o.slice, "slice", "", "only tests of conformance/slices/SLICE-KIT.txt (regular expressions)")
	flag.StringVar(&o.tag, "tag", "", "only batch or only streaming tests")
	flag.StringVar(&o.peer, "peer", "", "the runner is this peer: results go to conformance/peers, nothing is compared")
	flag.StringVar(&o.runner, "runner", "", "the SDK's runner, by the name that the SDK has for it; \"pharos\" is that of sdks/, in every kit")
	flag.BoolVar(&o.update, "update", false, "take the results into the baseline")
	flag.BoolVar(&o.tags, "tags", false, "run nothing: look at the pipelines and write conformance/tags/KIT.tsv")
	flag.DurationVar(&o.timeout, "timeout", 90*time.Second, "for each test")
	flag.IntVar(&o.workers, "workers", 2, "tests at the same time")
	flag.IntVar(&o.retries, "retries", 1, "run tests that were lost again, so often; those that pass then are named as flaky")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, o); {
	case errors.Is(err, errLost):
		stop()
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "conformance:", err)
		stop()
		os.Exit(2)
	}
}

// ours names the runner in sdks/ as each SDK does. The cross-language kit's pipelines are Python's.
var ours = map[string]string{
	"java":       "TestPharosRunner",
	"python":     "pharos_beam.PharosRunner",
	"go":         "pharos",
	"typescript": "pharos",
	"xlang":      "pharos_beam.PharosRunner",
}

// sdkRunner is the name that the kit's SDK has for the runner; empty for the kit's own choice.
func (o options) sdkRunner() string {
	if o.runner == "pharos" {
		return ours[o.kit]
	}
	return o.runner
}

func (o options) path(dir string) string {
	return filepath.Join(o.root, "conformance", dir, o.kit+".tsv")
}

func run(ctx context.Context, o options) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	o.root = root
	if o.tags {
		return writeTags(ctx, o)
	}
	baseline, err := cases.Read(o.path("baseline"))
	if err != nil {
		return err
	}
	selected, err := selection(o)
	if err != nil {
		return err
	}
	endpoint, closeServer, err := runner(ctx, o)
	if err != nil {
		return err
	}
	defer closeServer()
	results, err := runKit(ctx, o, endpoint, o.only(selected))
	if err != nil {
		return err
	}
	if o.peer != "" {
		return finishPeer(o, results)
	}
	results, lost, err := again(ctx, o, endpoint, results, baseline, selected)
	if err != nil {
		return err
	}
	if err := results.Write(o.path("results")); err != nil {
		return err
	}
	return finish(o, results, baseline, lost)
}

// runner starts the runner under test, unless one serves already.
func runner(ctx context.Context, o options) (endpoint string, closeServer func(), err error) {
	if o.endpoint != "" {
		return o.endpoint, func() {}, nil
	}
	dir := filepath.Join(o.root, "conformance", "results")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	s, err := serve.Start(ctx, o.serve, filepath.Join(dir, o.kit+"-server.log"))
	if err != nil {
		return "", nil, err
	}
	return s.Endpoint, s.Close, nil
}

// selection returns what says whether a test is to run; nil when all are.
func selection(o options) (func(string) bool, error) {
	if o.filter == "" && o.slice == "" && o.tag == "" {
		return nil, nil
	}
	tags, err := cases.ReadMap(o.path("tags"))
	if err != nil {
		return nil, err
	}
	var matches []func(string) bool
	if o.filter != "" {
		re, err := regexp.Compile(o.filter)
		if err != nil {
			return nil, fmt.Errorf("--filter: %w", err)
		}
		matches = append(matches, re.MatchString)
	}
	if o.slice != "" {
		in, err := readSlice(filepath.Join(o.root, "conformance", "slices", o.slice+"-"+o.kit+".txt"))
		if err != nil {
			return nil, err
		}
		matches = append(matches, in)
	}
	return func(test string) bool {
		for _, match := range matches {
			if !match(test) {
				return false
			}
		}
		return o.tag == "" || tags[test] == o.tag
	}, nil
}

// readSlice reads a file of regular expressions: a test must match one of them, and none that follows a "!".
func readSlice(path string) (func(test string) bool, error) {
	rows, err := cases.ReadTable(path, 1)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: no such slice", path)
	}
	var in, out []*regexp.Regexp
	for _, row := range rows {
		pattern, not := strings.CutPrefix(row[0], "!")
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if not {
			out = append(out, re)
		} else {
			in = append(in, re)
		}
	}
	matches := func(test string) func(*regexp.Regexp) bool {
		return func(re *regexp.Regexp) bool { return re.MatchString(test) }
	}
	return func(test string) bool {
		return slices.ContainsFunc(in, matches(test)) && !slices.ContainsFunc(out, matches(test))
	}, nil
}

// only lists the known tests that are selected; nil means the whole kit. The tags know every test of a kit.
func (o options) only(selected func(string) bool) []string {
	if selected == nil {
		return nil
	}
	rows, err := cases.ReadTable(o.path("tags"), 2)
	if err != nil {
		return nil
	}
	list := []string{}
	for _, row := range rows {
		if selected(row[0]) {
			list = append(list, row[0])
		}
	}
	return list
}

// again runs lost tests once more, for a machine that was busy; what passes then is named, not hidden.
func again(ctx context.Context, o options, endpoint string, results, baseline cases.Results, selected func(string) bool) (cases.Results, []cases.Case, error) {
	if selected == nil {
		selected = func(string) bool { return true }
	}
	lost := results.Regressions(baseline, selected)
	for try := 0; try < o.retries && len(lost) > 0; try++ {
		var only []string
		for _, c := range lost {
			only = append(only, c.Test)
		}
		fmt.Printf("\nconformance: %d tests again\n", len(only))
		more, err := runKit(ctx, o, endpoint, only)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range lost {
			if m, _ := more.Get(c.Test); m.Status == cases.Pass {
				fmt.Printf("FLAKY  %s  -- first: %s\n", c.Test, c.Reason)
			}
		}
		results = results.With(more)
		lost = results.Regressions(baseline, selected)
	}
	return results, lost, nil
}

func finishPeer(o options, results cases.Results) error {
	dir := filepath.Join(o.root, "conformance", "peers")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fmt.Println(results.Count())
	return results.Write(filepath.Join(dir, o.kit+"-"+o.peer+".tsv"))
}

func finish(o options, results, baseline cases.Results, lost []cases.Case) error {
	for _, c := range results.Improvements(baseline) {
		fmt.Printf("NEW    %s\n", c.Test)
	}
	for _, c := range lost {
		fmt.Printf("LOST   %s  -- %s: %s\n", c.Test, c.Status, c.Reason)
	}
	if o.update {
		next := results
		if o.filter != "" || o.slice != "" || o.tag != "" {
			next = baseline.With(results)
		}
		if err := next.Write(o.path("baseline")); err != nil {
			return err
		}
	}
	fmt.Println(results.Count())
	if len(lost) > 0 && !o.update {
		return errLost
	}
	return nil
}
