// Package keyspace defines the keys of everything that Pharos keeps in its
// ordered store, and the changes (Op) and access (KV) that other packages are
// written against. It is pure: it builds and parses byte strings.
//
// # Layout
//
//	j <job>                                            job record
//	h <job> <n:8>                                      event of its history
//	d <job> <table> <stage:4> <shard:4> …              everything a job owns
//
// with the tables
//
//	s <key> <window> <transform> <state id> <kind> …   user state
//	r <key> …                                          grouping engine (reduce)
//	k <key> <window> <transform> <family> <tag>        timers
//	e <fire:8> <timer id>                              timers by event time
//	p <fire:8> <timer id>                              timers by processing time
//	w <time:8> <timer id>                              timers by watermark hold
//	o <owner>                                          holds
//	h <time:8> <owner>                                 holds by time
//	q <seq:8>                                          queues
//	i <seq:8>                                          blocks of side inputs
//	c …                                                the scheduler's own
//
// # Invariants
//
//   - The order of keys is the order of their components, left to right, where
//     byte strings compare bytewise and numbers numerically.
//   - No variable-length component is a prefix of another (see AppendBytes), so
//     a key built from a list of components spans exactly the keys that start
//     with the same list: one state cell, one window of a key, one key, one
//     stage or one whole job are each one contiguous range, and are dropped
//     with one range deletion.
package keyspace
