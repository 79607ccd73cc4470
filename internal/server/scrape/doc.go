// Package scrape shows what jobs and the runner do as Prometheus metrics.
//
// Everything is read when a Prometheus server asks, from what jobs keep anyway:
// nothing is counted for it while bundles run. docs/metrics.md lists the
// families; a test holds the list and the page together.
//
// Invariants:
//   - Families are those of families.go; what SDKs send makes series, never
//     families.
//   - The number of jobs, of series of a job, and the length of labels have
//     limits. What is left out is counted on the page itself.
//   - Counters of a job never fall while the runner lives, since they come from
//     committed metrics.
package scrape
