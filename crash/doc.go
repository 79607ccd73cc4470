// Command crash kills runners and workers and checks that nobody can tell: see docs/durability.md.
//
//	go run ./crash --kills 200 --seed 7
//	go run ./crash --kills 8 --ci
//	go run ./crash --upgrade-from bin/pharos-before
//
// A run consists of rounds. In each, a streaming job in Python, the same in Java and a batch job in Go run on
// `pharos serve --data` while a random number generator decides what dies when. When all jobs have ended, their results are
// compared, line by line, with what oracle.go says. Start to read at round.go; what differs by language is in language.go.
package main
