package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/pharos-beam/pharos/internal/harness/docker"
)

// sweepTimeout is how long a start may look for containers that runners before
// it have left behind.
const sweepTimeout = 30 * time.Second

// dockerFlags say how the containers of DOCKER environments run.
type dockerFlags struct {
	Host    string            `help:"Address of the Docker engine. By default DOCKER_HOST, or the system's." placeholder:"ADDRESS"`
	Pull    docker.PullPolicy `help:"When images are pulled: missing, always or never." default:"missing" placeholder:"WHEN"`
	Network string            `help:"Network of the containers: host, or a network of the engine. By default host on Linux." placeholder:"NAME"`
	Volume  []string          `help:"Mount a folder into all containers, as HOST:/CONTAINER or HOST:/CONTAINER:ro. May be repeated." placeholder:"VOLUME" sep:"none"`
	Var     map[string]string `help:"Environment variable of all containers. May be repeated." placeholder:"NAME=VALUE" mapsep:"none"`
	Retain  bool              `help:"Keep containers when they have ended, to look at them."`
}

func (f *dockerFlags) options() docker.Options {
	return docker.Options{Host: f.Host, Pull: f.Pull, Network: f.Network, Volumes: f.Volume, Vars: f.Var, Retain: f.Retain}
}

// sweep removes what crashed runners have left at an engine. That there is no
// engine is nothing to speak of.
func sweep(e *docker.Engine, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	defer cancel()
	if _, err := e.Sweep(ctx); err != nil {
		log.Debug("containers of earlier runners are not looked for", "err", err)
	}
}
