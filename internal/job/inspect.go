package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan/layout"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// Inspection is what is in a store and a spool, of which nobody makes use
// meanwhile.
type Inspection struct {
	Jobs []*InspectedJob // by id
	// Blocks are all that are in the spool's files; Unreferenced those that no job
	// names: the next start of a server removes them.
	Blocks, Unreferenced layout.Amount
	// Torn are bytes at the ends of files that are no blocks: a process died while
	// it wrote them.
	Torn int64
	// Problems are what is wrong, a sentence each, the first maxProblems.
	Problems []string
	Wrong    int // how many there are
}

// InspectedJob is what there is of a job.
type InspectedJob struct {
	ID, Name, State string
	Tables          map[string]layout.Amount // rows, by table
	Blocks          layout.Amount            // that it names
}

// maxProblems is how many problems an Inspection lists.
const maxProblems = 100

// tableNames are the tables for people.
var tableNames = map[keyspace.Table]string{
	keyspace.StateTable: "state", keyspace.ReduceTable: "grouping", keyspace.TimerTable: "timers",
	keyspace.EventIndex: "timers by event time", keyspace.ProcessingIndex: "timers by processing time",
	keyspace.TimerHoldIndex: "timers by hold", keyspace.HoldTable: "holds", keyspace.HoldIndex: "holds by time",
	keyspace.QueueTable: "queues", keyspace.SideInputTable: "side inputs", keyspace.CoreTable: "scheduler",
}

const (
	entryTable = "entry"
	eventTable = "history"
)

// Inspect reads all rows, and with check also all blocks, and looks whether they
// can be read and what they refer to is there. It changes nothing. blocks calls
// its argument with all blocks of the spool.
func Inspect(view store.Reader, blocks func(func(spool.Found)) error, check bool) (*Inspection, error) {
	x := &inspector{view: view, check: check, out: &Inspection{}, jobs: map[string]*InspectedJob{}, blocks: map[uint64]int64{}, bad: map[uint64]error{}}
	if err := blocks(x.found); err != nil {
		return nil, err
	}
	x.reportBad()
	if err := view.Scan(nil, nil, func(key, value []byte) bool {
		if err := x.row(key, value); err != nil {
			x.problem("row %x: %v", shortKey(key), err)
		}
		return true
	}); err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(x.jobs)) {
		j := x.jobs[id]
		x.out.Jobs = append(x.out.Jobs, j)
		if err := x.job(j); err != nil {
			return nil, err
		}
	}
	for _, size := range x.blocks {
		x.out.Unreferenced.Add(1, size)
	}
	return x.out, nil
}

type inspector struct {
	view   store.Reader
	check  bool
	out    *Inspection
	jobs   map[string]*InspectedJob
	blocks map[uint64]int64 // sizes of those that can be read, until a job names them
	bad    map[uint64]error
}

func (x *inspector) problem(format string, args ...any) {
	if x.out.Wrong++; x.out.Wrong <= maxProblems {
		x.out.Problems = append(x.out.Problems, fmt.Sprintf(format, args...))
	}
}

// found takes note of what is in the spool.
func (x *inspector) found(f spool.Found) {
	switch _, twice := x.blocks[f.ID]; {
	case f.Torn:
		x.out.Torn += f.Bytes
	case f.Err != nil:
		x.bad[f.ID] = fmt.Errorf("block %d in segment %s: %w", f.ID, f.Segment, f.Err)
	case !twice:
		x.blocks[f.ID] = f.Bytes
		x.out.Blocks.Add(1, f.Bytes)
	}
}

// reportBad tells of the blocks of which there is no copy that can be read.
func (x *inspector) reportBad() {
	for _, id := range slices.Sorted(maps.Keys(x.bad)) {
		if _, whole := x.blocks[id]; !whole {
			x.problem("%v", x.bad[id])
		}
	}
}

// row counts a row, and looks whether it is one.
func (x *inspector) row(key, value []byte) error {
	kind, job, rest, err := keyspace.Owner(key)
	if err != nil {
		return err
	}
	j := x.jobs[job]
	if j == nil {
		j = &InspectedJob{ID: job, Tables: map[string]layout.Amount{}}
		x.jobs[job] = j
	}
	name := entryTable
	var row keyspace.Row
	switch kind {
	case keyspace.OfEvents:
		name = eventTable
	case keyspace.OfData:
		if row, err = keyspace.ParseRow(rest); err != nil {
			return err
		}
		if name = tableNames[row.Table]; name == "" {
			return fmt.Errorf("%w: table %q", keyspace.ErrMalformed, byte(row.Table))
		}
	}
	addTo(&j.Tables, name, int64(len(key)+len(value)))
	switch {
	case kind == keyspace.OfRecord:
		return x.entry(j, value)
	case !x.check:
		return nil
	case kind == keyspace.OfEvents:
		return json.Unmarshal(value, &Event{})
	}
	return x.data(job, row, value)
}

