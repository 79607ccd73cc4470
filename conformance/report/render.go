package main

import (
	"fmt"
	"strings"

	"github.com/pharos-beam/pharos/conformance/cases"
)

const head = `# What of the Beam model is supported

Written by ` + "`make docs`" + ` from the results of the conformance kits (` + "`conformance/baseline`, `conformance/peers`, `conformance/known.tsv`" + `);
do not edit. A case is *streaming* if one of its pipelines holds an unbounded PCollection, a TestStream, or waits for
processing time (` + "`conformance/tags`" + `); all others are *batch*. Tests that pass without a job are not counted.
`

// render returns the document, and the batch cases that fail without a known cause.
func render(all []kit, known causes) (doc string, unexplained []string) {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("\n## Counts\n\n| kit | runner | batch | streaming | all |\n|---|---|---|---|---|\n")
	for _, k := range all {
		k.countLine(&b, "**Pharos**", k.results)
		for _, p := range k.peers {
			k.countLine(&b, p.name, p.results)
		}
	}
	b.WriteString("\n(passed / failed / skipped)\n")
	for _, k := range all {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", k.title, strings.ToUpper(k.about[:1])+k.about[1:])
		for _, tag := range []string{"batch", "streaming"} {
			unexplained = append(unexplained, k.exceptions(&b, tag, known)...)
		}
	}
	return b.String(), unexplained
}

func (k kit) tag(test string) string {
	if k.tags[test] == "streaming" {
		return "streaming"
	}
	return "batch"
}

func (k kit) countLine(b *strings.Builder, runner string, results cases.Results) {
	split := map[string]cases.Results{}
	for _, c := range results {
		t := k.tag(c.Test)
		split[t] = append(split[t], c)
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", k.title, runner,
		figures(split["batch"]), figures(split["streaming"]), figures(results))
}

func figures(r cases.Results) string {
	n := r.Count()
	return fmt.Sprintf("%d / %d / %d", n.Passed, n.Failed, n.Skipped)
}

// exceptions lists the cases with a tag that do not pass; it returns the batch cases that fail without a known cause.
func (k kit) exceptions(b *strings.Builder, tag string, known causes) (unexplained []string) {
	begun := false
	for _, c := range k.results {
		if c.Status == cases.Pass || k.tag(c.Test) != tag {
			continue
		}
		if !begun {
			fmt.Fprintf(b, "\n| %s case | | cause |\n|---|---|---|\n", tag)
			begun = true
		}
		why := known.of(k.name, c.Test)
		switch {
		case why == "" && c.Status == cases.Skip:
			why = "left out by the test: " + c.Reason
		case why == "":
			why = "**not known yet**: " + c.Reason
			if tag == "batch" {
				unexplained = append(unexplained, k.name+": "+c.Test)
			}
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", cell(c.Test), c.Status, cell(why))
	}
	if !begun {
		fmt.Fprintf(b, "\nAll %s cases pass.\n", tag)
	}
	return unexplained
}

// cell escapes what would end a cell of a Markdown table or begin a tag.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(s)
}
