package main

import "regexp"

// pkg is a package of Beam's tests that run pipelines.
type pkg struct {
	path  string // below the module's go folder
	only  string // regexp on top-level test names; empty means all
	skip  string // -test.skip pattern on subtests
	label string // label under which this package looks for an expansion service, if it does
	needs string // Python module which the expansion needs
}

// pkgs is every test package whose tests run pipelines and need no outside service.
var pkgs = []pkg{
	{path: "test/integration/primitives"},
	{path: "test/integration/synthetic"},
	{path: "test/integration/wordcount"},
	{path: "test/integration/xlang", label: "test", needs: "apache_beam"},
	{path: "test/integration/transforms/xlang/dataframe", label: "python_transform", needs: "pandas"},
	{path: "test/integration/transforms/xlang/inference", label: "python_transform", needs: "sklearn"},
	{path: "test/regression"},
	{path: "examples/large_wordcount"},
	// Prism's own engine tests: both packages use --endpoint when it is set, and start no server of their own.
	{path: prismTests,
		only: `^Test(Runner_Pipelines|Runner_Metrics|Failure|FailureHang|Failure_SplitError|Runner_Passert|Separation|Implemented|StateAPI|Timers|TestStream)$`},
	{path: prismTests + "/engine",
		only: `^Test(StatefulStages|ElementManagerCoverage|TestStream|Triggers|ProcessingTime)$`,
		skip: `/_(AllElementsPerKey|OneElementPerKey|OneElementPerBundle)$`},
	{path: "pkg/beam"},
	{path: "pkg/beam/testing/passert"},
	{path: "pkg/beam/testing/ptest"},
	{path: "pkg/beam/transforms/batch"},
	{path: "pkg/beam/transforms/filter"},
	{path: "pkg/beam/transforms/periodic"},
	{path: "pkg/beam/transforms/stats"},
	{path: "pkg/beam/transforms/top"},
	{path: "pkg/beam/x/debug"},
	{path: "pkg/beam/io/textio"},
	{path: "pkg/beam/io/fileio"},
}

const prismTests = "pkg/beam/runners/prism/internal"

// neverRun matches the top-level tests that are left out, for these reasons:
//
//   - TestAutomatedExpansionService: runs no pipeline; downloads a large jar
//   - TestOomParDo: needs a worker container that is killed for memory
//   - TestDrain: endless unless somebody drains the job; Beam leaves it out for every runner
//   - TestGetTargetVersion: runs no pipeline
//   - TestPrint…: look for the worker's log lines in the test's own output; in LOOPBACK they go to the runner
//
// Left out as packages: what needs a cloud service or a container (bigqueryio, fhirio, mongodbio, spannerio, the
// cross-language bigquery, bigtable, debezium, jdbc and kafka), fromyaml, which runs no pipeline, Prism's
// TestUnimplemented, which asserts that Prism fails, and the engine subtests ending in skip's names: the same
// pipelines again, which differ by a variable inside an in-process Prism.
var neverRun = regexp.MustCompile(`^(TestAutomatedExpansionService|TestOomParDo|TestDrain|TestGetTargetVersion|TestPrint.*)$`)
