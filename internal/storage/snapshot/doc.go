// Package snapshot keeps what a job has in store and spool in one file, from
// which another job can begin: on this machine or another one, long after the
// first job and its data are gone. It does not know what is in rows and blocks,
// nor in the manifest that says so.
//
// # The file
//
// A line of text with the version, then frames: kind, length of the payload,
// CRC-32C of both and the payload. Frames are blocks of elements (an id and
// bytes), batches of rows (keys and values, each after its length) and, last, the
// manifest. The file ends with where the manifest is.
//
// # Invariants
//
//   - A file that has its name is whole: it is written under another one, synced
//     and renamed.
//   - What is read is what was written, or ErrCorrupt.
//   - Blocks come before rows, so that who reads it can give them new names first.
package snapshot
