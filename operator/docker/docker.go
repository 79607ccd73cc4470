// Package docker runs the workers of operators in containers:
//
//	pool, err := operator.NewPool(docker.Environment("apache/beam_python3.13_sdk:2.70.0"), operator.PoolOptions{})
//
// It is a package of its own so that an engine that runs none does not depend on
// Docker's client.
package docker

import (
	"log/slog"

	"github.com/pharos-beam/pharos/internal/harness/docker"
	"github.com/pharos-beam/pharos/operator"
)

// Environment starts workers in containers of an image, whose entry point takes
// the flags of Beam's container contract, as that of Beam's own images does. The
// engine is the one that the environment variables of Docker's client name
// (DOCKER_HOST), else the system's; if there is none, Pool.Open says so. An image
// that it does not have is pulled.
//
// On Linux containers share the host's network. Elsewhere they reach the pool
// through the engine's gateway, and PoolOptions.Listen must be an address that this
// leads to, such as "0.0.0.0:0".
//
// The containers are removed when the pool is closed. Those of a process that was
// killed end by themselves, and are removed by the next pool on the same machine.
func Environment(image string) operator.Environment {
	return operator.Containers(image, func(log *slog.Logger) operator.ContainerEngine {
		return docker.New(docker.Options{Log: log})
	})
}
