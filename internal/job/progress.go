package job

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// StageProgress says how far a stage is.
type StageProgress struct {
	Stage           int
	Name            string
	Kind            string
	State           string // waiting, running, done; failed or stopped where the job ended before
	InputElements   int64  // committed
	OutputElements  int64  // committed
	Bundles         int64  // committed
	FailedAttempts  int64
	PendingElements int64 // the backlog: what waits for a bundle
	PendingBytes    int64
	InFlight        int
	Bounded         bool
	InputWatermark  timestamp.Time
	Watermark       timestamp.Time // output watermark
	Waiting         string         // why it is not further
}

// report brings the job's progress up to date.
func (d *driver) report() {
	done := make(chan struct{})
	d.tell(reportWant{done})
	select {
	case <-done:
	case <-d.ctx.Done():
	}
}

// saveProgress stores the progress of all stages with the job.
func (d *driver) saveProgress() {
	all := make([]StageProgress, len(d.j.plan.Stages))
	for i, s := range d.j.plan.Stages {
		st := d.core.Status(i)
		p := StageProgress{
			Stage: i, Name: s.Name, Kind: kindName(s.Kind), State: "waiting",
			InputElements: d.counts[i].in, OutputElements: d.counts[i].out,
			Bundles: d.counts[i].bundles, FailedAttempts: d.counts[i].failed,
			PendingElements: st.Pending, PendingBytes: st.PendingBytes, InFlight: st.InFlight,
			InputWatermark: st.Input, Watermark: st.Output, Waiting: d.waiting(st),
			Bounded: s.Input == nil || s.Input.Bounded,
		}
		switch {
		case st.Complete:
			p.State, p.Waiting = "done", ""
		case d.end != nil && d.end.Stage == s:
			p.State, p.Waiting, p.InFlight = "failed", "", 0
		case d.end != nil:
			p.State, p.Waiting, p.InFlight = "stopped", "", 0
		case st.InFlight > 0:
			p.State, p.Waiting = "running", ""
		}
		all[i] = p
	}
	stats := d.stats
	stats.Workers = d.liveWorkers()
	d.j.mu.Lock()
	d.j.progress, d.j.stats = all, stats
	d.j.mu.Unlock()
}

func kindName(k plan.Kind) string {
	switch k {
	case plan.Impulse:
		return "impulse"
	case plan.SDK:
		return "sdk"
	case plan.Group:
		return "group"
	case plan.TestStream:
		return "test-stream"
	}
	return "unknown"
}

// waiting is the core's explanation, with what the tables know of a shard that
// it ends with.
func (d *driver) waiting(st core.Status) string {
	if st.Holder == nil || d.end != nil {
		return st.Explained
	}
	reader := d.r.store.Snapshot()
	defer reader.Close()
	timers := table.NewTimers(store.NewTxn(reader), d.r.job, st.Holder.Stage)
	h, err := timers.Holder(st.Holder.Shard)
	if err != nil {
		d.log.Warn("a watermark hold cannot be explained", "stage", st.Holder.Stage, "shard", st.Holder.Shard, "err", err)
		return st.Explained
	}
	if text := d.holderText(st.Holder.Stage, h); text != "" {
		return st.Explained + ": " + text
	}
	return st.Explained
}

// holderText says what holds a watermark.
func (d *driver) holderText(stage int, h table.Holder) string {
	grouping := d.j.plan.Stages[stage].Kind == plan.Group
	switch {
	case h.Timer != nil && h.Timer.Transform != "":
		return fmt.Sprintf("timer %q of %s for key %s, set for %s", h.Timer.Family, d.j.transformName(h.Timer.Transform), keyText(h.Timer.Key), fireText(h.Timer))
	case h.Timer != nil && h.Timer.Family == sortFamily && !grouping:
		return fmt.Sprintf("elements of key %s that wait to be sorted by time", keyText(h.Timer.Key))
	case h.Timer != nil && grouping:
		return fmt.Sprintf("the trigger of key %s, due at %s", keyText(h.Timer.Key), fireText(h.Timer))
	case h.Timer != nil:
		return fmt.Sprintf("the window of key %s, which expires at %s", keyText(h.Timer.Key), fireText(h.Timer))
	case h.Owner != nil && grouping: // see keyHolds.owner
		if n, used := binary.Uvarint(h.Owner); used > 0 && n <= uint64(len(h.Owner)-used) {
			return fmt.Sprintf("a pane to come of key %s", keyText(h.Owner[used:used+int(n)]))
		}
	case h.Owner != nil:
		if key, _, err := keyspace.Bytes(h.Owner); err == nil {
			return fmt.Sprintf("state of key %s", keyText(key))
		}
	}
	return ""
}

// fireText is when a timer fires.
func fireText(t *table.Timer) string {
	if t.Domain == table.EventTime {
		return timestamp.Time(t.Fire).String()
	}
	return time.UnixMilli(t.Fire).UTC().Format(time.RFC3339) + " of processing time"
}

// keyTextMax is how many characters, or bytes, of a key are shown.
const keyTextMax = 40

// keyText shows an encoded key: as text where it looks like some, else in
// hexadecimal. A length in front of it is left out.
func keyText(key []byte) string {
	if n, used := binary.Uvarint(key); used > 0 && n > 0 && n == uint64(len(key)-used) {
		key = key[used:]
	}
	if utf8.Valid(key) && printable(string(key)) {
		text := []rune(string(key))
		return strconv.Quote(string(text[:min(len(text), keyTextMax)])) + ellipsis(len(text))
	}
	return "0x" + hex.EncodeToString(key[:min(len(key), keyTextMax)]) + ellipsis(len(key))
}

func ellipsis(n int) string {
	if n > keyTextMax {
		return "…"
	}
	return ""
}

func printable(s string) bool {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}
