// Package pharos is a runner for pipelines of Beam's Go SDK.
//
// A blank import registers it:
//
//	import _ "github.com/pharos-beam/pharos/sdks/go/pharos"
//
// Then `--runner=pharos` runs the pipeline on a server in this process, with
// workers in this process, and no other process at all. With `--endpoint` a
// server that runs already has the job, and workers are in this process unless
// `--environment_type` says otherwise.
//
// Pipelines that run at the same time share the server. It ends with the last
// of them, and a signal that ends the program ends it first, so that no
// temporary file is left.
package pharos
