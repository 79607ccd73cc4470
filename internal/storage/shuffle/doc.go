// Package shuffle groups a complete set of keyed elements by key and window:
// GroupByKey for bounded input whose trigger cannot fire early. It reads
// blocks of encoded windowed elements and hands out one group at a time.
//
// # How it works
//
// Elements are not copied: a hash table of groups points into the blocks, and
// the values of a group are a chain through one array. If the blocks and the
// table exceed the memory budget, the table is written to a temporary file as
// a run, sorted by the hash of the key, the key and the window; the runs are
// merged in the end and values stream from the file.
//
// Windows of a merging WindowFn are merged last, key by key, when all windows
// of the key are known. Groups are then by key alone, and each value goes with
// its window and timestamp.
//
// Files: group.go the outside; table.go grouping in memory; sessions.go merging
// windows; run.go and cursor.go writing and reading runs; merge.go from runs
// to groups.
//
// # Invariants
//
//   - Each (key, window) is handed out once, with each of its values once for
//     each element; an element in several windows counts in each.
//   - Values come in order of arrival. So do keys, by their first value, unless
//     the input exceeded the budget: then keys come in order of hash.
//   - Blocks are never written to. Nothing is left in the directory.
package shuffle
