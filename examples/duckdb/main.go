package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
)

// source are the Python functions that SQL calls.
const source = `
import pyarrow.compute as pc
from pharos_beam import udf

@udf.arrow(returns='int64')
def py_add(a, b):
    return pc.add(a, b)
`

func main() {
	rows := flag.Int64("rows", 1_000_000, "rows of the query")
	repeat := flag.Int("repeat", 3, "runs")
	threads := flag.Int("threads", 2, "threads of DuckDB, and workers")
	whole := flag.Bool("arrow", false, "exchange whole results as Arrow (build tag duckdb_arrow)")
	peer := flag.Bool("peer", false, "also measure DuckDB's own Python functions")
	flag.Parse()
	if err := run(*rows, *repeat, *threads, *whole, *peer); err != nil {
		log.Fatal(err)
	}
}

// python is the interpreter of workers and of the peer.
func python() string {
	if p := os.Getenv("PYTHON"); p != "" {
		return p
	}
	return "python3"
}

func run(rows int64, repeat, threads int, whole, peer bool) error {
	ctx := context.Background()
	pool, err := operator.NewPool(operator.Process(python(), "-m", "pharos_beam.udf"), operator.PoolOptions{Workers: threads})
	if err != nil {
		return err
	}
	defer pool.Close()
	op, err := arrow.Open(ctx, pool, arrow.Function(arrow.Call{Function: "py_add", Source: source}), operator.Limits{})
	if err != nil {
		return err
	}
	defer op.Close()
	if whole {
		err = wholeResults(ctx, op, rows, repeat, threads)
	} else {
		err = chunks(op, rows, repeat, threads)
	}
	if err == nil && peer {
		err = measurePeer(rows, repeat, threads)
	}
	return err
}

// want is the sum of py_add(i, 7*i+3) over the rows.
func want(rows int64) int64 { return 4*rows*(rows-1) + 3*rows }

// chunks calls the function in a SELECT.
func chunks(op *arrow.Operator, rows int64, repeat, threads int) error {
	var db mapping.Database
	var conn mapping.Connection
	if mapping.Open(":memory:", &db) != mapping.StateSuccess || mapping.Connect(db, &conn) != mapping.StateSuccess {
		return errors.New("DuckDB does not open")
	}
	defer mapping.Close(&db)
	defer mapping.Disconnect(&conn)
	if err := register(conn, "py_add", 2, op); err != nil {
		return err
	}
	if _, err := query(conn, fmt.Sprintf("SET threads = %d", threads)); err != nil {
		return err
	}
	nulls, err := query(conn, "SELECT count(*) FILTER (py_add(i, CASE WHEN i % 2 = 0 THEN NULL ELSE i END) IS NULL) FROM range(1000) t(i)")
	if err != nil || nulls != 500 {
		return fmt.Errorf("%d nulls of 500: %w", nulls, err)
	}
	q := fmt.Sprintf("SELECT sum(py_add(i, 7 * i + 3))::BIGINT FROM range(%d) t(i)", rows)
	for range repeat {
		start := time.Now()
		sum, err := query(conn, q)
		if err != nil {
			return err
		}
		if err := report("chunks", rows, sum, time.Since(start)); err != nil {
			return err
		}
	}
	return nil
}

// query runs a query with one number as its result.
func query(conn mapping.Connection, q string) (int64, error) {
	var r mapping.Result
	if mapping.Query(conn, q, &r) != mapping.StateSuccess {
		return 0, errors.New(mapping.ResultError(&r))
	}
	defer mapping.DestroyResult(&r)
	return mapping.ValueInt64(&r, 0, 0), nil
}

// report checks a sum and prints a rate.
func report(how string, rows, sum int64, took time.Duration) error {
	if sum != want(rows) {
		return fmt.Errorf("%s: the sum is %d, not %d", how, sum, want(rows))
	}
	fmt.Printf("%-8s %d rows in %v: %.0f rows/s\n", how, rows, took.Round(time.Millisecond), float64(rows)/took.Seconds())
	return nil
}

// measurePeer runs the same query with DuckDB's own Python functions.
func measurePeer(rows int64, repeat, threads int) error {
	cmd := exec.Command(python(), "peer.py", strconv.FormatInt(rows, 10), strconv.Itoa(repeat), strconv.Itoa(threads))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
