package api_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestSnapshots(t *testing.T) {
	jobs, url := serve(t)
	j := jobs.Add("clicks")
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "/api/snapshots", http.StatusOK, `"snapshots": []`},
		{"POST", "/api/jobs/none/snapshots", http.StatusNotFound, "no such job"},
		{"POST", "/api/jobs/" + j.ID() + "/snapshots?name=a", http.StatusOK, `"name": "a"`},
		{"GET", "/api/snapshots/a", http.StatusOK, `"transform": "Count"`},
		{"GET", "/api/snapshots", http.StatusOK, `"job_name": "clicks"`},
		{"POST", "/api/jobs/" + j.ID() + "/snapshots?after=stop", http.StatusOK, `"name": "clicks-1"`},
		{"POST", "/api/jobs/" + j.ID() + "/snapshots", http.StatusConflict, "CANCELLED"},
		{"DELETE", "/api/snapshots/a", http.StatusOK, `"deleted": "a"`},
		{"DELETE", "/api/snapshots/a", http.StatusNotFound, "no such snapshot"},
	} {
		status, body := ask(t, c.method, url+c.path)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
		}
	}
}
