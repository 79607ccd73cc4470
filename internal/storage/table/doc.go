// Package table gives types to the store: user state as Beam's State API
// speaks of it, timers, watermark holds, job records. Its tables read and
// write through a keyspace.KV, so what a bundle does to them becomes part of
// the bundle's commit, or nothing at all.
//
// A table value serves one bundle, on one goroutine. Shards are leased to
// bundles, so no two bundles see the same rows at a time.
//
// # Invariants
//
//   - A timer has one row and one entry in each index that it belongs to: its
//     time domain, and watermark holds if it has one.
//   - A bag is the concatenation of its rows in order of key; the key has the
//     bundle, and bundle numbers of a shard increase, so appending never reads.
//   - Everything of one window of one key is found from (shard, key, window).
package table
