// Package webui serves the pages: a list of jobs, and for each job its stages,
// how far they are, why they wait, and what was said. Pages are templates over
// the views of package api, complete without JavaScript; a short script
// replaces the live part of an open page every second. Everything is embedded:
// there is no build step, and a page loads nothing from elsewhere.
package webui

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/pharos-beam/pharos/internal/server"
	"github.com/pharos-beam/pharos/internal/server/api"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// pageLogs is how many log lines a job's page shows.
const pageLogs = 200

// policy keeps pages from loading anything from elsewhere, from being framed,
// and from running what a job's messages may contain.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

type pages struct {
	jobs    server.Jobs
	version string
	log     *slog.Logger
	set     map[string]*template.Template
}

// Handler serves the pages. Forms on them post to the API below /api/ and to
// /jobs/{id}/cancel and /drain, which redirect back.
func Handler(jobs server.Jobs, version string, log *slog.Logger) (http.Handler, error) {
	p := &pages{jobs: jobs, version: version, log: log, set: map[string]*template.Template{}}
	for _, name := range []string{"jobs", "job", "plan", "metrics", "missing"} {
		t, err := template.New("layout.html").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, err
		}
		p.set[name] = t
	}
	mux := http.NewServeMux()
	mux.Handle("GET /static/", http.FileServerFS(staticFiles))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		p.show(w, http.StatusOK, "jobs", "Jobs", api.List(jobs))
	})
	mux.HandleFunc("GET /jobs/{id}", p.job("job", func(j server.Job) any {
		return struct {
			api.JobView
			Logs []api.LogLine
		}{api.Describe(j), api.Logs(j, pageLogs)}
	}))
	mux.HandleFunc("GET /jobs/{id}/plan", p.job("plan", func(j server.Job) any {
		return struct {
			api.JobView
			Plan api.PlanView
		}{api.Describe(j), api.NewPlanView(j.Plan())}
	}))
	mux.HandleFunc("GET /jobs/{id}/metrics", p.job("metrics", func(j server.Job) any {
		return struct {
			api.JobView
			Metrics api.MetricsView
		}{api.Describe(j), api.Metrics(j)}
	}))
	mux.HandleFunc("POST /jobs/{id}/cancel", p.ask(server.Job.Cancel))
	mux.HandleFunc("POST /jobs/{id}/drain", p.ask(server.Job.Drain))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { p.missing(w, "There is no such page.") })
	return http.NewCrossOriginProtection().Handler(secure(mux)), nil
}

func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

func (p *pages) job(page string, view func(server.Job) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j, ok := p.jobs.Job(r.PathValue("id"))
		if !ok {
			p.missing(w, "There is no such job.")
			return
		}
		p.show(w, http.StatusOK, page, j.Name(), view(j))
	}
}

// ask asks something of a job, and goes back to its page.
func (p *pages) ask(what func(server.Job)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j, ok := p.jobs.Job(r.PathValue("id"))
		if !ok {
			p.missing(w, "There is no such job.")
			return
		}
		what(j)
		http.Redirect(w, r, "/jobs/"+j.ID(), http.StatusSeeOther)
	}
}

func (p *pages) missing(w http.ResponseWriter, why string) {
	p.show(w, http.StatusNotFound, "missing", "Not found", why)
}

// show renders into memory first, so that an error is a clean 500.
func (p *pages) show(w http.ResponseWriter, code int, page, title string, view any) {
	var b bytes.Buffer
	err := p.set[page].Execute(&b, map[string]any{"Title": title, "Version": p.version, "View": view, "Now": time.Now()})
	if err != nil {
		p.log.Error("render page", "page", page, "err", err)
		http.Error(w, "this page cannot be shown; the server's log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // the client has gone
}

var functions = template.FuncMap{
	"lower": strings.ToLower,
	"clock": func(t time.Time) string { return t.Format("15:04:05.000") },
	"stamp": func(t time.Time) string { return t.Format("2006-01-02 15:04:05") },
}
