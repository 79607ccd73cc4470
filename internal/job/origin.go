package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// originOf is the snapshot that a job with these settings begins from; nil if
// there is none.
func (m *Manager) originOf(set settings) (*Origin, error) {
	if set.snapshot == "" {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.origin.copied(), nil
	}
	path, err := m.snapshotPath(set.snapshot)
	if err != nil {
		return nil, &pipeline.Rejection{Reasons: []string{err.Error()}}
	}
	return &Origin{Path: path, Lossy: set.allowNonRestored, ShapesOnly: set.allowChangedCoders, Renamed: set.renamed}, nil
}

func (o *Origin) copied() *Origin {
	if o == nil {
		return nil
	}
	c := *o
	return &c
}

// claim sees to it that one job only begins from the manager's own origin.
func (m *Manager) claim(j *Job) error {
	if j.origin == nil || j.settings.snapshot != "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.origin == nil {
		return fmt.Errorf("%w: another job has begun from snapshot %s meanwhile", ErrState, j.origin.Path)
	}
	m.origin = nil
	return nil
}

// spend notes that a job of before has begun from the manager's origin.
func (m *Manager) spend(o *Origin) {
	if o != nil && m.origin != nil && o.Path == m.origin.Path {
		m.origin = nil
	}
}

// restoreFirst lets a job begin from its snapshot, if it has not yet. It returns
// whether the job has ended, or is suspended, with that.
func (j *Job) restoreFirst(ctx context.Context, log *slog.Logger) bool {
	if o := j.origins(); o == nil || o.Restored {
		return false
	}
	err := j.restore(ctx)
	switch {
	case err == nil:
		return false
	case ctx.Err() != nil && j.m.journal != nil: // it begins again with the runner
		j.events.close()
		j.logs.End()
	case ctx.Err() != nil || errors.Is(err, errCancelled):
		j.dropRestored(log)
		j.m.dropArtifacts(j.id)
		j.setState(jobpb.JobState_CANCELLED)
	default:
		j.dropRestored(log)
		log.Warn("job cannot begin from its snapshot", "err", err)
		j.fail(fmt.Errorf("the job cannot begin from its snapshot: %w", err))
	}
	return true
}

// dropRestored removes what the job has got of its snapshot.
func (j *Job) dropRestored(log *slog.Logger) {
	if err := dropJob(j.m.opts.Store, j.id); err != nil {
		log.Warn("the job's state cannot be dropped", "err", err)
	}
}

// renamedOption reads new names of transforms: a JSON object, or the text of one.
func renamedOption(v *structpb.Value) (map[string]string, bool) {
	if text := v.GetStringValue(); text != "" {
		var m map[string]string
		return m, json.Unmarshal([]byte(text), &m) == nil
	}
	fields := v.GetStructValue().GetFields()
	if len(fields) == 0 {
		return nil, true
	}
	m := map[string]string{}
	for from, to := range fields {
		if _, ok := to.GetKind().(*structpb.Value_StringValue); !ok {
			return nil, false
		}
		m[from] = to.GetStringValue()
	}
	return m, true
}
