// Command operator measures functions that run in PyFlink's harness and in that
// of pharos_beam.udf, driven by package operator, beside what a real Flink
// (MiniCluster of the same PyFlink) does with the same functions and rows, and
// beside a bare gRPC echo:
//
//	make bench-operator
//	go run ./bench/operator -modes row,pandas,echo
//
// It prints a line for each run. CPU is that of this process and of the workers.
package main
