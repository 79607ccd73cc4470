package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const requestLimit = time.Minute

// jobView is what the runner says of a job.
type jobView struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	State    string `json:"state"`
	Terminal bool   `json:"terminal"`
	Error    string `json:"error"`
	Messages []struct {
		Text string `json:"text"`
	} `json:"messages"`
	Stages []struct {
		Name      string `json:"name"`
		State     string `json:"state"`
		Input     int64  `json:"input_elements"`
		Output    int64  `json:"output_elements"`
		Pending   int64  `json:"pending_elements"`
		Watermark string `json:"watermark"`
		Waiting   string `json:"waiting"`
	} `json:"stages"`
}

// suspended says whether the job has found no room on the disk.
func (j *jobView) suspended() bool { return j.says("the job is suspended: make room on the disk") }

// says looks for a text in the job's messages.
func (j *jobView) says(text string) bool {
	for _, m := range j.Messages {
		if strings.Contains(m.Text, text) {
			return true
		}
	}
	return false
}

// progress is a number that increases with each commit of a process; it starts at 0 when the runner does.
func (j *jobView) progress() int64 {
	var n int64
	for _, s := range j.Stages {
		n += s.Input + s.Output
	}
	return n
}

// text tells how far the job is, for people who look for why it is not further.
func (j *jobView) text() string {
	t := fmt.Sprintf("job %s is %s %s\n", j.ID, j.State, j.Error)
	for _, s := range j.Stages {
		t += fmt.Sprintf("  %-8s in %d, out %d, waiting %d, watermark %s: %s (%s)\n", s.State, s.Input, s.Output, s.Pending, s.Watermark, s.Name, s.Waiting)
	}
	return t
}

func (r *runner) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", r.http, path), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// jobs lists the jobs of the runner, without their stages.
func (r *runner) jobs(ctx context.Context) ([]jobView, error) {
	var list struct {
		Jobs []jobView `json:"jobs"`
	}
	err := r.get(ctx, "/api/jobs", &list)
	return list.Jobs, err
}

func (r *runner) job(ctx context.Context, id string) (*jobView, error) {
	j := &jobView{}
	return j, r.get(ctx, "/api/jobs/"+id, j)
}

// counter is the committed value of a counter of the job's own code.
func (r *runner) counter(ctx context.Context, id, name string) (int64, error) {
	var view struct {
		Committed []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
			User  bool            `json:"user"`
		} `json:"committed"`
	}
	if err := r.get(ctx, "/api/jobs/"+id+"/metrics", &view); err != nil {
		return 0, err
	}
	var sum int64
	for _, m := range view.Committed {
		if !m.User || m.Name != name {
			continue
		}
		var n int64
		if err := json.Unmarshal(m.Value, &n); err != nil {
			return 0, fmt.Errorf("counter %s: %w", name, err)
		}
		sum += n
	}
	return sum, nil
}
