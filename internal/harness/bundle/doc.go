// Package bundle runs one bundle on one SDK harness: it sends process_bundle,
// feeds the input, collects the output, and reports progress and splits.
//
// # Duty
//
// [Start] begins a bundle and returns at once; [Bundle.Wait] returns its
// [Result] or why it failed. A bundle is complete when the SDK's response is
// there and every output, data and timers alike, has been closed by its
// is_last marker or came inside the response.
//
// # What it does not do
//
// It does not decode elements, retry, or know what the output is for. Output
// bytes are handed on as they come: an element may span two calls.
//
// # Invariants
//
//   - Output and Timer are called from one goroutine, in the order of the
//     stream, and have seen every byte before Wait returns without error.
//   - After Wait returned, the Source, State, Output and Timer are not called
//     any more, whatever the worker still sends.
//   - The input of a bundle that was given up is closed towards the worker, so
//     that its thread does not wait for more.
//   - Bytes of a Chunk are not copied when they are many; they must not change
//     after Next returned them.
package bundle
