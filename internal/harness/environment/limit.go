package environment

import (
	"fmt"
	"time"
)

const (
	// measureEvery is how often a worker's memory is looked at.
	measureEvery = time.Second
	// hardFactor times the limit is what ends a worker within its bundle: until
	// then the bundle may end in peace.
	hardFactor = 2
)

// attend waits for a worker's end, and sees to it that it keeps its limits.
func (p *Pool) attend(m *member) {
	var tick <-chan time.Time
	if p.opts.MemoryMax > 0 {
		t := time.NewTicker(measureEvery)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-m.h.Done():
			return
		case <-m.w.exited():
			m.h.Close(m.w.exitError())
			return
		case <-tick:
			p.measure(m)
		}
	}
}

// measure looks at a worker's memory. One that holds too much gets no more
// bundles and is replaced; one that holds far too much ends at once.
func (p *Pool) measure(m *member) {
	held, err := m.w.memory(p.ctx)
	if err != nil || held <= p.opts.MemoryMax {
		return
	}
	if held > hardFactor*p.opts.MemoryMax {
		m.h.Close(fmt.Errorf("it held %s of memory, more than %d times the %s that a worker may (--worker-memory)",
			mebibytes(held), hardFactor, mebibytes(p.opts.MemoryMax)))
		return
	}
	p.mu.Lock()
	first := !m.retired
	m.retired = true
	idle := m.load == 0
	p.notify()
	p.mu.Unlock()
	if first {
		p.notice(m.h, fmt.Sprintf("SDK worker %s holds %s of memory, more than the %s that a worker may (--worker-memory): it is replaced after its bundle",
			m.h.Name(), mebibytes(held), mebibytes(p.opts.MemoryMax)))
	}
	if idle {
		m.h.Close(nil)
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
