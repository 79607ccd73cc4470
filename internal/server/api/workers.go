package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/server"
)

// Worker is a live worker of a job.
type Worker struct {
	Name        string `json:"name"`
	Environment string `json:"environment"`
	Target      string `json:"target"`
}

// WorkerStatus is what a worker says of itself, as its SDK words it.
type WorkerStatus struct {
	Status string `json:"status"`
}

// Sample is an element of a PCollection.
type Sample struct {
	PCollection     string    `json:"pcollection"`
	PCollectionName string    `json:"pcollection_name,omitempty"`
	Producer        string    `json:"producer,omitempty"` // the name of the transform that puts it out
	At              time.Time `json:"at"`
	Value           any       `json:"value"`
	// Exception is what became of its bundle.
	Exception *SampledException `json:"exception,omitempty"`
}

// SampledException is the error of the bundle in which an element was processed.
type SampledException struct {
	Transform     string `json:"transform,omitempty"`
	TransformName string `json:"transform_name,omitempty"`
	Instruction   string `json:"instruction,omitempty"`
	Error         string `json:"error"`
}

func serveWorkers(w http.ResponseWriter, _ *http.Request, j server.Job) {
	out := []Worker{}
	for _, x := range j.Workers() {
		out = append(out, Worker(x))
	}
	writeJSON(w, http.StatusOK, map[string]any{"workers": out})
}

func serveStatus(w http.ResponseWriter, r *http.Request, j server.Job) {
	text, err := j.WorkerStatus(r.Context(), r.PathValue("worker"))
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, WorkerStatus{text})
}

// serveSamples leaves out the samples of PCollections that were not asked for.
func serveSamples(w http.ResponseWriter, r *http.Request, j server.Job) {
	all, err := j.Samples(r.Context())
	if err != nil {
		writeError(w, err)
		return
	}
	c, want := j.Pipeline().GetComponents(), r.FormValue("pcollection")
	producers := producersOf(c)
	out := []Sample{}
	for _, s := range all {
		v := sample(c, producers, s)
		if named(v, want) {
			out = append(out, v)
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"samples": out})
}

// named says whether a PCollection is the one that is wanted: by its id, or by a
// part of its name or of its producer's.
func named(s Sample, want string) bool {
	return strings.EqualFold(s.PCollection, want) || slices.ContainsFunc([]string{s.PCollectionName, s.Producer}, func(name string) bool {
		return strings.Contains(strings.ToLower(name), strings.ToLower(want))
	})
}

func sample(c *pipepb.Components, producers map[string]string, s server.Sample) Sample {
	v := Sample{
		PCollection: s.PCollection, PCollectionName: c.GetPcollections()[s.PCollection].GetUniqueName(),
		Producer: producers[s.PCollection], At: s.At, Value: s.Value,
	}
	if s.Error != "" {
		v.Exception = &SampledException{
			Transform: s.Transform, TransformName: c.GetTransforms()[s.Transform].GetUniqueName(), Instruction: s.Instruction, Error: s.Error,
		}
	}
	return v
}

// producersOf are the names of the transforms that put PCollections out, the
// innermost ones.
func producersOf(c *pipepb.Components) map[string]string {
	producers := map[string]string{}
	for _, t := range c.GetTransforms() {
		if len(t.GetSubtransforms()) > 0 {
			continue
		}
		for _, pc := range t.GetOutputs() {
			producers[pc] = t.GetUniqueName()
		}
	}
	return producers
}
