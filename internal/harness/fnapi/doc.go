// Package fnapi serves Beam's Fn API to SDK harnesses: Control, Data, State,
// Logging, Provision and WorkerStatus, all on one gRPC server.
//
// # Duty
//
// A [Server] tells workers apart by the worker_id in their metadata. [Server.Expect]
// announces one and returns its [Harness]; ids are unguessable, so knowing an id
// is the permission to speak for it. The one exception are state streams of
// workers with [Traits.AnonymousState]. A Harness correlates instructions with
// their responses, routes data and state of each process_bundle to the
// [Instruction] it belongs to, and is dead for good once its control stream ends.
//
// # What it does not do
//
// It starts no worker (package environment), knows nothing of what a bundle is
// made of (package bundle), and never looks inside element bytes.
//
// # Invariants
//
//   - A Harness goes through: expected, ready (control stream up), done. It
//     never comes back; a restarted worker has a new id.
//   - What a worker sends is never trusted: an unknown instruction's data is
//     dropped, its state requests are answered with an error, nothing panics.
//   - Every queue is bounded. What a worker sends for one instruction waits in
//     that instruction's inbox; a full inbox stops reading that worker's data
//     stream until the consumer catches up or the instruction is closed.
//   - No lock is held across a send, a receive or a callback.
//   - After [Instruction.Close] no state handler of it runs and none will.
package fnapi
