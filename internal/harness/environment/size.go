package environment

import (
	"runtime"
	"strconv"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Size returns how many workers the pool runs at most.
func (p *Pool) Size() int {
	switch {
	case p.opts.WorkersPerEnvironment > 0:
		return p.opts.WorkersPerEnvironment
	case p.broken == nil && p.target.Kind != External && p.target.Language == Python:
		return runtime.GOMAXPROCS(0) // one interpreter uses one core
	}
	if p.services != nil {
		return p.services.slots()
	}
	return 1
}

// perWorker returns how many bundles a worker should get at a time: enough to
// keep it busy while a bundle waits for the runner.
func (p *Pool) perWorker() int {
	n := p.perWorkerDefault()
	if hint, err := strconv.Atoi(string(p.target.Env.GetResourceHints()[urn.ResourceMaxBundlesPerWorker])); err == nil && hint > 0 {
		n = min(n, hint)
	}
	return n
}

func (p *Pool) perWorkerDefault() int {
	if p.opts.BundlesPerWorker > 0 {
		return p.opts.BundlesPerWorker
	}
	switch p.target.Language {
	case Python:
		if p.target.Kind != External || p.Size() > 1 {
			return 2
		}
		return 4
	case TypeScript:
		return 2
	}
	// With threads for all cores and some that wait for answers to state
	// requests; those that come together travel together.
	return min(16, max(8, 2*runtime.GOMAXPROCS(0)))
}

// Slots returns how many bundles the environment should get at a time.
func (p *Pool) Slots() int {
	if p.broken != nil {
		return 1 // so that someone asks and gets the error
	}
	return p.Size() * p.perWorker()
}

// ComputeSlots returns how many bundles keep the environment busy if they do
// not wait for the runner. More take turns on the cores, and are slower.
func (p *Pool) ComputeSlots() int {
	if p.broken != nil || p.target.Language == Python || p.target.Language == TypeScript {
		return p.Slots()
	}
	return min(p.Slots(), p.Size()*max(2, runtime.GOMAXPROCS(0)))
}

// MaxInput returns how many bytes of input a bundle of the environment may
// have: zero if any. Its SDK is given all of a bundle's input in one message,
// and takes no larger ones.
func (p *Pool) MaxInput() int64 {
	if p.broken != nil {
		return 0
	}
	t := p.target.traits()
	if !t.SingleMessage || t.MaxMessageBytes == 0 {
		return 0
	}
	return int64(t.MaxMessageBytes) - singleMessageRoom
}
