// Command report writes docs/model-support.md: what the conformance kits say of Pharos, beside its peers, and every case
// that does not pass with its cause. It reads nothing but files of this repository, so the same files always give the
// same document; --check fails where the document is not what they give, or where a batch case fails without a cause.
package main

import (
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pharos-beam/pharos/conformance/cases"
)

// kits in the order of the document, with what they are.
var kits = []struct{ name, title, about string }{
	{"java", "Java", "Beam's ValidatesRunner tests of the Java SDK 2.73.0 (the tests jars of its core and its Avro extension), through our PharosRunner (`sdks/java`)"},
	{"python", "Python", "Beam's portable runner suite, its tests marked ValidatesRunner, its trigger transcripts and a few tests Beam has for one runner only, Python SDK 2.77.0"},
	{"go", "Go", "Beam's integration, regression, transform and engine tests of the Go SDK 2.77.0 that run pipelines"},
	{"typescript", "TypeScript", "the tests of the TypeScript SDK 2.49.0, the newest on npm, and pipelines of our own"},
	{"xlang", "Cross-language", "Python pipelines with Java transforms, expanded by Beam's own Java expansion service"},
}

// kit is everything known of one kit.
type kit struct {
	name, title, about string
	results            cases.Results
	tags               map[string]string
	peers              []peer
}

type peer struct {
	name    string
	results cases.Results
}

func main() {
	root := flag.String("root", ".", "the repository")
	check := flag.Bool("check", false, "only compare with the document that is there")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	known, err := readKnown(filepath.Join(root, "conformance", "known.tsv"))
	if err != nil {
		return err
	}
	all, err := readKits(filepath.Join(root, "conformance"))
	if err != nil {
		return err
	}
	doc, unexplained := render(all, known)
	target := filepath.Join(root, "docs", "model-support.md")
	if !check {
		return os.WriteFile(target, []byte(doc), 0o644)
	}
	have, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	if string(have) != doc {
		return fmt.Errorf("%s is not up to date: run make docs", target)
	}
	if len(unexplained) > 0 {
		return fmt.Errorf("batch cases that do not pass and have no cause in conformance/known.tsv:\n  %s", strings.Join(unexplained, "\n  "))
	}
	return nil
}

func readKits(dir string) (all []kit, err error) {
	for _, k := range kits {
		file := k.name + ".tsv"
		one := kit{name: k.name, title: k.title, about: k.about}
		if one.results, err = cases.Read(filepath.Join(dir, "baseline", file)); err != nil {
			return nil, err
		}
		if one.tags, err = cases.ReadMap(filepath.Join(dir, "tags", file)); err != nil {
			return nil, err
		}
		if one.peers, err = readPeers(filepath.Join(dir, "peers"), k.name); err != nil {
			return nil, err
		}
		if len(one.results) > 0 {
			all = append(all, one)
		}
	}
	return all, nil
}

func readPeers(dir, kit string) (list []peer, err error) {
	files, err := filepath.Glob(filepath.Join(dir, kit+"-*.tsv"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, f := range files {
		r, err := cases.Read(f)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), kit+"-"), ".tsv")
		list = append(list, peer{name, r})
	}
	return list, nil
}

// cause is one line of known.tsv: the kit, a test or a pattern of tests with *, and why they do not pass.
type cause struct{ kit, pattern, text string }

type causes []cause

func readKnown(file string) (causes, error) {
	rows, err := cases.ReadTable(file, 3)
	var list causes
	for _, row := range rows {
		if _, err := path.Match(escape(row[1]), ""); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", file, row[1], err)
		}
		list = append(list, cause{row[0], row[1], row[2]})
	}
	return list, err
}

// of returns the cause of a case; the first line that fits says it.
func (list causes) of(kit, test string) string {
	for _, c := range list {
		if ok, _ := path.Match(escape(c.pattern), escapeName(test)); c.kit == kit && ok {
			return c.text
		}
	}
	return ""
}

// path.Match keeps * within one path element; a test's name is one element here. Nothing but * is special.
func escape(pattern string) string {
	return strings.NewReplacer("/", "\x01", "[", `\[`, "?", `\?`, `\`, `\\`).Replace(pattern)
}

func escapeName(test string) string { return strings.ReplaceAll(test, "/", "\x01") }
