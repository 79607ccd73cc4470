// Command stream is the smallest streaming engine that uses package operator:
// it makes readings of sensors, has Python keep a running mean for each, takes a
// checkpoint now and then, and prints the last means.
//
//	go run ./examples/stream -python .cache/operator/bin/python
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"path/filepath"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/row"
)

// source keeps a mean by key; its accumulators are state that the operator keeps.
const source = `
from pharos_beam import udf

@udf.aggregate(returns='float64')
class Mean(udf.Aggregate):
    def create(self):
        return [0, 0.0]
    def accumulate(self, mean, value):
        return [mean[0] + 1, mean[1] + value]
    def result(self, mean):
        return mean[1] / mean[0]
`

func main() {
	python := flag.String("python", "python3", "interpreter with apache-beam")
	flag.Parse()
	if err := run(context.Background(), *python); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, python string) error {
	sdk, err := filepath.Abs("sdks/python")
	if err != nil {
		return err
	}
	pool, err := operator.NewPool(operator.Process(python, "-m", "pharos_beam.udf").With("PYTHONPATH", sdk), operator.PoolOptions{})
	if err != nil {
		return err
	}
	defer pool.Close()
	mean := arrow.Running([]int{0}, arrow.Call{Function: "Mean", Source: source, Args: []int{1}})
	op, err := row.Open(ctx, pool, mean, operator.Limits{BundleElements: 4},
		row.Column{Name: "sensor", Type: row.String}, row.Column{Name: "value", Type: row.Float64})
	if err != nil {
		return err
	}
	defer op.Close()
	const batches = 20
	go produce(ctx, op, batches)
	last := map[any]any{}
	for range batches {
		r, err := op.Receive(ctx)
		if err != nil {
			return err
		}
		if r.Err != nil {
			return r.Err
		}
		for _, mean := range r.Rows {
			last[mean[0]] = mean[1]
		}
	}
	for i := range 3 {
		name := fmt.Sprintf("sensor %d", i)
		fmt.Printf("%s: mean %.2f\n", name, last[name])
	}
	return nil
}

// produce sends readings, with a checkpoint after every fifth batch.
func produce(ctx context.Context, op *row.Operator, batches int) {
	for b := range batches {
		var rows [][]any
		for i := range 30 {
			rows = append(rows, []any{fmt.Sprintf("sensor %d", i%3), float64(b + i%3)})
		}
		if err := op.Send(ctx, rows, b); err != nil {
			log.Print(err)
			return
		}
		if b%5 == 4 {
			if err := op.Checkpoint(ctx); err != nil {
				log.Print(err)
				return
			}
		}
	}
}
