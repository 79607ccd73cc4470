package environment

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// start starts one worker and watches it until its end.
func (p *Pool) start(wait time.Duration) {
	defer p.wg.Done()
	m, err := p.launch(wait)
	p.mu.Lock()
	p.starting--
	if err == nil && p.closed {
		err = errPoolClosed
	}
	if err != nil {
		p.failures++
		p.lastErr = err
		p.notify()
		p.mu.Unlock()
		if m != nil {
			p.stop(m)
		}
		if !errors.Is(err, context.Canceled) && !errors.Is(err, errPoolClosed) {
			p.opts.Log.Warn("SDK worker did not start", append(p.about(m), "error", err)...)
			if p.opts.OnStartFailure != nil {
				p.opts.OnStartFailure(p.describe(err))
			}
		}
		return
	}
	p.live = append(p.live, m)
	if p.opts.CallerCounts {
		p.failures = 0
	}
	p.notify()
	p.mu.Unlock()
	p.opts.Log.Debug("SDK worker started", "environment", p.envID, "worker", m.h.Name())
	p.watch(m)
}

// about returns what a log line says of m, which may be nil.
func (p *Pool) about(m *member) []any {
	a := []any{"environment", p.envID, "target", p.target.String()}
	if m == nil {
		return a
	}
	a = append(a, "worker", m.h.Name())
	if m.w != nil {
		if out := m.w.output(); out != "" {
			a = append(a, "output", out[max(0, len(out)-outputLogMax):])
		}
	}
	return a
}

// watch waits for the worker's end and takes it out of the pool.
func (p *Pool) watch(m *member) {
	p.attend(m)
	p.mu.Lock()
	for i := range p.live {
		if p.live[i] == m {
			p.live = append(p.live[:i], p.live[i+1:]...)
			break
		}
	}
	if err := m.h.Err(); err != nil && !p.closed {
		if !p.opts.CallerCounts {
			p.failures++
		}
		p.lastErr = err
		p.opts.Log.Warn("SDK worker died", append(p.about(m), "error", err)...)
	}
	p.notify()
	p.mu.Unlock()
	p.stop(m)
}

// launch starts a worker and waits until it is ready. A member that is
// returned with an error must be stopped.
func (p *Pool) launch(wait time.Duration) (*member, error) {
	if err := sleep(p.ctx, wait); err != nil {
		return nil, err
	}
	if p.target.Kind == Docker { // which may take longer than a start
		if err := p.fetch(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.StartTimeout)
	defer cancel()
	prefix := string(p.target.Language)
	if prefix == "" {
		prefix = "sdk"
	}
	id := fnapi.NewWorkerID(prefix)
	m := &member{}
	var mu sync.Mutex // m.w is set after the harness may already fail
	m.h = p.srv.Expect(fnapi.WorkerConfig{
		ID:           id,
		Name:         id[:len(prefix)+1+6], // enough to tell workers apart, not to speak for one
		Endpoint:     p.opts.Endpoint,
		Provision:    p.provisionInfo(),
		Capabilities: p.target.Env.GetCapabilities(),
		Traits:       p.target.traits(),
		OnLog:        p.opts.OnLog,
		Explain: func(err error) error {
			mu.Lock()
			w := m.w
			mu.Unlock()
			if exit := waitExit(p.ctx, w, exitWait); exit != nil {
				return exit
			}
			return err
		},
	})
	w, err := p.launchWorker(ctx, m.h)
	if err != nil {
		m.h.Close(err)
		return nil, err
	}
	mu.Lock()
	m.w = w
	mu.Unlock()
	return m, p.await(ctx, m)
}

// await waits until a worker that has been started is ready.
func (p *Pool) await(ctx context.Context, m *member) error {
	slow := time.NewTicker(max(time.Millisecond, min(slowStart, p.opts.StartTimeout/4)))
	defer slow.Stop()
	began := time.Now()
	for {
		select {
		case <-m.h.Ready():
			return nil
		case <-m.h.Done():
			return m.h.Err()
		case <-m.w.exited():
			return m.w.exitError()
		case <-slow.C:
			p.notice(m.h, fmt.Sprintf("a worker of environment %q (%v) is starting for %v by now; it may take %v%s",
				p.envID, p.target, time.Since(began).Round(time.Second), p.opts.StartTimeout, p.option("--worker-start-timeout")))
		case <-ctx.Done():
			if p.ctx.Err() != nil {
				return errPoolClosed
			}
			return fmt.Errorf("worker did not connect to %s within %v%s", p.opts.Endpoint, p.opts.StartTimeout, p.option("--worker-start-timeout"))
		}
	}
}

// option is an option of the command line that helps, as a message has it.
func (p *Pool) option(text string) string {
	if !p.opts.CommandLine {
		return ""
	}
	return " (" + text + ")"
}

// notice tells the job of a worker.
func (p *Pool) notice(h *fnapi.Harness, text string) {
	p.opts.Log.Warn(text, "worker", h.Name())
	if p.opts.Notice != nil {
		p.opts.Notice(h, text)
	}
}

// launchWorker starts the worker that h expects.
func (p *Pool) launchWorker(ctx context.Context, h *fnapi.Harness) (worker, error) {
	switch p.target.Kind {
	case External:
		return asWorker(p.services.start(ctx, p.target.Params, p.contact(h)))
	case Process:
		return asWorker(startProcess(p.target, p.contact(h), provision{
			options:      p.opts.PipelineOptions,
			capabilities: fnapi.DefaultCapabilities(),
			status:       p.statusEndpoint(),
			secrets:      p.secrets(h),
		}))
	case Docker:
		return asWorker(p.startContainer(ctx, h))
	}
	return nil, fmt.Errorf("cannot start workers of kind %v", p.target.Kind)
}

// asWorker keeps a nil pointer from becoming a worker that is not nil.
func asWorker[W worker](w W, err error) (worker, error) {
	if err != nil {
		return nil, err
	}
	return w, nil
}

// provisionInfo is what workers are told by GetProvisionInfo.
func (p *Pool) provisionInfo() *fnpb.ProvisionInfo {
	info := &fnpb.ProvisionInfo{
		PipelineOptions:  p.opts.PipelineOptions,
		RetrievalToken:   p.opts.Artifacts.Token,
		Dependencies:     p.target.Env.GetDependencies(),
		ArtifactEndpoint: &pipepb.ApiServiceDescriptor{Url: p.artifactEndpoint()},
		Metadata:         p.opts.Metadata,
	}
	if url := p.statusEndpoint(); url != "" {
		info.StatusEndpoint = &pipepb.ApiServiceDescriptor{Url: url}
	}
	return info
}

// statusEndpoint is where workers report their status; "" if they do not.
func (p *Pool) statusEndpoint() string {
	if !p.reportsStatus() {
		return ""
	}
	return p.opts.Endpoint
}

// stop ends a worker: its control stream first, so that it can end by itself.
func (p *Pool) stop(m *member) {
	m.h.Close(nil)
	if m.w != nil {
		m.w.stop()
	}
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
