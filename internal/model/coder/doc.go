// Package coder understands Beam's standard coders as far as a runner must: it
// finds where an encoded value ends, takes windowed values and timers apart,
// and rewrites coders so that every value on the wire can be so found. It does
// not decode user values.
//
// A runner sees coders in three roles:
//
//   - [Parse] reads a coder of a pipeline into a [Coder], whose Skip finds the
//     end of one encoding. A coder of an unknown URN is Opaque: only its SDK
//     can find the end.
//   - [Wire] makes the coders that Pharos tells SDKs to use on the data and
//     state planes. There opaque parts are length-prefixed, so each wire coder
//     is scannable.
//   - [Scanner] and [TimerScanner] walk over the bytes of the data plane. They
//     are the hot path and do not allocate.
//
// Encodings are always in the nested context.
//
// Invariants: bytes from an SDK give an error, never a panic; no memory is
// reserved by a length that the bytes claim; the time of a scan is bounded by
// the number of bytes and the size of the coder; everything is deterministic.
// ErrTruncated means exactly that more bytes could make the input valid.
//
// Source of the encodings: the comments of StandardCoders in
// beam_runner_api.proto and Beam's standard_coders.yaml.
package coder
