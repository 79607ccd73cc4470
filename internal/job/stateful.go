package job

import (
	"math"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// Families of timers that the runner sets for itself in SDK stages. They have
// no transform, so they cannot be taken for one of the user's.
const (
	// gcFamily drops the state of a window that has expired.
	gcFamily = "gc"
	// sortFamily feeds elements that had to wait for earlier ones.
	sortFamily = "sort"
)

// admission lets elements into a stateful stage: it drops those of expired
// windows, sets what has to happen when the others' windows expire, and puts
// aside what has to be sorted by time first.
type admission struct {
	a     *attempt
	seen  map[string]bool // keys and windows whose expiry has been taken care of
	rows  uint32          // elements put aside
	first map[string]timestamp.Time
	// scratch
	windows []byte
}

// admits says whether elements of the stage need admission at all.
func (s *stage) admits() bool {
	return s.plan.Keyed && (s.plan.Streaming || len(s.plan.ExpiryTimers) > 0)
}

// admit returns what is to be fed now of a run of elements, and how many
// elements that are.
func (d *admission) admit(data []byte) (feed []byte, n int64, err error) {
	d.a.split.mu.Lock() // the transaction is shared with state requests
	defer d.a.split.mu.Unlock()
	whole := true // so far, everything: then nothing is copied
	at := 0
	err = d.a.s.input.eachElement(data, func(e *coder.Element) error {
		raw, keep, err := d.one(e)
		if err != nil {
			return err
		}
		at += len(e.Raw)
		if keep {
			n++
		}
		if keep && len(raw) == len(e.Raw) {
			if !whole {
				feed = append(feed, raw...)
			}
			return nil
		}
		if whole {
			feed = append(feed, data[:at-len(e.Raw)]...)
			whole = false
		}
		if keep {
			feed = append(feed, raw...)
		}
		return nil
	})
	if whole {
		feed = data
	}
	return feed, n, err
}

// one admits an element: it returns its encoding, without windows that have
// expired, and whether it is fed now.
func (d *admission) one(e *coder.Element) (raw []byte, keep bool, err error) {
	a := d.a
	key, _, err := coder.SplitKV(a.s.input.elem, e.Value)
	if err != nil {
		return nil, false, err
	}
	d.windows = d.windows[:0]
	alive := 0
	err = a.s.input.scanner.EachWindow(e, func(w []byte) error {
		end, err := a.s.strategy.Kind.MaxTimestamp(w)
		if err != nil {
			return err
		}
		if a.s.plan.Streaming && a.s.strategy.Late(end, a.ev.Watermark) {
			a.dropped++
			return nil
		}
		alive++
		d.windows = append(d.windows, w...)
		return d.expire(key, w, end)
	})
	if err != nil {
		return nil, false, err
	}
	switch {
	case alive == 0:
		return nil, false, nil
	case a.s.plan.TimeSorted && a.s.plan.Streaming:
		return nil, false, d.putAside(key, e, alive)
	case alive == e.NumWindows:
		return e.Raw, true, nil
	}
	return d.encode(e, alive), true, nil
}

func (d *admission) encode(e *coder.Element, windows int) []byte {
	return append(coder.AppendHeader(nil, e.Timestamp, d.windows, windows, e.Pane), e.Value...)
}

// expire sets the timers for the end of a window of a key.
func (d *admission) expire(key, w []byte, end timestamp.Time) error {
	a := d.a
	id := string(keyspace.HoldOwner(key, w))
	if d.seen[id] {
		return nil
	}
	if d.seen == nil {
		d.seen = map[string]bool{}
	}
	d.seen[id] = true
	shard, err := a.shardOf(key)
	if err != nil {
		return err
	}
	expiry := a.s.strategy.Expiry(end)
	for _, k := range a.s.families {
		if a.s.plan.ExpiryTimers[k.transform] != k.family {
			continue
		}
		// At the expiry itself elements still come.
		t := table.Timer{Transform: k.transform, Family: k.family, Key: key, Window: w,
			Domain: table.EventTime, Fire: int64(min(expiry+1, timestamp.Max)), Hold: end}
		if err := a.timers.Set(shard, t); err != nil {
			return err
		}
	}
	// What expires with the job is dropped with the job.
	gc := expiry + 2
	if !a.s.plan.Streaming || a.s.strategy.Kind == window.Global || gc > timestamp.Max {
		return nil
	}
	return a.timers.Set(shard, table.Timer{Family: gcFamily, Key: key, Window: w,
		Domain: table.EventTime, Fire: int64(gc), Hold: commitNone})
}

// sortRows is the prefix of what is put aside for a key, in order of time.
func (a *attempt) sortRows(shard int, key []byte) []byte {
	return keyspace.Reduce(a.r.job, a.ev.Stage, shard, key)
}

// putAside keeps an element until none before it can come any more. One that
// is itself later than that is dropped, as it could not be fed in order.
func (d *admission) putAside(key []byte, e *coder.Element, windows int) error {
	a := d.a
	if d.a.released(e.Timestamp) {
		a.dropped += int64(windows)
		return nil
	}
	shard, err := a.shardOf(key)
	if err != nil {
		return err
	}
	row := keyspace.AppendTime(a.sortRows(shard, key), e.Timestamp)
	row = keyspace.AppendUint32(keyspace.AppendUint64(row, a.ev.Bundle), d.rows)
	d.rows++
	if err := a.txn.Set(row, d.encode(e, windows)); err != nil {
		return err
	}
	if d.first == nil {
		d.first = map[string]timestamp.Time{}
	}
	if t, ok := d.first[string(key)]; ok && t <= e.Timestamp {
		return nil
	}
	d.first[string(key)] = e.Timestamp
	return a.awaitSorted(shard, key)
}

// released says whether elements with a timestamp are fed without waiting for
// others.
func (a *attempt) released(t timestamp.Time) bool {
	return a.ev.Watermark >= timestamp.Max || t.Add(a.s.strategy.AllowedLatenessMS) < a.ev.Watermark
}

// awaitSorted sets the timer and the hold for the first of the elements put
// aside for a key, or clears them when there is none.
func (a *attempt) awaitSorted(shard int, key []byte) error {
	first := commitNone
	rows := a.sortRows(shard, key)
	var bad error
	err := a.txn.Scan(rows, keyspace.PrefixEnd(rows), func(k, _ []byte) bool {
		var ms int64
		ms, _, bad = keyspace.Int64(k[len(rows):])
		first = timestamp.Time(ms)
		return false
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return err
	}
	t := table.Timer{Family: sortFamily, Key: key, Domain: table.EventTime, Hold: first}
	if first == commitNone {
		return a.timers.Clear(shard, t)
	}
	t.Fire = int64(min(first.Add(a.s.strategy.AllowedLatenessMS)+1, timestamp.Max))
	return a.timers.Set(shard, t)
}

// feedSorted feeds what was put aside for a key, up to a time, as far as
// nothing before it can come. It returns the number of elements.
func (a *attempt) feedSorted(c *chunks, shard int, key []byte, upTo timestamp.Time) (int64, error) {
	rows := a.sortRows(shard, key)
	var (
		data []byte
		n    int64
		gone [][]byte
		bad  error
	)
	err := a.txn.Scan(rows, keyspace.PrefixEnd(rows), func(k, v []byte) bool {
		ms, _, err := keyspace.Int64(k[len(rows):])
		if err != nil {
			bad = err
			return false
		}
		if t := timestamp.Time(ms); t > upTo || !a.released(t) || len(data) >= a.r.blocks.bytes {
			return false
		}
		data = append(data, v...)
		gone = append(gone, append([]byte(nil), k...))
		n++
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil || n == 0 {
		return 0, err
	}
	for _, k := range gone {
		if err := a.txn.Delete(k); err != nil {
			return 0, err
		}
	}
	c.ready = append(c.ready, bundle.Chunk{Transform: c.port, Data: data, Elements: n})
	return n, a.awaitSorted(shard, key)
}

// ownTimers does what the runner's own timers among those due ask for, and
// returns the user's that may fire in this bundle: of each key what is earlier
// goes first, be it elements put aside or a timer, and a window is dropped when
// nothing else of its key is due any more.
func (a *attempt) ownTimers(c *chunks, shard int, due []table.Timer) ([]table.Timer, error) {
	first := map[string]int64{} // the earliest timer of the user, by key
	own := false
	for _, t := range due {
		if t.Transform == "" {
			own = true
		} else if _, ok := first[string(t.Key)]; !ok {
			first[string(t.Key)] = t.Fire
		}
	}
	if !own {
		return due, nil
	}
	busy := map[string]bool{}
	for _, t := range due {
		if t.Transform != "" || t.Family != sortFamily {
			continue
		}
		upTo := timestamp.Time(math.MaxInt64)
		if fire, ok := first[string(t.Key)]; ok {
			upTo = timestamp.Time(fire)
		}
		n, err := a.feedSorted(c, shard, t.Key, upTo)
		if err != nil {
			return nil, err
		}
		busy[string(t.Key)] = n > 0
	}
	var users []table.Timer
	for _, t := range due {
		_, waits := first[string(t.Key)]
		switch {
		case t.Transform != "" && !busy[string(t.Key)]:
			users = append(users, t)
		case t.Transform == "" && t.Family == gcFamily && !waits && !busy[string(t.Key)]:
			if err := a.timers.DropWindow(shard, t.Key, t.Window); err != nil {
				return nil, err
			}
		}
	}
	return users, nil
}
