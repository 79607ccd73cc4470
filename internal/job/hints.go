package job

import (
	"fmt"
	"runtime"
	"strconv"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// hints are what an environment says its workers need; zero where it says
// nothing. Beam writes numbers as decimal text.
type hints struct {
	cpus, ram   int64 // for each worker; ram in bytes
	accelerator string
}

func readHints(env *pipepb.Environment) hints {
	number := func(name string) int64 {
		n, err := strconv.ParseInt(string(env.GetResourceHints()[name]), 10, 64)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	return hints{
		cpus: number(urn.ResourceCPUCount), ram: number(urn.ResourceMinRAMBytes),
		accelerator: string(env.GetResourceHints()[urn.ResourceAccelerator]),
	}
}

// room is how many workers a machine has room for, at least one; ram 0 is not
// known.
func (h hints) room(cpus, ram int64) int {
	n := cpus
	if h.cpus > 0 {
		n = cpus / h.cpus
	}
	if h.ram > 0 && ram > 0 {
		n = min(n, ram/h.ram)
	}
	return int(max(n, 1))
}

// unmet says what the machine does not have; nothing if it has it all.
func (h hints) unmet(cpus, ram int64) (all []string) {
	if h.cpus > cpus {
		all = append(all, fmt.Sprintf("%d CPUs for a worker, and there are %d", h.cpus, cpus))
	}
	if h.ram > ram && ram > 0 {
		all = append(all, fmt.Sprintf("%d MiB of memory for a worker, and there are %d", h.ram>>20, ram>>20))
	}
	if h.accelerator != "" {
		all = append(all, fmt.Sprintf("the accelerator %q, which is not looked for", h.accelerator))
	}
	return all
}

// heed makes a pool that its environment's hints leave room for, of one that the
// runner has sized by itself; workers that run elsewhere are others' business.
// What cannot be had is said in the job's messages, and the job runs without.
func (d *driver) heed(id string, env *pipepb.Environment, pool *environment.Pool, resize func(workers int) *environment.Pool) *environment.Pool {
	h := readHints(env)
	cpus, ram := int64(runtime.GOMAXPROCS(0)), d.j.m.opts.MachineMemory
	for _, what := range h.unmet(cpus, ram) {
		d.j.message(jobpb.JobMessage_JOB_MESSAGE_WARNING, fmt.Sprintf("a resource hint of environment %q is not met: %s", id, what))
	}
	room := h.room(cpus, ram)
	if pool.Err() != nil || pool.Target().Kind == environment.External || pool.Size() <= room {
		return pool
	}
	pool.Close()
	return resize(room)
}
