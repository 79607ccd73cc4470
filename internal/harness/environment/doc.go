// Package environment turns the environments of a pipeline into running SDK
// harnesses.
//
// # Duty
//
// [Resolve] decides how the workers of an environment are started: by a worker
// pool service elsewhere (EXTERNAL, which is also LOOPBACK), as processes of
// this machine (PROCESS) or as containers (DOCKER). A [Pool] keeps the workers of one environment of one
// job: it starts them when they are needed, hands out the least loaded,
// replaces dead ones up to a limit, and stops them all.
//
// # What it does not do
//
// It knows no container engine: see [Containers]. It does not decide what runs
// on a worker.
//
// # Invariants
//
//   - A worker is known to the Fn API server before it is started, and its id
//     cannot be guessed.
//   - No process outlives its pool, nor the runner, however that ends: workers
//     are in a process group of their own, which is killed at Close, and by a
//     guard process when the runner is gone.
//   - Errors are one line and name the environment.
package environment
