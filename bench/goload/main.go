// Command goload runs a load pipeline, written with the Beam Go SDK, against a job service and prints one line of JSON:
// workload, elements, seconds, and the value the pipeline computed beside the one it should have.
//
//	goload --workload gbk --n 1000000 --runner universal --endpoint localhost:8073 --environment_type LOOPBACK
//
// The elements are made inside the pipeline, from nothing: a load says what the runner costs, not what a file does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

var (
	workload = flag.String("workload", "hello", strings.Join(names(), "|"))
	n        = flag.Int64("n", 100000, "elements")
	keys     = flag.Int64("keys", 1000, "distinct keys")
	size     = flag.Int("size", 100, "bytes of a value")
	shards   = flag.Int64("shards", 16, "shards of the generator")
	depth    = flag.Int("depth", 20, "shuffles of the chain")
	jobs     = flag.Int("jobs", 1, "how many jobs of the workload to run at the same time")
)

// sum is what the pipeline's last DoFn adds up, in this very process: the environment is LOOPBACK.
var sum atomic.Int64

// names lists the workloads.
func names() (list []string) {
	for w := range workloads {
		list = append(list, w)
	}
	slices.Sort(list)
	return list
}

// outcome is the line that goload prints.
type outcome struct {
	Workload string  `json:"workload"`
	N        int64   `json:"n"`
	Seconds  float64 `json:"seconds"`
	// Each is the seconds of every single job, when there are several.
	Each   []float64 `json:"each,omitempty"`
	Result int64     `json:"result"`
	Want   int64     `json:"want"`
	OK     bool      `json:"ok"`
	Error  string    `json:"error,omitempty"`
}

func main() {
	flag.Parse()
	beam.Init()
	build, ok := workloads[*workload]
	if !ok {
		fmt.Fprintf(os.Stderr, "goload: no workload %q, only %s\n", *workload, strings.Join(names(), ", "))
		os.Exit(2)
	}
	var pipelines []*beam.Pipeline
	var want int64
	for range *jobs {
		p, s := beam.NewPipelineWithRoot()
		want += build(s)
		pipelines = append(pipelines, p)
	}
	start := time.Now()
	each, err := runAll(pipelines)
	out := outcome{Workload: *workload, N: *n, Seconds: time.Since(start).Seconds(), Result: sum.Load(), Want: want}
	if *jobs > 1 {
		out.Each = each
	}
	out.OK = err == nil && out.Result == want
	if err != nil {
		out.Error = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(out)
	if !out.OK {
		os.Exit(1)
	}
}

// runAll runs pipelines at the same time. It returns the seconds that each took,
// and the errors of all that failed.
func runAll(pipelines []*beam.Pipeline) ([]float64, error) {
	each, errs := make([]float64, len(pipelines)), make([]error, len(pipelines))
	var wg sync.WaitGroup
	for i, p := range pipelines {
		wg.Go(func() {
			start := time.Now()
			errs[i] = beamx.Run(context.Background(), p)
			each[i] = time.Since(start).Seconds()
		})
	}
	wg.Wait()
	return each, errors.Join(errs...)
}
