package table

import (
	"bytes"

	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// Jobs are the durable records of jobs, by job id.
type Jobs struct{ kv keyspace.KV }

// NewJobs returns the job records in kv.
func NewJobs(kv keyspace.KV) *Jobs { return &Jobs{kv} }

// Put writes the record of a job.
func (j *Jobs) Put(job string, record []byte) error {
	return j.kv.Set(keyspace.JobRecord(job), record)
}

// Get returns the record of a job, and whether there is one.
func (j *Jobs) Get(job string) ([]byte, bool, error) {
	v, ok, err := j.kv.Get(keyspace.JobRecord(job))
	return bytes.Clone(v), ok, err
}

// List calls fn for the jobs in order of id until it returns false. The record
// belongs to fn.
func (j *Jobs) List(fn func(job string, record []byte) bool) error {
	lo := keyspace.JobRecords()
	var bad error
	err := j.kv.Scan(lo, keyspace.PrefixEnd(lo), func(key, value []byte) bool {
		var job string
		if job, bad = keyspace.ParseJobRecord(key); bad != nil {
			return false
		}
		return fn(job, bytes.Clone(value))
	})
	if err == nil {
		err = bad
	}
	return err
}

// Delete removes the record of a job and everything else that it has in the
// store.
func (j *Jobs) Delete(job string) error {
	if err := j.Drop(job); err != nil {
		return err
	}
	return j.kv.Delete(keyspace.JobRecord(job))
}

// Drop removes everything that a job has in the store, its record apart.
func (j *Jobs) Drop(job string) error {
	prefix := keyspace.Job(job)
	return j.kv.DeleteRange(prefix, keyspace.PrefixEnd(prefix))
}
