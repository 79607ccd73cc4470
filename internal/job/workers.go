package job

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/pharos-beam/pharos/internal/harness/environment"
)

// WorkerInfo is a live worker of a job.
type WorkerInfo struct {
	Name        string
	Environment string // id
	Target      string // how it is run
}

// Workers are the live workers of a running job, by environment.
func (j *Job) Workers() []WorkerInfo {
	var all []WorkerInfo
	for id, p := range j.livePools() {
		for _, h := range p.Harnesses() {
			all = append(all, WorkerInfo{Name: h.Name(), Environment: id, Target: p.Target().String()})
		}
	}
	slices.SortFunc(all, func(a, b WorkerInfo) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// livePools are the pools of a running job that can run, by environment.
func (j *Job) livePools() map[string]*environment.Pool {
	j.mu.Lock()
	d := j.driver
	j.mu.Unlock()
	if d == nil {
		return nil
	}
	pools := maps.Clone(d.pools)
	maps.DeleteFunc(pools, func(_ string, p *environment.Pool) bool { return p.Err() != nil })
	return pools
}

// WorkerStatus asks a live worker what it does: threads, memory, bundles, as
// its SDK tells it. It is ErrNotFound if there is no such worker, and
// fnapi.ErrNoStatus if it does not say.
func (j *Job) WorkerStatus(ctx context.Context, name string) (string, error) {
	for _, p := range j.livePools() {
		for _, h := range p.Harnesses() {
			if h.Name() == name {
				return h.Status(ctx)
			}
		}
	}
	return "", fmt.Errorf("%w: no live worker %q", ErrNotFound, name)
}
