package job

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/layout"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/snapshot"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// A snapshot is a cut between two batches of commits: the committer takes a view
// of the store there, and the job goes on while the view is written to a file.
// From before the cut until the file is written no block is dropped.

// cut is a snapshot on its way.
type cut struct {
	path  string
	after After
	done  chan error // gets one
	// The committer fills this in; with Stop it then waits for resume.
	view   store.Reader
	resume chan struct{}
}

// cutMade tells the driver that the committer has taken its view.
type cutMade struct{ *cut }

// cutWritten tells the driver that a cut is in its file, or why not.
type cutWritten struct {
	*cut
	err error
}

// takeSnapshot has a snapshot written to a file.
func (j *Job) takeSnapshot(ctx context.Context, path string, after After) error {
	if err := j.mayBeCut(); err != nil {
		return err
	}
	c := &cut{path: path, after: after, done: make(chan error, 1), resume: make(chan struct{})}
	j.mu.Lock()
	d := j.driver
	j.mu.Unlock()
	if d == nil {
		return j.cutAtRest(ctx, c)
	}
	select {
	case d.inbox <- c:
	case <-d.ctx.Done():
		return fmt.Errorf("%w: it has ended meanwhile", ErrState)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-d.ctx.Done():
	}
	select { // the last thing that it did
	case err := <-c.done:
		return err
	default:
		return fmt.Errorf("%w: it has ended meanwhile", ErrState)
	}
}

// mayBeCut says why there can be no snapshot of the job.
func (j *Job) mayBeCut() error {
	if j.m.journal == nil {
		return fmt.Errorf("%w: the server keeps no data (see --data)", ErrState)
	}
	for _, s := range j.plan.Stages {
		if s.Kind == plan.TestStream {
			return fmt.Errorf("%w: it has a TestStream, and so a clock of its own", ErrState)
		}
	}
	switch state := j.stateNow(); state {
	case jobpb.JobState_RUNNING, jobpb.JobState_STARTING:
		return nil
	case jobpb.JobState_DRAINING:
		return fmt.Errorf("%w: it drains, and its sources have been cut short", ErrState)
	default:
		return fmt.Errorf("%w: it is %v", ErrState, state)
	}
}

// cutAtRest takes a snapshot of a job that is suspended.
func (j *Job) cutAtRest(ctx context.Context, c *cut) error {
	switch {
	case !j.rests():
		return fmt.Errorf("%w: it does not run yet", ErrState)
	case c.after != Continue:
		return fmt.Errorf("%w: it is suspended; a snapshot can be taken, and then it can be cancelled", ErrState)
	case j.layout() == nil:
		return fmt.Errorf("%w: the version of the runner that began it knew no snapshots", ErrState)
	}
	c.view = j.m.opts.Store.Snapshot()
	return j.writeCut(ctx, c)
}

// rests says whether the job is suspended until the runner is started again.
func (j *Job) rests() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.resting
}

// cut begins a snapshot.
func (d *driver) cut(c *cut) {
	d.r.blocks.pin()
	d.cuts[c] = true
	d.committer.cut(c)
}

// cutMade: the committer has taken its view, after commits that the driver knows.
func (d *driver) cutMade(c *cut) {
	delete(d.cuts, c)
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		x := cutWritten{cut: c}
		defer func() { d.tell(x) }()
		defer d.r.blocks.unpin()
		defer d.r.guard(&x.err)
		x.err = d.j.writeCut(d.ctx, c)
	}()
}

// cutWritten ends a snapshot, and with it the job if that was asked for.
func (d *driver) cutWritten(x cutWritten) {
	text := fmt.Sprintf("a snapshot was taken: %s", x.path)
	switch {
	case x.err != nil:
		text = fmt.Sprintf("no snapshot could be taken: %v", x.err)
		close(x.resume)
	case x.after == Stop:
		d.updated = true
		d.step(core.Cancel{})
	case x.after == DrainAfter:
		d.j.Drain()
	}
	d.j.message(jobpb.JobMessage_JOB_MESSAGE_BASIC, text)
	x.done <- x.err
}

// dropCuts gives up the snapshots that were not begun when the job ended.
func (d *driver) dropCuts() {
	for c := range d.cuts {
		if c.view != nil {
			_ = c.view.Close() // it was only read
		}
		d.r.blocks.unpin()
	}
}

// writeCut writes the view of a cut to a file, and closes it.
func (j *Job) writeCut(ctx context.Context, c *cut) error {
	m := &manifest{Job: j.id, JobName: j.name, Layout: j.layout()}
	return errors.Join(writeSnapshot(ctx, c.path, m, c.view, j.m.opts.Spool.Get), c.view.Close())
}

