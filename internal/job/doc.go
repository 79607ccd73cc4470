// Package job runs jobs: it is where the pure core, the tables, the spool, the
// harnesses and the clock meet.
//
// A Manager holds the jobs of a server. A Job goes from prepared to a terminal
// state. While it runs, one driver goroutine owns its core and carries out its
// effects; every bundle runs on a goroutine of its own and answers with a
// commit.Record, which exists for the rest of the job only once the committer
// has applied it to the store.
//
// Read job.go for a job's life, driver.go for the loop, and execute.go for
// what a bundle does.
package job
