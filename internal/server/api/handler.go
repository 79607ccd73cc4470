package api

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pharos-beam/pharos/internal/server"
)

// Handler serves the JSON views below /api/.
//
//	GET  /api/version
//	GET  /api/jobs
//	GET  /api/jobs/{id}
//	GET  /api/jobs/{id}/metrics
//	GET  /api/jobs/{id}/plan            ?format=text
//	GET  /api/jobs/{id}/messages        NDJSON; ?follow=true until the job ends
//	GET  /api/jobs/{id}/logs            NDJSON; ?follow=true until the job ends; ?tail=N, ?severity=,
//	                                    ?transform=, ?worker=, ?text=, ?since=RFC3339: see server.LogQuery
//	GET  /api/jobs/{id}/workers
//	GET  /api/jobs/{id}/workers/{worker}/status
//	GET  /api/jobs/{id}/samples         ?pcollection=: an id, or a part of a name
//	POST /api/jobs/{id}/cancel
//	POST /api/jobs/{id}/drain
//
// and, of a server that keeps data,
//
//	POST   /api/jobs/{id}/snapshots     ?name=NAME&after=stop|drain
//	GET    /api/snapshots
//	GET    /api/snapshots/{name}
//	DELETE /api/snapshots/{name}
//
// An error is {"error": "…"} with a fitting status.
func Handler(jobs server.Jobs, version string) http.Handler {
	h := &handler{jobs: jobs}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"version": version})
	})
	mux.HandleFunc("GET /api/jobs", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"jobs": List(jobs)})
	})
	mux.HandleFunc("GET /api/jobs/{id}", h.job(func(w http.ResponseWriter, _ *http.Request, j server.Job) {
		writeJSON(w, http.StatusOK, Describe(j))
	}))
	mux.HandleFunc("GET /api/jobs/{id}/metrics", h.job(func(w http.ResponseWriter, _ *http.Request, j server.Job) {
		writeJSON(w, http.StatusOK, Metrics(j))
	}))
	mux.HandleFunc("GET /api/jobs/{id}/plan", h.job(servePlan))
	mux.HandleFunc("GET /api/jobs/{id}/messages", h.job(serveMessages))
	mux.HandleFunc("GET /api/jobs/{id}/logs", h.job(serveLogs))
	mux.HandleFunc("GET /api/jobs/{id}/workers", h.job(serveWorkers))
	mux.HandleFunc("GET /api/jobs/{id}/workers/{worker}/status", h.job(serveStatus))
	mux.HandleFunc("GET /api/jobs/{id}/samples", h.job(serveSamples))
	mux.HandleFunc("POST /api/jobs/{id}/cancel", h.job(func(w http.ResponseWriter, _ *http.Request, j server.Job) {
		j.Cancel()
		writeJSON(w, http.StatusOK, summarize(j))
	}))
	mux.HandleFunc("POST /api/jobs/{id}/drain", h.job(func(w http.ResponseWriter, _ *http.Request, j server.Job) {
		j.Drain()
		writeJSON(w, http.StatusOK, summarize(j))
	}))
	h.snapshots(mux)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, errorView{"there is nothing at this address"})
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

type handler struct{ jobs server.Jobs }

type errorView struct {
	Error string `json:"error"`
}

// job finds the job that a request is about.
func (h *handler) job(fn func(http.ResponseWriter, *http.Request, server.Job)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j, ok := h.jobs.Job(r.PathValue("id"))
		if !ok {
			writeJSON(w, http.StatusNotFound, errorView{"no such job: " + r.PathValue("id")})
			return
		}
		fn(w, r, j)
	}
}

func servePlan(w http.ResponseWriter, r *http.Request, j server.Job) {
	v := JobPlan(j)
	if r.FormValue("format") != "text" {
		writeJSON(w, http.StatusOK, v)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = v.WriteText(w) // the client has gone
}

func serveMessages(w http.ResponseWriter, r *http.Request, j server.Job) {
	if !follow(r) {
		list, _ := messages(j)
		writeLines(w, seq(list))
		return
	}
	writeLines(w, func(yield func(Message) bool) {
		for e := range j.Events(r.Context()) {
			if !yield(message(e)) {
				return
			}
		}
	})
}

func serveLogs(w http.ResponseWriter, r *http.Request, j server.Job) {
	q, err := logQuery(r)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, errorView{err.Error()})
		return
	}
	writeLines(w, func(yield func(LogLine) bool) {
		for l := range j.Logs(r.Context(), q) {
			if !yield(logLine(l)) {
				return
			}
		}
	})
}

func logQuery(r *http.Request) (q server.LogQuery, err error) {
	q = server.LogQuery{
		Follow: follow(r), Severity: strings.ToUpper(r.FormValue("severity")),
		Transform: r.FormValue("transform"), Worker: r.FormValue("worker"), Text: r.FormValue("text"),
	}
	if q.Severity != "" && !slices.Contains(server.Severities, q.Severity) {
		return q, fmt.Errorf("severity %q is none of %s", q.Severity, strings.Join(server.Severities, ", "))
	}
	if s := r.FormValue("tail"); s != "" {
		if q.Tail, err = strconv.Atoi(s); err != nil || q.Tail < 0 || q.Tail > server.MaxTail {
			return q, fmt.Errorf("tail %q is not a number from 0 to %d", s, server.MaxTail)
		}
	}
	if s := r.FormValue("since"); s != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return q, fmt.Errorf("since: %w", err)
		}
	}
	return q, nil
}

func follow(r *http.Request) bool {
	f := r.FormValue("follow")
	return f == "true" || f == "1"
}

func seq[T any](list []T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, v := range list {
			if !yield(v) {
				return
			}
		}
	}
}

// writeLines writes one JSON value per line, each as soon as it is there.
func writeLines[T any](w http.ResponseWriter, values iter.Seq[T]) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	_ = flush.Flush() // a follower wants to know at once that it is connected
	enc := json.NewEncoder(w)
	for v := range values {
		if enc.Encode(v) != nil {
			return // the client has gone
		}
		_ = flush.Flush()
	}
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the client has gone
}
