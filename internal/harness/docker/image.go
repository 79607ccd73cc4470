package docker

import (
	"context"
	"fmt"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/pharos-beam/pharos/internal/harness/environment"
)

// PullPolicy says when images are fetched from their registry.
type PullPolicy string

// Policies of fetching images.
const (
	PullMissing PullPolicy = "missing" // if the engine does not have it
	PullAlways  PullPolicy = "always"  // once for each runner, in case there is a newer one
	PullNever   PullPolicy = "never"
)

// pull is one image's fetch, which all workers that need it wait for.
type pull struct {
	done chan struct{}
	err  error
}

// Fetch implements environment.Containers.
func (e *Engine) Fetch(ctx context.Context, image string) error {
	cli, err := e.client()
	if err != nil {
		return err
	}
	e.mu.Lock()
	p := e.pulling[image]
	mine := p == nil
	if mine {
		p = &pull{done: make(chan struct{})}
		e.pulling[image] = p
	}
	e.mu.Unlock()
	if mine {
		p.err = e.fetch(ctx, cli, image)
		if p.err != nil {
			e.mu.Lock()
			delete(e.pulling, image) // the next one tries again
			e.mu.Unlock()
		}
		close(p.done)
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch brings an image to the engine, if the policy says so.
func (e *Engine) fetch(ctx context.Context, cli *client.Client, image string) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	have, err := e.has(ctx, cli, image)
	if err != nil {
		return err
	}
	switch {
	case have && e.o.Pull != PullAlways:
		return nil
	case e.o.Pull == PullNever:
		return fmt.Errorf("image %s is not there, and images are never pulled", image)
	}
	e.log.Info("pulling a container image", "image", image)
	r, err := cli.ImagePull(ctx, image, client.ImagePullOptions{})
	if err == nil {
		err = r.Wait(ctx)
	}
	switch {
	case err == nil:
		return nil
	case have:
		e.log.Warn("a container image cannot be pulled: the one that is there is used", "image", image, "err", err)
		return nil
	}
	return fmt.Errorf("pull image %s: %w", image, err)
}

// has tells whether the engine has an image.
func (e *Engine) has(ctx context.Context, cli *client.Client, image string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := cli.ImageInspect(ctx, image)
	switch {
	case err == nil:
		return true, nil
	case cerrdefs.IsNotFound(err):
		return false, nil
	}
	if client.IsErrConnectionFailed(err) {
		return false, fmt.Errorf("%w at %s", environment.ErrNoEngine, cli.DaemonHost())
	}
	return false, fmt.Errorf("the Docker engine at %s: %w", cli.DaemonHost(), err)
}
