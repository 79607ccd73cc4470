// Package docker runs the containers of DOCKER environments through the Docker
// engine's API.
//
// # Duty
//
// An [Engine] pulls images, starts a container for each worker, says how it
// ended and removes it. It implements environment.Containers.
//
// # What it does not do
//
// It does not decide which image an environment has, nor how many workers run.
// It keeps no credentials of registries: an image that needs some must be there
// already, or the engine must know them.
//
// # Invariants
//
//   - A container is labelled, when it is created, with the process that owns
//     it. What a process that is gone has left behind is removed by the next
//     runner of the same machine ([Engine.Sweep]); what may belong to somebody
//     else is never touched.
//   - Stop leaves no container, unless Options.Retain wants it for debugging:
//     then it is stopped, and still there to be looked at.
//   - Worker ids are secrets: they are in no label and no name.
package docker
