package job

import (
	"errors"
	"fmt"
	"strings"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/storage/spool"
)

// outcome is the state in which the job ends.
func (d *driver) outcome() jobpb.JobState_Enum {
	switch {
	case d.suspended:
		return d.j.stateNow()
	case d.updated:
		return jobpb.JobState_UPDATED
	case d.end.Cancelled:
		return jobpb.JobState_CANCELLED
	case d.end.Err != "":
		text := d.failure(d.end)
		d.j.message(jobpb.JobMessage_JOB_MESSAGE_ERROR, text)
		d.log.Warn("job failed", "err", d.j.secrets.Replace(gist(d.end.Err)))
		return jobpb.JobState_FAILED
	case d.end.Drained:
		return jobpb.JobState_DRAINED
	}
	return jobpb.JobState_DONE
}

// failure is the text of a failed job: the SDK's own words first and whole,
// and the transforms it may be about, unless the SDK has said which one it is.
func (d *driver) failure(f *core.Finish) string {
	if f.Stage == nil {
		return f.Err
	}
	text := f.Err
	var names []string
	for _, id := range f.Stage.Transforms {
		name := d.j.pipeline.GetComponents().GetTransforms()[id].GetUniqueName()
		if name == "" {
			name = id
		}
		if strings.Contains(f.Err, name) || strings.Contains(f.Err, id) {
			names = nil
			break
		}
		names = append(names, name)
	}
	switch {
	case len(names) == 1:
		text = fmt.Sprintf("transform %s: %s", names[0], text)
	case len(names) > 1:
		text = fmt.Sprintf("%s\n(in one of the transforms %s)", text, strings.Join(names, ", "))
	}
	if f.Attempts > 1 {
		text += separator(text) + fmt.Sprintf("(the bundle failed in %d attempts)", f.Attempts)
	}
	return text
}

// gist is the last line of an SDK's error, where Python has the exception, or
// the first, where Java and Go have it: what fits a line of the server's log.
func gist(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if strings.HasPrefix(lines[0], "Traceback") {
		return lines[len(lines)-1]
	}
	return lines[0]
}

// separator keeps a remark on the line of a text that has only one.
func separator(text string) string {
	if strings.Contains(text, "\n") {
		return "\n"
	}
	return " "
}

// uncommitted: a batch of records cannot be made durable, and so nothing can go
// on.
func (d *driver) uncommitted(err error) {
	if d.suspendForRoom(err) {
		return
	}
	d.end = &core.Finish{Err: fmt.Sprintf("the store failed: %v", err)}
}

// suspendForRoom suspends a durable job if err says that there is no room for what
// it puts out, and says whether it has. The job has lost nothing: it goes on when
// there is room and the runner is started again.
func (d *driver) suspendForRoom(err error) bool {
	budget := errors.Is(err, spool.ErrDiskBudget)
	if d.records == nil || !budget && !spool.NoRoom(err) {
		return false
	}
	what := "make room on the disk and start the runner again"
	if budget {
		what = "start the runner again with a larger --disk, or when other jobs have ended"
	}
	d.end, d.suspended = &core.Finish{Err: err.Error()}, true
	d.log.Warn("there is no room for what a job puts out", "err", err)
	d.j.suspend(fmt.Sprintf("%s, then it goes on from its last commit: %v", what, err))
	return true
}

// reportEvery is after how many failed attempts of a bundle the job's messages
// tell of it again.
const reportEvery = 10

// reportFailure tells of a bundle that keeps failing: whoever waits for the job
// would take it for one that hangs, if many attempts are allowed. The last
// attempt is told of as the end of the job.
func (d *driver) reportFailure(x attemptDone) {
	limit := d.core.MaxAttempts()
	if n := x.ev.Attempt; n >= limit || n != 2 && n%reportEvery != 0 {
		return
	}
	d.j.message(jobpb.JobMessage_JOB_MESSAGE_WARNING, fmt.Sprintf("attempt %d of %d of a bundle of %s has failed: %s",
		x.ev.Attempt, limit, d.j.plan.Stages[x.ev.Stage].Name, gist(x.err.Error())))
}
