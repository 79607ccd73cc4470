package environment

import (
	"errors"
	"fmt"
	"runtime"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// anyOfDepthMax bounds how deep AnyOf environments may be nested.
const anyOfDepthMax = 8

// Kind is how the workers of an environment are started.
type Kind uint8

// Kinds of environments that can run.
const (
	External Kind = iota + 1 // by a worker pool service
	Process                  // as processes of this machine
	Docker                   // as containers
)

// String returns the kind's name in messages.
func (k Kind) String() string {
	switch k {
	case External:
		return "external"
	case Process:
		return "process"
	case Docker:
		return "docker"
	}
	return "unknown"
}

// Target is an environment that can run, and how.
type Target struct {
	Kind Kind
	// Env is the environment with capabilities and dependencies: the one of
	// the pipeline, an override's, or the chosen one of AnyOf.
	Env *pipepb.Environment
	// Language is the SDK's language.
	Language Language
	// Endpoint has the worker pool services of an External target, as they were
	// given.
	Endpoint string
	// Services are those services.
	Services []Service
	// Params are passed to that service.
	Params map[string]string
	// Command is what a Process target runs.
	Command string
	// Vars are environment variables for the command.
	Vars map[string]string
	// Image is the container image of a Docker target.
	Image string
}

// String describes where the target runs, fit for an error line.
func (t *Target) String() string {
	where := t.Endpoint
	switch t.Kind {
	case Process:
		where = t.Command
	case Docker:
		where = t.Image
	}
	if t.Language == Unknown {
		return fmt.Sprintf("%v %s", t.Kind, where)
	}
	return fmt.Sprintf("%s, %v %s", t.Language, t.Kind, where)
}

// Resolve decides how workers of env are started. Of an AnyOf environment it
// takes the first that can run, EXTERNAL and PROCESS before the others.
//
// Overrides replace environments: the value is "process:COMMAND ARGS",
// "external:HOST:PORT" (several with commas) or "docker:IMAGE". The key says of which: "process",
// "external" (or "loopback") and an environment's id always apply; a glob for
// container images, a language (python, java, go, typescript) and "docker"
// apply, in this order, to all but PROCESS and EXTERNAL environments.
func Resolve(env *pipepb.Environment, overrides map[string]string) (*Target, error) {
	return ResolveID("", env, overrides)
}

// ResolveID is like Resolve for the environment with the id envID.
func ResolveID(envID string, env *pipepb.Environment, overrides map[string]string) (*Target, error) {
	return resolve(envID, env, overrides, 0)
}

func resolve(envID string, env *pipepb.Environment, overrides map[string]string, depth int) (*Target, error) {
	if v := override(envID, env, overrides); v != "" {
		replaced, err := parseOverride(env, v)
		if err != nil {
			return nil, err
		}
		l := LanguageOf(env)
		t, err := target(replaced)
		if err != nil {
			return nil, err
		}
		t.Language = l
		return t, nil
	}
	if env.GetUrn() == urn.EnvAnyOf {
		return resolveAnyOf(envID, env, overrides, depth)
	}
	return target(env)
}

// resolveAnyOf tries the alternatives, those without overrides first.
func resolveAnyOf(envID string, env *pipepb.Environment, overrides map[string]string, depth int) (*Target, error) {
	if depth >= anyOfDepthMax {
		return nil, errors.New("any-of environments are nested too deeply")
	}
	p := &pipepb.AnyOfEnvironmentPayload{}
	if err := proto.Unmarshal(env.GetPayload(), p); err != nil {
		return nil, fmt.Errorf("any-of environment: %w", err)
	}
	var errs []error
	for _, helped := range []bool{false, true} {
		for _, e := range p.GetEnvironments() {
			if needsHelp(e) != helped {
				continue
			}
			t, err := resolve(envID, e, overrides, depth+1)
			if err == nil {
				return t, nil
			}
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return nil, errors.New("any-of environment has no alternatives")
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, fmt.Errorf("none of %d alternatives can run; the first: %w", len(errs), errs[0])
}

// target checks an environment and takes it apart.
func target(env *pipepb.Environment) (*Target, error) {
	t := &Target{Env: env, Language: LanguageOf(env)}
	switch env.GetUrn() {
	case urn.EnvExternal:
		return externalTarget(t)
	case urn.EnvProcess:
		return processTarget(t)
	case urn.EnvDocker:
		return dockerTarget(t)
	case urn.EnvDefault, "":
		return nil, errors.New("the environment is the runner's default one, and there is none: use --env to name a command or a worker pool")
	}
	return nil, fmt.Errorf("environments of type %q are not supported: use --env to override it", env.GetUrn())
}

func dockerTarget(t *Target) (*Target, error) {
	image := imageOf(t.Env)
	if image == "" {
		return nil, errors.New("docker environment has no image")
	}
	t.Kind, t.Image = Docker, image
	return t, nil
}

func externalTarget(t *Target) (*Target, error) {
	p := &pipepb.ExternalPayload{}
	if err := proto.Unmarshal(t.Env.GetPayload(), p); err != nil {
		return nil, fmt.Errorf("external environment: %w", err)
	}
	if p.GetEndpoint().GetUrl() == "" {
		return nil, errors.New("external environment has no endpoint")
	}
	if a := p.GetEndpoint().GetAuthentication(); a != nil {
		return nil, fmt.Errorf("external environment %s wants authentication %q, which is not supported", p.GetEndpoint().GetUrl(), a.GetUrn())
	}
	services, err := parseServices(p.GetEndpoint().GetUrl())
	if err != nil {
		return nil, fmt.Errorf("external environment: %w", err)
	}
	t.Services = services
	t.Kind, t.Endpoint, t.Params = External, p.GetEndpoint().GetUrl(), p.GetParams()
	return t, nil
}

func processTarget(t *Target) (*Target, error) {
	p := &pipepb.ProcessPayload{}
	if err := proto.Unmarshal(t.Env.GetPayload(), p); err != nil {
		return nil, fmt.Errorf("process environment: %w", err)
	}
	if p.GetCommand() == "" {
		return nil, errors.New("process environment has no command")
	}
	if (p.GetOs() != "" && p.GetOs() != runtime.GOOS) || (p.GetArch() != "" && p.GetArch() != runtime.GOARCH) {
		return nil, fmt.Errorf("process environment is for %s/%s, this is %s/%s", p.GetOs(), p.GetArch(), runtime.GOOS, runtime.GOARCH)
	}
	t.Kind, t.Command, t.Vars = Process, p.GetCommand(), p.GetEnv()
	return t, nil
}
