// Package spool keeps blocks: immutable runs of encoded elements on their way
// from one stage to the next. Blocks live in RAM up to a budget; beyond it the
// oldest go to segment files. A block is written once, read once or twice, and
// dropped; a segment file is removed when all its blocks have been.
//
// It does not know what is in a block, nor who refers to it: the store does.
//
// # Invariants
//
//   - A block that has an id can be read until it is dropped, even when writing
//     segments fails: it leaves RAM only after its bytes are in a file.
//   - A block read from a file is checked: it is what was put, or ErrCorrupt.
//   - No lock is held across I/O but the writers' own: Get and Drop never wait
//     for a write.
//   - What was synced is there, whole, when a spool that keeps its files is
//     opened again, whatever happened meanwhile, until it is dropped. What was
//     dropped may come back: see Retain.
//   - A block that cannot be written (ErrDiskFull, ErrDiskBudget) does not
//     exist, and changes nothing for others.
//   - A file whose sync has failed is never synced again: the system may have
//     forgotten what it could not write.
//
// # Segment files
//
// <number>.seg is a sequence of blocks, each after a header of headerBytes:
// magic, length, id, CRC-32C of the data, CRC-32C of the header before. A
// segment is appended to until it has segmentBytesMax, then never written
// again. When a spool that keeps its files is opened, the headers are read and
// a torn end is ignored. A block that is there twice, because it was being
// moved, is taken from where it is whole.
//
// Compact moves what is left of mostly dead segments.
package spool
