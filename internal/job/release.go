package job

import (
	"context"
	"sync"
)

// close ends everything that the job started and gives its space back.
func (d *driver) close() {
	defer d.release() // even if the core is broken
	d.saveProgress()
	if d.j.settings.sampling {
		d.j.collectSamples(context.Background()) // the last chance
	}
}

func (d *driver) release() {
	d.j.mu.Lock()
	d.j.driver = nil
	d.j.metrics.live = nil
	d.j.mu.Unlock()
	d.clock.Stop()
	if d.end == nil || !d.end.Cancelled || d.updated {
		d.callbacks.Wait() // they need the workers; what is committed is to be finalized
	}
	d.stop()
	var wg sync.WaitGroup
	for _, p := range d.pools {
		wg.Add(1)
		go func() {
			defer wg.Done()
			p.Close()
		}()
	}
	wg.Wait()
	d.wg.Wait()
	d.closeTestStreams()
	d.committer.wait()
	d.dropCuts()
	if d.suspended {
		return // it goes on when the runner is started again
	}
	d.r.dropSides()
	d.r.blocks.dropAll()
	tx := d.j.m.opts.Store
	if err := dropJob(tx, d.j.id); err != nil {
		d.log.Warn("the job's state cannot be dropped", "err", err)
	}
	d.j.m.dropArtifacts(d.j.id)
}
