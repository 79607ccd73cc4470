package environment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// Containers runs the workers of DOCKER environments; package docker has one.
// All methods may be called concurrently.
type Containers interface {
	// Fetch makes an image available. It may take as long as a download does.
	Fetch(ctx context.Context, image string) error
	// Endpoint is the address by which a container reaches what is at the given
	// address for this process.
	Endpoint(runner string) (string, error)
	// Start starts a container.
	Start(ctx context.Context, s ContainerSpec) (Container, error)
}

// ContainerSpec says what a worker's container is.
type ContainerSpec struct {
	Image string
	Args  []string // of the image's entry point
	Vars  map[string]string
	// Worker, Job and Environment are names, for people who look at containers.
	Worker, Job, Environment string
	// MemoryMax in bytes, beyond which the kernel ends it; 0: no limit.
	MemoryMax int64
}

// Container is a worker's container.
type Container interface {
	// Exited is closed when it has ended.
	Exited() <-chan struct{}
	// Exit says how, once it has.
	Exit() Exit
	// Memory is how many bytes it holds.
	Memory(ctx context.Context) (int64, error)
	// Stop ends it, at once if it has not done so itself after grace, and
	// removes it. It returns when that is done.
	Stop(grace time.Duration)
}

// ErrNoEngine is wrapped by errors of Containers that say that the engine cannot
// be reached.
var ErrNoEngine = errors.New("there is no container engine")

// fetch makes the image of a target available.
func (p *Pool) fetch() error {
	err := p.opts.Containers.Fetch(p.ctx, p.target.Image)
	if errors.Is(err, ErrNoEngine) {
		key := string(p.target.Language)
		if key == "" {
			key = "docker"
		}
		return fmt.Errorf("%w%s", err, p.option(fmt.Sprintf("to do without: --env %s=process:COMMAND or --env %s=external:HOST:PORT", key, key)))
	}
	return err
}

// Exit is the end of a container.
type Exit struct {
	Status string // like "exit status 1"
	Output string // the end of what it has written
}

// container is a worker that is a container.
type container struct {
	Container
	secrets secrets
}

// startContainer starts the target's image with the flags of Beam's container
// contract.
func (p *Pool) startContainer(ctx context.Context, h *fnapi.Harness) (*container, error) {
	c, err := p.opts.Containers.Start(ctx, ContainerSpec{
		Image:  p.target.Image,
		Args:   p.contact(h).flags(),
		Vars:   p.target.Vars,
		Worker: h.Name(), Job: p.opts.Job, Environment: p.envID,
	})
	if err != nil {
		return nil, err
	}
	return &container{Container: c, secrets: p.secrets(h)}, nil
}

func (c *container) exited() <-chan struct{} { return c.Exited() }

func (c *container) exitError() error {
	e := c.Exit()
	return fmt.Errorf("its container ended with %s%s", e.Status, lastLine([]byte(c.secrets.hide(e.Output))))
}

func (c *container) memory(ctx context.Context) (int64, error) { return c.Memory(ctx) }

func (c *container) stop() { c.Stop(processStopTimeout) }

// output is the end of what the container has written, once it has ended.
func (c *container) output() string {
	select {
	case <-c.Exited():
		return c.secrets.hide(c.Exit().Output)
	default:
		return ""
	}
}
