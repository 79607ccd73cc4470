// Package logbook keeps the logs of jobs: lines of bytes, in files or in
// memory, up to a limit, for any number of readers that may follow them.
//
// A Book holds Logs by name. A Log is a list of segments: the last one grows,
// the oldest ones are removed when its own limit or that of the book is
// reached. A segment of a book with a directory is a file of lines; what has
// not been written to it yet is in memory, and so is all of a book without one.
//
// # Invariants
//
//   - Append never waits for the disk, and never fails: a line for which there
//     is no room, or that the disk does not take, is lost, and counted.
//   - A line is in one segment. A line that a crash has cut in two is not read.
//   - What is kept is at most Options.Bytes, a line more or less, and of one log
//     an eighth of that; what waits to be written is at most pendingMax.
//   - No lock is held during I/O. One goroutine, the writer's, changes files.
package logbook