// writeSnapshot writes what a job has to a file.
func writeSnapshot(ctx context.Context, path string, m *manifest, view store.Reader, block func(uint64) ([]byte, error)) error {
	w, err := snapshot.Create(path)
	if err != nil {
		return err
	}
	out := &cutWriter{ctx: ctx, w: w, prefix: keyspace.Job(m.Job), layout: m.Layout}
	out.content = make([]layout.Content, len(m.Layout.Stages))
	var b []byte
	if err = out.write(view, m.Job, block); err == nil {
		m.Content, m.Created = out.content, time.Now().UTC()
		b, err = json.Marshal(m)
	}
	if err != nil {
		w.Abort()
		return err
	}
	_, err = w.Close(b)
	return err
}

// cutWriter copies what a job has into a file, and counts it.
type cutWriter struct {
	ctx     context.Context
	w       *snapshot.Writer
	prefix  []byte
	layout  *layout.Layout
	content []layout.Content
}

// copied are the tables of which rows are written. Others are made of these.
var copied = []keyspace.Table{
	keyspace.CoreTable, keyspace.QueueTable, keyspace.SideInputTable,
	keyspace.StateTable, keyspace.ReduceTable, keyspace.TimerTable, keyspace.HoldTable,
}

func (o *cutWriter) write(view store.Reader, job string, block func(uint64) ([]byte, error)) error {
	saved, err := table.NewRecords(job).Load(view)
	if err != nil {
		return err
	}
	for _, id := range (&found{saved: saved}).blocks() {
		if err := o.ctx.Err(); err != nil {
			return fmt.Errorf("the job has ended meanwhile: %w", err)
		}
		data, err := block(id)
		if err == nil {
			err = o.w.Block(id, data)
		}
		if err != nil {
			return err
		}
	}
	for _, t := range copied {
		if err := o.table(view, t); err != nil {
			return err
		}
	}
	return nil
}

func (o *cutWriter) table(view store.Reader, t keyspace.Table) error {
	lo := append(o.prefix[:len(o.prefix):len(o.prefix)], byte(t))
	var bad error
	err := view.Scan(lo, keyspace.PrefixEnd(lo), func(key, value []byte) bool {
		if bad = o.ctx.Err(); bad == nil {
			bad = o.row(key[len(o.prefix):], value)
		}
		return bad == nil
	})
	return errors.Join(err, bad)
}

func (o *cutWriter) row(key, value []byte) error {
	row, err := keyspace.ParseRow(key)
	if err == nil && row.Stage < len(o.content) {
		err = o.count(row, value)
	}
	if err != nil {
		return fmt.Errorf("row %x: %w", key, err)
	}
	return o.w.Row(key, value)
}

// count adds a row to what there is.
func (o *cutWriter) count(row keyspace.Row, value []byte) error {
	c, size := &o.content[row.Stage], int64(len(row.Rest)+len(value))
	switch row.Table {
	case keyspace.QueueTable:
		saved := table.NewSaved()
		if _, err := saved.Add(row.Table, row.Stage, row.Shard, row.Rest, value); err != nil {
			return err
		}
		c.Queue.Add(saved.Items[0].Block.Count, saved.Items[0].Block.Bytes)
	case keyspace.SideInputTable:
		for len(c.Sides) <= row.Shard {
			c.Sides = append(c.Sides, layout.Amount{})
		}
		c.Sides[row.Shard].Add(1, 0)
	case keyspace.StateTable:
		cell, err := parseCell(row.Rest)
		if err != nil {
			return err
		}
		addTo(&c.States, cell.state, size)
	case keyspace.ReduceTable:
		if o.layout.Stages[row.Stage].Sorts {
			c.Sorted.Add(1, size)
		} else {
			c.Grouped.Add(1, size)
		}
	case keyspace.TimerTable:
		t, err := keyspace.ParseTimerID(row.Rest)
		if err != nil || t.Transform == "" { // else it is the runner's own
			return err
		}
		addTo(&c.Timers, t.Family, size)
	}
	return nil
}

func addTo(m *map[string]layout.Amount, name string, size int64) {
	if *m == nil {
		*m = map[string]layout.Amount{}
	}
	a := (*m)[name]
	a.Add(1, size)
	(*m)[name] = a
}

// cell is what the key of a row of user state says.
type cell struct {
	key, window      []byte
	transform, state string
	rest             []byte // kind of cell and place in it
}

func parseCell(b []byte) (c cell, err error) {
	var transform, state []byte
	for _, part := range []*[]byte{&c.key, &c.window, &transform, &state} {
		if *part, b, err = keyspace.Bytes(b); err != nil {
			return cell{}, err
		}
	}
	c.transform, c.state, c.rest = string(transform), string(state), b
	return c, nil
}

// holdKey is the key that the owner of a hold belongs to, see keyHolds.
func holdKey(owner []byte) ([]byte, error) {
	n, used := binary.Uvarint(owner)
	if used <= 0 || n > uint64(len(owner)-used) {
		return nil, fmt.Errorf("%w: owner of a hold", keyspace.ErrMalformed)
	}
	return owner[used : used+int(n)], nil
}
