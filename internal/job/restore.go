package job

import (
	"context"
	"errors"
	"fmt"
	"slices"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/failpoint"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/layout"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/snapshot"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// Origin is the snapshot that a job begins from.
type Origin struct {
	// Path of the file.
	Path string
	// Lossy: what has no place in the new pipeline is left behind.
	Lossy bool `json:",omitempty"`
	// ShapesOnly and Renamed are layout.Options.
	ShapesOnly bool              `json:",omitempty"`
	Renamed    map[string]string `json:",omitempty"`
	// Restored: the job has what was in the file, and does not need it any more.
	Restored bool `json:",omitempty"`
}

func (o *Origin) matching() layout.Options {
	return layout.Options{ShapesOnly: o.ShapesOnly, Renamed: o.Renamed}
}

// check says what of the snapshot has no place in a job, as a
// *pipeline.Rejection.
func (o *Origin) check(j *Job) error {
	s, err := openSnapshot(o.Path)
	if err != nil {
		return &pipeline.Rejection{Reasons: []string{err.Error()}}
	}
	for _, st := range j.plan.Stages {
		if st.Kind == plan.TestStream {
			return &pipeline.Rejection{Reasons: []string{"a job with a TestStream has a clock of its own, and cannot begin from a snapshot"}}
		}
	}
	_, lost := layout.Match(s.Layout, s.Content, j.layout(), o.matching())
	if len(lost) == 0 || o.Lossy {
		return nil
	}
	reasons := []string{fmt.Sprintf("snapshot %s of job %s does not fit it; to leave behind what is listed, allow it (--allow-non-restored)", s.Name, s.JobName)}
	return &pipeline.Rejection{Reasons: append(reasons, lost...)}
}

// errCancelled: the job was cancelled while it was restored.
var errCancelled = errors.New("cancelled")

// restore gives the job what is in the snapshot that it begins from.
func (j *Job) restore(ctx context.Context) error {
	f, err := snapshot.Open(j.origin.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := describeSnapshot(j.origin.Path, f)
	if err != nil {
		return err
	}
	if err := dropJob(j.m.opts.Store, j.id); err != nil { // of an attempt before
		return err
	}
	r := newRestorer(&runner{
		job: j.id, plan: j.plan, shards: j.m.shards(), blocks: newBlocks(j.m.opts.Spool, j.m.opts.Memory.Block()), store: j.m.opts.Store, durable: j.m.opts.Durable,
	}, s, j.layout(), j.origin.matching())
	r.cancel = j.cancel
	if err := r.read(ctx, f); err != nil {
		r.discard()
		return err
	}
	j.found, err = r.found()
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.Restore)
	j.mu.Lock()
	j.origin.Restored = true
	j.mu.Unlock()
	if err := j.save(true); err != nil {
		return err
	}
	failpoint.Hit(failpoint.Restored)
	for _, text := range r.lost {
		j.message(jobpb.JobMessage_JOB_MESSAGE_WARNING, "left behind: "+text)
	}
	j.message(jobpb.JobMessage_JOB_MESSAGE_BASIC, fmt.Sprintf("the job goes on from snapshot %s of job %s (%s)", s.Name, s.JobName, s.Job))
	return nil
}

const (
	// restoreOps and restoreBytes are the size of the batches in which a snapshot
	// is applied.
	restoreOps   = 10_000
	restoreBytes = 4 << 20
)

// restorer turns the rows and blocks of a snapshot into those of a new job.
type restorer struct {
	job     string
	cancel  <-chan struct{}
	runner  *runner // for the coders of its plan
	store   store.Store
	spool   *spool.Spool
	durable bool
	records *table.Records
	now     *layout.Layout
	targets []layout.Target
	lost    []string

	blocks map[uint64]uint64 // new ids
	used   map[uint64]bool   // by new id
	saved  *table.Saved      // the scheduler's rows
	shards map[int]map[int]*commit.Shard
	timers map[int]*table.Timers // by new stage
	holds  map[int]*table.Holds
	ops    []keyspace.Op
	bytes  int
}

func newRestorer(r *runner, s *Snapshot, now *layout.Layout, o layout.Options) *restorer {
	re := &restorer{
		job: r.job, cancel: make(chan struct{}), store: r.store, spool: r.blocks.spool, durable: r.durable, runner: r,
		records: table.NewRecords(r.job), now: now,
		blocks: map[uint64]uint64{}, used: map[uint64]bool{}, saved: table.NewSaved(), shards: map[int]map[int]*commit.Shard{},
		timers: map[int]*table.Timers{}, holds: map[int]*table.Holds{},
	}
	re.targets, re.lost = layout.Match(s.Layout, s.Content, now, o)
	return re
}

// read takes over the whole file.
func (r *restorer) read(ctx context.Context, f *snapshot.File) error {
	err := f.Each(func(id uint64, data []byte) error {
		if err := r.interrupted(ctx); err != nil {
			return err
		}
		return r.block(id, data)
	}, func(key, value []byte) error {
		if err := r.interrupted(ctx); err != nil {
			return err
		}
		row, err := keyspace.ParseRow(key)
		if err == nil {
			err = r.row(row, value)
		}
		if err != nil {
			return fmt.Errorf("row %x: %w", key, err)
		}
		return r.flush(restoreOps, restoreBytes)
	})
	if err == nil {
		err = r.scheduling()
	}
	if err == nil {
		err = r.flush(1, 0)
	}
	if err != nil {
		return err
	}
	r.dropUnused()
	if !r.durable {
		return nil
	}
	ids := make([]uint64, 0, len(r.used))
	for id := range r.used {
		ids = append(ids, id)
	}
	return r.spool.Sync(ids...)
}

func (r *restorer) interrupted(ctx context.Context) error {
	select {
	case <-r.cancel:
		return errCancelled
	default:
		return ctx.Err()
	}
}

// flush applies what there is, if it is much.
func (r *restorer) flush(ops, bytes int) error {
	if len(r.ops) == 0 || len(r.ops) < ops && r.bytes < bytes {
		return nil
	}
	err := r.store.Apply(r.ops, false)
	r.ops, r.bytes = r.ops[:0], 0
	return err
}

func (r *restorer) set(key, value []byte) {
	r.ops = append(r.ops, keyspace.Op{Kind: keyspace.Set, Key: key, Value: value})
	r.bytes += len(key) + len(value)
}

// block stores a block under a new name. Names of the job are larger than all
// of the one before, so that elements that name a block name one.
func (r *restorer) block(id uint64, data []byte) error {
	r.spool.Reserve(id)
	to, err := r.spool.Put(data)
	if err == nil {
		r.blocks[id] = to
	}
	return err
}

// row takes over a row; those of the scheduler wait for the last.
func (r *restorer) row(row keyspace.Row, value []byte) error {
	if known, err := r.saved.Add(row.Table, row.Stage, row.Shard, row.Rest, value); known {
		return err
	}
	if row.Stage >= len(r.targets) {
		return fmt.Errorf("%w: stage %d", keyspace.ErrMalformed, row.Stage)
	}
	t := &r.targets[row.Stage]
	if t.Keyed < 0 {
		return nil
	}
	switch row.Table {
	case keyspace.StateTable:
		return r.state(t, row.Rest, value)
	case keyspace.ReduceTable:
		return r.reduce(t, row.Rest, value)
	case keyspace.TimerTable:
		return r.timer(t, row.Rest, value)
	case keyspace.HoldTable:
		return r.hold(t, row.Rest, value)
	}
	return fmt.Errorf("%w: table %q", keyspace.ErrMalformed, byte(row.Table))
}

func (r *restorer) shardOf(key []byte) int { return keyspace.ShardOf(key, r.runner.shards) }

func (r *restorer) state(t *layout.Target, rest, value []byte) error {
	c, err := parseCell(rest)
	if err != nil || !t.States[c.state] {
		return err
	}
	key := keyspace.Shard(r.job, keyspace.StateTable, t.Keyed, r.shardOf(c.key))
	key = keyspace.AppendBytes(keyspace.AppendBytes(key, c.key), c.window)
	key = keyspace.AppendString(keyspace.AppendString(key, r.now.Stages[t.Keyed].Transform), c.state)
	r.set(append(key, c.rest...), value)
	return nil
}

// reduce takes over what is grouped, or put aside to be sorted.
func (r *restorer) reduce(t *layout.Target, rest, value []byte) error {
	if !t.Grouped && !t.Sorted {
		return nil
	}
	key, _, err := keyspace.Bytes(rest)
	if err == nil {
		r.set(append(keyspace.Shard(r.job, keyspace.ReduceTable, t.Keyed, r.shardOf(key)), rest...), value)
	}
	return err
}

func (r *restorer) timer(t *layout.Target, rest, value []byte) error {
	timer, err := table.ParseTimer(rest, value)
	if err != nil || !r.keeps(t, &timer) {
		return err
	}
	if timer.Transform != "" {
		timer.Transform = r.now.Stages[t.Keyed].Transform
	}
	all := r.timers[t.Keyed]
	if all == nil {
		all = table.NewTimers(nil, r.job, t.Keyed)
		r.timers[t.Keyed] = all
	}
	shard := r.shardOf(timer.Key)
	r.ops = all.Append(r.ops, shard, &timer)
	s := r.shard(t.Keyed, shard)
	s.Hold = min(s.Hold, timer.Hold)
	if timer.Domain == table.EventTime {
		s.NextEvent = min(s.NextEvent, timestamp.Time(timer.Fire))
	} else {
		s.NextProc = min(s.NextProc, timer.Fire)
	}
	return nil
}

// keeps says whether a timer goes with its stage. The runner's own are there
// for what they are about.
func (r *restorer) keeps(t *layout.Target, timer *table.Timer) bool {
	switch {
	case timer.Transform != "":
		return t.Timers[timer.Family]
	case timer.Family == gcFamily:
		return true
	case timer.Family == sortFamily:
		return t.Sorted
	}
	return t.Grouped
}

func (r *restorer) hold(t *layout.Target, owner, value []byte) error {
	if !t.Grouped {
		return nil
	}
	key, err := holdKey(owner)
	if err != nil {
		return err
	}
	at, _, err := keyspace.Int64(value)
	if err != nil {
		return err
	}
	all := r.holds[t.Keyed]
	if all == nil {
		all = table.NewHolds(nil, r.job, t.Keyed)
		r.holds[t.Keyed] = all
	}
	shard := r.shardOf(key)
	r.ops = all.Append(r.ops, shard, owner, timestamp.Time(at))
	s := r.shard(t.Keyed, shard)
	s.Hold = min(s.Hold, timestamp.Time(at))
	return nil
}

// shard is what the scheduler has to know of a shard.
func (r *restorer) shard(stage, shard int) *commit.Shard {
	if r.shards[stage] == nil {
		r.shards[stage] = map[int]*commit.Shard{}
	}
	s := r.shards[stage][shard]
	if s == nil {
		s = &commit.Shard{Shard: shard, NextEvent: commit.None, NextProc: noTimer, Hold: commit.None}
		r.shards[stage][shard] = s
	}
	return s
}

// found is what the job has now.
func (r *restorer) found() (*found, error) {
	view := r.store.Snapshot()
	f := &found{id: r.job, records: r.records}
	var err error
	f.saved, err = r.records.Load(view)
	return f, errors.Join(err, view.Close())
}

// dropUnused drops the blocks that have no place.
func (r *restorer) dropUnused() {
	for _, id := range r.blocks {
		if !r.used[id] {
			r.spool.Drop(id)
		}
	}
}

// discard drops all blocks.
func (r *restorer) discard() {
	for _, id := range r.blocks {
		r.spool.Drop(id)
	}
	for id := range r.used {
		r.spool.Drop(id)
	}
	r.runner.blocks.dropAll()
}

// renamed is the new name of a block.
func (r *restorer) renamed(id uint64) (uint64, error) {
	to, ok := r.blocks[id]
	if !ok {
		return 0, fmt.Errorf("block %d is not in the snapshot", id)
	}
	return to, nil
}

// sortedStages are the stages that have shards, in order.
func (r *restorer) sortedStages() []int {
	var all []int
	for stage := range r.shards {
		all = append(all, stage)
	}
	slices.Sort(all)
	return all
}
