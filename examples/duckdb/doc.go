// Command duckdb calls Python functions from SQL: DuckDB runs in this process,
// the functions in workers of package operator.
//
//	go run . -rows 10000000          # a function in a SELECT, chunk by chunk
//	go run -tags duckdb_arrow . -arrow   # the result of a query, as Arrow batches
//
// PYTHON names an interpreter that has pharos_beam; -peer also measures DuckDB's
// own Python functions with it, if it has duckdb.
package main
