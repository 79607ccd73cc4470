// Package reduce is GroupByKey for one key at a time: it assigns values to the
// (merged) windows of the key, keeps them until the trigger fires, emits panes,
// holds the watermark back for what is to come, and forgets windows that have
// expired.
package reduce
