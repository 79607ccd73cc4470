package job

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

const (
	// DefaultStuckAfter is how long a bundle may make no progress before its job
	// is told.
	DefaultStuckAfter = 5 * time.Minute
	// statusTimeout is how long a worker has to say what it is doing.
	statusTimeout = 10 * time.Second
	// statusMax bounds what is shown of that, in bytes.
	statusMax = 64 << 10
)

// pace is whether a running bundle gets on. Progress is whatever a worker tells
// or asks: elements, output, state, and metrics of the pipeline's own; that time
// has passed is none.
type pace struct {
	last     time.Time // of the last progress
	activity int64     // of the attempt, then
	work     map[string][]byte
	spent    map[string]uint64 // ms, by transform
	busy     string            // the transform that time has been spent in since
	told     bool              // the job knows
	ended    bool              // the worker is being replaced
}

// progressed compares what the worker reports with what it reported before.
func (p *pace) progressed(infos []*pipepb.MonitoringInfo, now time.Time) {
	work, spent := map[string][]byte{}, map[string]uint64{}
	for _, mi := range infos {
		if strings.Contains(mi.GetUrn(), executionTime) {
			ms, _ := binary.Uvarint(mi.GetPayload())
			spent[mi.GetLabels()["PTRANSFORM"]] += ms
			continue
		}
		work[fmt.Sprint(mi.GetUrn(), mi.GetLabels())] = mi.GetPayload()
	}
	if t := mostSpent(p.spent, spent); t != "" {
		p.busy = t
	}
	if !maps.EqualFunc(work, p.work, bytes.Equal) {
		p.went(now)
	}
	p.work, p.spent = work, spent
}

// executionTime is in the URNs of metrics that time alone changes.
const executionTime = "_execution_time:"

// mostSpent is the transform in which the most time has been spent between two
// reports; "" if none has been.
func mostSpent(before, after map[string]uint64) (transform string) {
	most := uint64(0)
	for _, t := range slices.Sorted(maps.Keys(after)) {
		if d := after[t] - min(before[t], after[t]); d > most {
			transform, most = t, d
		}
	}
	return transform
}

// went notes that the bundle gets on.
func (p *pace) went(now time.Time) { p.last, p.told = now, false }

// watchPace looks for bundles that do not get on.
func (d *driver) watchPace(now time.Time) {
	o := &d.j.m.opts
	for id, ex := range d.running {
		w := ex.attempt.worker.Load()
		if w == nil {
			ex.pace.last = now // what it waits for is said elsewhere
			continue
		}
		if a := ex.attempt.activity.Load(); a != ex.pace.activity {
			ex.pace.activity = a
			ex.pace.went(now)
		}
		stuck := now.Sub(ex.pace.last)
		end := o.BundleTimeout > 0 && stuck >= o.BundleTimeout && !ex.pace.ended
		if tell := stuck >= o.StuckAfter && !ex.pace.told; !tell && !end {
			continue
		}
		ex.pace.told, ex.pace.ended = true, ex.pace.ended || end
		if in, ok := (*w).(inspected); ok {
			d.inspect(in, d.stuckText(id, ex, in, stuck), end)
		}
	}
}

// stuckText names a bundle that does not get on.
func (d *driver) stuckText(bundle uint64, ex *execution, w inspected, stuck time.Duration) string {
	return fmt.Sprintf("bundle %d of transform %s makes no progress for %v on SDK worker %s",
		bundle, d.busyTransform(ex), stuck.Round(time.Second), w.Name())
}

// busyTransform names the transform in which a bundle spends its time, or all
// of its stage.
func (d *driver) busyTransform(ex *execution) string {
	if t := ex.pace.busy; t != "" {
		return d.j.transformName(t)
	}
	var names []string
	for _, id := range ex.attempt.s.plan.Transforms {
		names = append(names, d.j.transformName(id))
	}
	return strings.Join(names, ", ")
}

// inspect tells the job of a bundle that does not get on, with what its worker
// says of its threads, and ends the worker if that is wanted: there is no other
// way to end what runs there.
func (d *driver) inspect(w inspected, text string, end bool) {
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		ctx, cancel := context.WithTimeout(d.ctx, statusTimeout)
		defer cancel()
		cause := fmt.Errorf("it was ended (--bundle-timeout): %s", text)
		status, err := w.Status(ctx)
		switch {
		case errors.Is(err, fnapi.ErrNoStatus):
		case err != nil:
			text += fmt.Sprintf("; it does not say what it does: %v", err)
		default:
			text += "; it says:\n" + strings.ToValidUTF8(status[:min(len(status), statusMax)], "?")
		}
		d.log.Warn("a bundle makes no progress", "worker", w.Name(), "ended", end)
		d.j.message(jobpb.JobMessage_JOB_MESSAGE_WARNING, text)
		if end {
			w.Close(cause)
		}
	}()
}

// workerNotice is what the pool of an environment tells of a worker.
type workerNotice struct{ environment, worker, text string }

// workerNotice tells the job of it, with the transforms that it is about: those
// that run there, or else one that is waiting for it. What runs on a worker that
// is to be replaced gives back what it has not begun, to end soon.
func (d *driver) workerNotice(n workerNotice) {
	var names []string
	for _, ex := range d.running {
		w := ex.attempt.worker.Load()
		if w == nil {
			continue
		}
		if in, ok := (*w).(inspected); ok && in.Name() == n.worker {
			names = append(names, d.busyTransform(ex))
			d.shorten(ex)
		}
	}
	slices.Sort(names)
	text := n.text + "; it is for " + d.r.userOf(n.environment)
	if names = slices.Compact(names); len(names) > 0 {
		text = n.text + "; it runs " + strings.Join(names, ", ")
	}
	d.j.message(jobpb.JobMessage_JOB_MESSAGE_WARNING, text)
}

// shorten has a bundle give back all that it has not begun, with its record.
func (d *driver) shorten(ex *execution) {
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		ex.attempt.split.split(d.ctx, 0, false)
	}()
}
