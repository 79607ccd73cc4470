package docker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/pharos-beam/pharos/internal/harness/environment"
)

// Networks that mean something of their own; any other name is a network of the
// engine.
const (
	// HostNetwork shares the runner's network: workers reach its loopback
	// addresses.
	HostNetwork = "host"
	// gatewayName is the name by which containers on a bridge reach the host.
	gatewayName = "host.docker.internal"
)

// Limits of calls to the engine.
const (
	callTimeout   = 30 * time.Second // of a call that does no work to speak of
	createTimeout = 5 * time.Minute  // of one that may copy an image, as some storage drivers do
	pullTimeout   = time.Hour
)

// Options configure an Engine.
type Options struct {
	// Host is the engine's address; DOCKER_HOST, or the system's default, when
	// empty.
	Host string
	// Pull says when images are fetched; PullMissing when empty.
	Pull PullPolicy
	// Network that containers join; DefaultNetwork when empty.
	Network string
	// Volumes are mounted into every container, as HOST:CONTAINER or
	// HOST:CONTAINER:ro.
	Volumes []string
	// Vars are environment variables of every container.
	Vars map[string]string
	// Retain keeps containers after their end.
	Retain bool
	// Log gets the engine's messages; slog.Default() when nil.
	Log *slog.Logger
}

// DefaultNetwork is the host's where the engine runs on the same kernel, and
// the engine's bridge where it runs in a virtual machine.
func DefaultNetwork() string {
	if runtime.GOOS == "linux" {
		return HostNetwork
	}
	return "bridge"
}

// Check reports what is wrong with the options, or nil.
func (o *Options) Check() error {
	if !slices.Contains([]PullPolicy{"", PullMissing, PullAlways, PullNever}, o.Pull) {
		return fmt.Errorf("pull policy %q is not one of missing, always, never", o.Pull)
	}
	for _, v := range o.Volumes {
		parts := strings.Split(v, ":")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !strings.HasPrefix(parts[1], "/") {
			return fmt.Errorf("volume %q is not of the form HOST:/CONTAINER or HOST:/CONTAINER:ro", v)
		}
	}
	for name := range maps.Keys(o.Vars) {
		if name == "" || strings.Contains(name, "=") {
			return fmt.Errorf("%q is not a name of a variable", name)
		}
	}
	return nil
}

// Engine is a Docker engine. It connects when it is first needed.
type Engine struct {
	o     Options
	log   *slog.Logger
	owner owner

	mu      sync.Mutex
	cli     *client.Client
	pulling map[string]*pull
}

var _ environment.Containers = (*Engine)(nil)

// New returns an engine with the given options, which must have been checked.
func New(o Options) *Engine {
	if o.Pull == "" {
		o.Pull = PullMissing
	}
	if o.Network == "" {
		o.Network = DefaultNetwork()
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Engine{o: o, log: o.Log, owner: self(), pulling: map[string]*pull{}}
}

// client connects, which needs no engine yet: its API version is found out with
// the first call.
func (e *Engine) client() (*client.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cli != nil {
		return e.cli, nil
	}
	opts := []client.Opt{client.FromEnv}
	if e.o.Host != "" {
		opts = append(opts, client.WithHost(e.o.Host))
	}
	cli, err := client.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("the Docker engine: %w", err)
	}
	e.cli = cli
	return cli, nil
}

// Close ends the connections. Containers are their pools' business.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cli == nil {
		return nil
	}
	cli := e.cli
	e.cli = nil
	return cli.Close()
}

// Endpoint implements environment.Containers: a container that does not share
// the host's network reaches the runner through the engine's gateway.
func (e *Engine) Endpoint(runner string) (string, error) {
	host, port, err := net.SplitHostPort(runner)
	if err != nil {
		return "", fmt.Errorf("address %q of the runner: %w", runner, err)
	}
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	if e.o.Network == HostNetwork || !loopback {
		return runner, nil
	}
	return net.JoinHostPort(gatewayName, port), nil
}

// Start implements environment.Containers.
func (e *Engine) Start(ctx context.Context, s environment.ContainerSpec) (environment.Container, error) {
	cli, err := e.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	made, err := cli.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: "pharos-" + s.Worker,
		Config: &container.Config{
			Image: s.Image, Cmd: s.Args, Env: e.vars(s.Vars), Labels: e.labels(s),
		},
		HostConfig: e.hostConfig(s),
	})
	if err != nil {
		return nil, fmt.Errorf("create a container of image %s: %w", s.Image, err)
	}
	c := &running{e: e, cli: cli, id: made.ID, name: "pharos-" + s.Worker, done: make(chan struct{})}
	if _, err := cli.ContainerStart(ctx, c.id, client.ContainerStartOptions{}); err != nil {
		c.remove()
		return nil, fmt.Errorf("start a container of image %s: %w", s.Image, err)
	}
	c.watchCtx, c.unwatch = context.WithCancel(context.Background())
	go c.watch()
	return c, nil
}

// vars are the variables of a container: those of the options win.
func (e *Engine) vars(own map[string]string) []string {
	all := maps.Clone(own)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, e.o.Vars)
	out := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, name+"="+all[name])
	}
	return out
}

// hostConfig says how a container meets the host.
func (e *Engine) hostConfig(s environment.ContainerSpec) *container.HostConfig {
	h := &container.HostConfig{
		Binds:       e.o.Volumes,
		NetworkMode: container.NetworkMode(e.o.Network),
	}
	if s.MemoryMax > 0 {
		h.Memory = s.MemoryMax
	}
	if e.o.Network != HostNetwork && runtime.GOOS == "linux" {
		h.ExtraHosts = []string{gatewayName + ":host-gateway"} // elsewhere the engine knows the name
	}
	return h
}
