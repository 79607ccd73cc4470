package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Environment says how the workers of a pool are started.
type Environment struct {
	urn     string
	payload proto.Message
	engine  func(*slog.Logger) ContainerEngine // of Containers
	err     error
}

// Process starts workers as processes of this machine: a command that takes the
// flags of Beam's container contract (--id, --provision_endpoint and so on).
func Process(command ...string) Environment {
	if len(command) == 0 || command[0] == "" {
		return Environment{err: errors.New("a process environment needs a command")}
	}
	words := make([]string, len(command))
	for i, w := range command {
		words[i] = quote(w)
	}
	return Environment{urn: urn.EnvProcess, payload: &pipepb.ProcessPayload{Command: strings.Join(words, " ")}}
}

// With adds variables, as name and value in turn, to a process' environment.
func (e Environment) With(pairs ...string) Environment {
	p, ok := e.payload.(*pipepb.ProcessPayload)
	if !ok || len(pairs)%2 != 0 {
		if e.err == nil {
			e.err = errors.New("only a process environment takes variables, each with a value")
		}
		return e
	}
	p = proto.Clone(p).(*pipepb.ProcessPayload)
	if p.Env == nil {
		p.Env = map[string]string{}
	}
	for i := 0; i < len(pairs); i += 2 {
		p.Env[pairs[i]] = pairs[i+1]
	}
	e.payload = p
	return e
}

// ContainerEngine runs containers for Containers. Package operator/docker has the
// only one.
type ContainerEngine interface {
	environment.Containers
	// Sweep removes the containers of processes of this machine that have ended
	// without doing so, and returns how many.
	Sweep(ctx context.Context) (int, error)
	// Close ends the connections to the engine.
	Close() error
}

// Containers starts workers in containers of an image, on the engine that a pool
// with the log gets; see package operator/docker.
func Containers(image string, engine func(*slog.Logger) ContainerEngine) Environment {
	return Environment{urn: urn.EnvDocker, payload: &pipepb.DockerPayload{ContainerImage: image}, engine: engine}
}

// External asks a worker pool service (Beam's BeamFnExternalWorkerPool) at an
// address for workers.
func External(address string) Environment {
	return Environment{urn: urn.EnvExternal, payload: &pipepb.ExternalPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: address}}}
}

// Loopback runs the functions in the program that serves address, such as one
// in a debugger: `python -m pharos_beam.udf --serve ADDRESS`.
func Loopback(address string) Environment { return External(address) }

// proto makes Beam's message of e.
func (e Environment) proto() (*pipepb.Environment, error) {
	if e.err != nil {
		return nil, e.err
	}
	if e.payload == nil {
		return nil, errors.New("a pool needs an environment")
	}
	b, err := proto.Marshal(e.payload)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	return &pipepb.Environment{Urn: e.urn, Payload: b}, nil
}

// quote protects a word of a command line.
func quote(w string) string {
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
