package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/pharos-beam/pharos/internal/server"
)

// Snapshot is a snapshot of a job.
type Snapshot struct {
	Name    string         `json:"name"`
	Path    string         `json:"path"`
	Bytes   int64          `json:"bytes"`
	Job     string         `json:"job"`
	JobName string         `json:"job_name"`
	Created time.Time      `json:"created"`
	Parts   []SnapshotPart `json:"parts"`
}

// SnapshotPart is something that it has, of one transform.
type SnapshotPart struct {
	Transform string `json:"transform"`
	Kind      string `json:"kind"`
	Name      string `json:"name,omitempty"`
	Count     int64  `json:"count"`
	Bytes     int64  `json:"bytes"`
}

func viewSnapshot(s *server.Snapshot) Snapshot {
	v := Snapshot{Name: s.Name, Path: s.Path, Bytes: s.Bytes, Job: s.Job, JobName: s.JobName, Created: s.Created, Parts: []SnapshotPart{}}
	for _, p := range s.Parts {
		v.Parts = append(v.Parts, SnapshotPart(p))
	}
	return v
}

// snapshots adds the handlers about snapshots, if the server can have any.
func (h *handler) snapshots(mux *http.ServeMux) {
	all, ok := h.jobs.(server.Snapshots)
	if !ok {
		return
	}
	mux.HandleFunc("POST /api/jobs/{id}/snapshots", func(w http.ResponseWriter, r *http.Request) {
		s, err := all.TakeSnapshot(r.Context(), r.PathValue("id"), r.FormValue("name"), r.FormValue("after"))
		writeSnapshot(w, s, err)
	})
	mux.HandleFunc("GET /api/snapshots", func(w http.ResponseWriter, _ *http.Request) {
		list, err := all.Snapshots()
		if err != nil {
			writeError(w, err)
			return
		}
		views := []Snapshot{}
		for _, s := range list {
			views = append(views, viewSnapshot(s))
		}
		writeJSON(w, http.StatusOK, map[string]any{"snapshots": views})
	})
	mux.HandleFunc("GET /api/snapshots/{name}", func(w http.ResponseWriter, r *http.Request) {
		s, err := all.Snapshot(r.PathValue("name"))
		writeSnapshot(w, s, err)
	})
	mux.HandleFunc("DELETE /api/snapshots/{name}", func(w http.ResponseWriter, r *http.Request) {
		if err := all.DropSnapshot(r.PathValue("name")); err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, map[string]string{"deleted": r.PathValue("name")})
	})
}

func writeSnapshot(w http.ResponseWriter, s *server.Snapshot, err error) {
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, viewSnapshot(s))
}

// writeError says what went wrong, with the status that fits.
func writeError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, server.ErrNotFound), errors.Is(err, server.ErrSnapshot):
		status = http.StatusNotFound
	case errors.Is(err, server.ErrState):
		status = http.StatusConflict
	}
	writeJSON(w, status, errorView{err.Error()})
}
