// Package lsmstore is a store.Store on disk: a log-structured merge tree
// (pebble) in one directory.
//
// It does not know what keys mean, and has no opinion on when to sync.
//
// # Invariants
//
//   - A batch is one record of the write-ahead log, with a checksum: after a
//     crash it is there as a whole or not at all. A batch that was applied with
//     sync is there, and so is every batch before it.
//   - After a failed write nothing is written any more: every further Apply
//     returns ErrFailed, because nobody knows what the file system has kept.
//     What was applied with sync is there when the directory is opened again.
//   - A failure in the background that leaves pebble without a way on ends in
//     Options.Fatal, which does not return: to stop and be opened again is then
//     the only safe thing to do.
//
// # How to read it
//
// store.go opens a store and writes, reader.go reads, options.go divides the
// memory budget.
package lsmstore
