package keyspace

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// Table names a table of a job's data; see the package comment for what is in
// each.
type Table byte

// The tables of a job.
const (
	StateTable      Table = 's'
	ReduceTable     Table = 'r'
	TimerTable      Table = 'k'
	EventIndex      Table = 'e'
	ProcessingIndex Table = 'p'
	TimerHoldIndex  Table = 'w'
	HoldTable       Table = 'o'
	HoldIndex       Table = 'h'
	QueueTable      Table = 'q'
	SideInputTable  Table = 'i'
	CoreTable       Table = 'c'
	jobRecords      byte  = 'j'
	jobEvents       byte  = 'h'
	jobData         byte  = 'd'
)

// ShardOf returns the shard, in [0, shards), of an encoded key. The number of
// shards is a power of two. It must never change for a job: state and timers
// are stored by shard.
func ShardOf(key []byte, shards int) int {
	if shards <= 1 {
		return 0
	}
	return int(xxhash.Sum64(key) % uint64(shards))
}

// JobRecord is the key of a job's durable record.
func JobRecord(job string) []byte { return AppendString([]byte{jobRecords}, job) }

// JobRecords is the prefix of all job records.
func JobRecords() []byte { return []byte{jobRecords} }

// JobEvent is the key of event number n of a job's history.
func JobEvent(job string, n uint64) []byte { return AppendUint64(JobEvents(job), n) }

// JobEvents is the prefix of a job's history.
func JobEvents(job string) []byte { return AppendString([]byte{jobEvents}, job) }

// ParseJobRecord returns the job of a JobRecord key.
func ParseJobRecord(key []byte) (string, error) {
	if len(key) == 0 || key[0] != jobRecords {
		return "", ErrMalformed
	}
	job, _, err := Bytes(key[1:])
	return string(job), err
}

// Kind says what of a job a key is of.
type Kind byte

// The kinds.
const (
	OfRecord Kind = Kind(jobRecords)
	OfEvents Kind = Kind(jobEvents)
	OfData   Kind = Kind(jobData)
)

// Owner parses any key: what it is of, of which job, and what comes after that.
func Owner(key []byte) (kind Kind, job string, rest []byte, err error) {
	if len(key) == 0 {
		return 0, "", nil, ErrMalformed
	}
	kind = Kind(key[0])
	if kind != OfRecord && kind != OfEvents && kind != OfData {
		return 0, "", nil, fmt.Errorf("%w: kind %q", ErrMalformed, key[0])
	}
	name, rest, err := Bytes(key[1:])
	return kind, string(name), rest, err
}

// Job is the prefix of all data of a job, its record apart.
func Job(job string) []byte { return AppendString([]byte{jobData}, job) }

// Row is the place of one of a job's rows.
type Row struct {
	Table        Table
	Stage, Shard int
	Rest         []byte // the key after the shard
}

// ParseRow parses what a key has after Job. Rest aliases b.
func ParseRow(b []byte) (Row, error) {
	if len(b) < 9 {
		return Row{}, fmt.Errorf("%w: %d bytes where a table, a stage and a shard should be", ErrMalformed, len(b))
	}
	stage, shard := binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:])
	return Row{Table: Table(b[0]), Stage: int(stage), Shard: int(shard), Rest: b[9:]}, nil
}

// Stage is the prefix of one table of one stage. Append the shard with
// AppendShard.
func Stage(job string, table Table, stage int) []byte {
	return AppendUint32(append(Job(job), byte(table)), uint32(stage))
}

// AppendShard appends a shard number to a Stage prefix.
func AppendShard(stagePrefix []byte, shard int) []byte {
	return AppendUint32(stagePrefix, uint32(shard))
}

// Shard is the prefix of one table of one shard of a stage.
func Shard(job string, table Table, stage, shard int) []byte {
	return AppendShard(Stage(job, table, stage), shard)
}

// Reduce is the prefix below which the grouping engine keeps what it knows of
// one key.
func Reduce(job string, stage, shard int, key []byte) []byte {
	return AppendBytes(Shard(job, ReduceTable, stage, shard), key)
}

// AppendTime appends a timestamp in order.
func AppendTime(dst []byte, t timestamp.Time) []byte { return AppendInt64(dst, int64(t)) }

// HoldOwner names the owner of a hold that belongs to one window of one key,
// so that it is found when the window is dropped. Anything may be appended to
// it to tell several holds of a window apart.
func HoldOwner(key, window []byte) []byte { return AppendBytes(AppendBytes(nil, key), window) }
