//go:build !duckdb_arrow

package main

import (
	"context"
	"errors"

	"github.com/pharos-beam/pharos/operator/arrow"
)

// wholeResults needs DuckDB's Arrow interface.
func wholeResults(context.Context, *arrow.Operator, int64, int, int) error {
	return errors.New("-arrow needs a build with -tags duckdb_arrow")
}
