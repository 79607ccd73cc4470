package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/pharos-beam/pharos/internal/harness/environment"
)

const (
	// outputLines and outputBytesMax bound what is kept of a container's output.
	outputLines    = "200"
	outputBytesMax = 32 << 10
	// watchRetry is the pause before an engine that does not answer is asked
	// again how a container is.
	watchRetry = time.Second
	// killAfter is how many seconds a container has to end after SIGTERM.
	killAfter = 3
)

// running is a container that was started.
type running struct {
	e    *Engine
	cli  *client.Client
	id   string
	name string

	watchCtx context.Context
	unwatch  context.CancelFunc
	done     chan struct{}
	exit     environment.Exit // valid once done
}

// watch waits for the container's end. The engine may be away meanwhile, and
// containers may outlive that.
func (c *running) watch() {
	defer close(c.done)
	for {
		w := c.cli.ContainerWait(c.watchCtx, c.id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
		select {
		case r := <-w.Result:
			c.exit = c.describe(r.StatusCode)
			return
		case err := <-w.Error:
			if c.watchCtx.Err() != nil || cerrdefs.IsNotFound(err) {
				c.exit = environment.Exit{Status: "it was removed"}
				return
			}
			c.e.log.Debug("wait for a container", "container", c.name, "err", err)
		}
		select {
		case <-time.After(watchRetry):
		case <-c.watchCtx.Done():
			return
		}
	}
}

// describe says how the container ended.
func (c *running) describe(code int64) environment.Exit {
	ctx, cancel := context.WithTimeout(c.watchCtx, callTimeout)
	defer cancel()
	exit := environment.Exit{Status: fmt.Sprintf("exit status %d", code), Output: c.output(ctx)}
	if r, err := c.cli.ContainerInspect(ctx, c.id, client.ContainerInspectOptions{}); err == nil && r.Container.State != nil {
		switch s := r.Container.State; {
		case s.OOMKilled:
			exit.Status += " (out of memory)"
		case s.Error != "":
			exit.Status += " (" + s.Error + ")"
		}
	}
	return exit
}

// output is the end of what the container has written.
func (c *running) output(ctx context.Context) string {
	r, err := c.cli.ContainerLogs(ctx, c.id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: outputLines})
	if err != nil {
		return ""
	}
	defer r.Close()
	var text strings.Builder
	_, _ = stdcopy.StdCopy(&text, &text, r) // what came is enough
	out := text.String()
	return out[max(0, len(out)-outputBytesMax):]
}

// Exited implements environment.Container.
func (c *running) Exited() <-chan struct{} { return c.done }

// Exit implements environment.Container.
func (c *running) Exit() environment.Exit { return c.exit }

// Stop implements environment.Container.
func (c *running) Stop(grace time.Duration) {
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
		c.kill()
	}
	c.unwatch()
	<-c.done
	if c.e.o.Retain {
		c.e.log.Info("a container is kept", "container", c.name, "id", c.id)
		return
	}
	c.remove()
}

// kill ends the container by signals.
func (c *running) kill() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	seconds := killAfter
	if _, err := c.cli.ContainerStop(ctx, c.id, client.ContainerStopOptions{Timeout: &seconds}); err != nil && !cerrdefs.IsNotFound(err) {
		c.e.log.Warn("stop a container", "container", c.name, "err", err)
	}
}

// remove removes the container. If the engine does not, the next runner does.
func (c *running) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), createTimeout)
	defer cancel()
	if err := remove(ctx, c.cli, c.id); err != nil {
		c.e.log.Warn("remove a container", "container", c.name, "err", err)
	}
}

// remove removes a container with its anonymous volumes, running or not.
func remove(ctx context.Context, cli *client.Client, id string) error {
	_, err := cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: true, Force: true})
	if cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) {
		return nil // gone, or somebody else is removing it
	}
	return err
}

// Memory implements environment.Container: what the kernel cannot take back.
func (c *running) Memory(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := c.cli.ContainerStats(ctx, c.id, client.ContainerStatsOptions{})
	if err != nil {
		return 0, fmt.Errorf("memory of container %s: %w", c.name, err)
	}
	defer r.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		return 0, fmt.Errorf("memory of container %s: %w", c.name, err)
	}
	if s.MemoryStats.Usage == 0 {
		return 0, fmt.Errorf("memory of container %s: %w", c.name, errors.ErrUnsupported)
	}
	// The page cache is counted in; its names are those of cgroup 1 and 2.
	cache := max(s.MemoryStats.Stats["total_inactive_file"], s.MemoryStats.Stats["inactive_file"])
	return int64(s.MemoryStats.Usage - min(cache, s.MemoryStats.Usage)), nil
}
