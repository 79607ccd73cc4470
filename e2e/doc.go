// Package e2e tests the pharos program with real SDK workers where they are
// hardest to keep: in containers of a real Docker engine, behind boot programs,
// and on worker pools that come and go. Workers are killed while jobs run, and
// every job says itself whether each of its elements counted exactly once.
//
// The tests need what scripts/docker-test.sh sets up, and are skipped without.
package e2e
