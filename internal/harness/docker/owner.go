package docker

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/pharos-beam/pharos/internal/harness/environment"
)

// Labels of the containers that runners start.
const (
	labelOwner       = "pharos.owner" // see owner
	labelWorker      = "pharos.worker"
	labelJob         = "pharos.job"
	labelEnvironment = "pharos.environment"
	labelRetain      = "pharos.retain" // there on those that nobody removes
)

// owner names a process in a way that tells it from every other, also from
// later ones with its number and from those of other machines and containers.
type owner struct {
	host  string // the machine's name
	boot  string // changes when the machine starts
	space string // the namespace of process numbers: each container has its own
	pid   int
	start string // when the process started, in ticks since boot
}

// self is this process; zero where the system does not tell.
func self() owner {
	host, _ := os.Hostname()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return owner{}
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return owner{}
	}
	start, ok := startOf(os.Getpid())
	if !ok {
		return owner{}
	}
	return owner{host, strings.TrimSpace(string(boot)), space, os.Getpid(), start}
}

// startOf is when a process started, and whether there is one.
func startOf(pid int) (string, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// The command, in parentheses, may have any characters.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const startField = 19 // the 22nd of proc(5), less pid and command
	if len(fields) <= startField || fields[0] == "Z" {
		return "", false
	}
	return fields[startField], true
}

// String is the owner as a label.
func (o owner) String() string {
	return fmt.Sprintf("%s %s %s %d %s", o.host, o.boot, o.space, o.pid, o.start)
}

// parseOwner reads a label.
func parseOwner(s string) (o owner, ok bool) {
	f := strings.Split(s, " ")
	if len(f) != 5 {
		return owner{}, false
	}
	pid, err := strconv.Atoi(f[3])
	return owner{f[0], f[1], f[2], pid, f[4]}, err == nil && pid > 0
}

// gone tells whether other has ended for certain, as seen from o: a process of
// an earlier start of this machine, or one that is not there any more. Of other
// machines and other containers nothing is known.
func (o owner) gone(other owner) bool {
	if o.host == "" || o.host != other.host {
		return false
	}
	if o.boot != other.boot {
		return true
	}
	if o.space != other.space {
		return false
	}
	start, ok := startOf(other.pid)
	return !ok || start != other.start
}

// labels of a worker's container.
func (e *Engine) labels(s environment.ContainerSpec) map[string]string {
	l := map[string]string{
		labelOwner: e.owner.String(), labelWorker: s.Worker, labelJob: s.Job, labelEnvironment: s.Environment,
	}
	if e.o.Retain {
		l[labelRetain] = "true"
	}
	return l
}

// Sweep removes the containers of runners of this machine that have ended
// without doing so. It returns how many.
func (e *Engine) Sweep(ctx context.Context) (int, error) {
	cli, err := e.client()
	if err != nil {
		return 0, err
	}
	all, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", labelOwner)})
	if err != nil {
		return 0, fmt.Errorf("list containers: %w", err)
	}
	removed := 0
	for _, c := range all.Items {
		o, ok := parseOwner(c.Labels[labelOwner])
		if !ok || c.Labels[labelRetain] != "" || !e.owner.gone(o) {
			continue
		}
		began := time.Now()
		if err := remove(ctx, cli, c.ID); err != nil {
			return removed, fmt.Errorf("remove the container of a runner that is gone: %w", err)
		}
		removed++
		e.log.Info("removed a container of a runner that is gone", "container", c.ID[:min(12, len(c.ID))], "job", c.Labels[labelJob], "took", time.Since(began))
	}
	return removed, nil
}