func (x *inspector) entry(j *InspectedJob, value []byte) error {
	f := &found{id: j.ID}
	if err := json.Unmarshal(value, &f.entry); err != nil {
		return fmt.Errorf("entry of job %s: %w", j.ID, err)
	}
	j.Name, j.State = f.entry.Name, f.entry.State.String()
	_, err := f.request()
	return err
}

// data looks at a row of a job's data, and for what must go with it.
func (x *inspector) data(job string, row keyspace.Row, value []byte) error {
	switch row.Table {
	case keyspace.StateTable:
		_, err := parseCell(row.Rest)
		return err
	case keyspace.ReduceTable:
		_, _, err := keyspace.Bytes(row.Rest)
		return err
	case keyspace.TimerTable:
		return x.timer(job, row, value)
	case keyspace.HoldTable:
		at, _, err := keyspace.Int64(value)
		if err != nil {
			return err
		}
		return x.all(table.NewHolds(nil, job, row.Stage).Append(nil, row.Shard, row.Rest, timestamp.Time(at)))
	case keyspace.EventIndex, keyspace.ProcessingIndex, keyspace.TimerHoldIndex:
		return x.indexed(job, row, keyspace.TimerTable)
	case keyspace.HoldIndex:
		return x.indexed(job, row, keyspace.HoldTable)
	}
	known, err := table.NewSaved().Add(row.Table, row.Stage, row.Shard, row.Rest, value)
	if err == nil && !known {
		err = fmt.Errorf("%w: table %q", keyspace.ErrMalformed, byte(row.Table))
	}
	return err
}

// timer looks for the index entries of a timer.
func (x *inspector) timer(job string, row keyspace.Row, value []byte) error {
	t, err := table.ParseTimer(row.Rest, value)
	if err != nil {
		return err
	}
	return x.all(table.NewTimers(nil, job, row.Stage).Append(nil, row.Shard, &t))
}

// all says which of the rows is not there.
func (x *inspector) all(ops []keyspace.Op) error {
	var errs []error
	for _, op := range ops {
		value, ok, err := x.view.Get(op.Key)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !ok:
			errs = append(errs, fmt.Errorf("row %x, which goes with it, is not there", shortKey(op.Key)))
		case !bytes.Equal(value, op.Value):
			errs = append(errs, fmt.Errorf("row %x, which goes with it, says something else", shortKey(op.Key)))
		}
	}
	return errors.Join(errs...)
}

// indexed looks for the row that an index entry is about. That the row has this
// entry and no other follows from the numbers: see counts.
func (x *inspector) indexed(job string, row keyspace.Row, of keyspace.Table) error {
	_, id, err := keyspace.Int64(row.Rest)
	if err != nil {
		return err
	}
	if _, ok, err := x.view.Get(append(keyspace.Shard(job, of, row.Stage, row.Shard), id...)); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("it is about row %x, which is not there", shortKey(id)))
	}
	return nil
}

// job looks whether what a job as a whole refers to is there.
func (x *inspector) job(j *InspectedJob) error {
	entries := j.Tables[entryTable].Count
	if entries == 0 {
		x.problem("there are rows of a job %q that is not known", j.ID)
	}
	x.counts(j)
	saved, err := table.NewRecords(j.ID).Load(x.view)
	if err != nil {
		x.problem("job %s: %v", j.ID, err)
		return nil
	}
	for _, id := range (&found{saved: saved}).blocks() {
		size, ok := x.blocks[id]
		if !ok {
			x.problem("job %s: block %d is not there, or cannot be read, or is named twice", j.ID, id)
			continue
		}
		delete(x.blocks, id)
		j.Blocks.Add(1, size)
	}
	return nil
}

// counts compares the sizes of tables and their indexes.
func (x *inspector) counts(j *InspectedJob) {
	n := func(t keyspace.Table) int64 { return j.Tables[tableNames[t]].Count }
	if due := n(keyspace.EventIndex) + n(keyspace.ProcessingIndex); due != n(keyspace.TimerTable) {
		x.problem("job %s: %d timers have %d entries by time", j.ID, n(keyspace.TimerTable), due)
	}
	if n(keyspace.HoldTable) != n(keyspace.HoldIndex) {
		x.problem("job %s: %d holds have %d entries by time", j.ID, n(keyspace.HoldTable), n(keyspace.HoldIndex))
	}
}

// shortKey is the beginning of a key that may be long.
func shortKey(key []byte) []byte { return key[:min(len(key), 60)] }

// Tidy removes what the next start of a server would remove: what jobs that
// have ended have left, and blocks that nobody refers to.
func Tidy(s store.Store, blocks *spool.Spool) error {
	l := &journal{store: s}
	all, err := l.load()
	if err != nil {
		return err
	}
	keep := map[uint64]bool{}
	for _, f := range all {
		for _, id := range f.blocks() {
			keep[id] = true
		}
		if isTerminal(f.entry.State) {
			if err := l.sweep(f.id); err != nil {
				return err
			}
		}
	}
	blocks.Retain(keep)
	return nil
}
