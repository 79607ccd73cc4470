package job

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/coder"
)

// Limits of sampling.
const (
	// sampleTimeout is how long a worker may take to hand its samples out.
	sampleTimeout = 5 * time.Second
	// samplesMax is how many samples of one PCollection are kept, the newest, and
	// sampledMax of how many PCollections.
	samplesMax = 20
	sampledMax = 500
	// sampleBytesMax is how much of an element is looked at.
	sampleBytesMax = 64 << 10
)

// ErrNotSampled says that a job's workers take no samples.
var ErrNotSampled = errors.New("the job samples nothing: its pipeline needs the option --experiments=enable_data_sampling")

// Sample is an element that a worker has seen.
type Sample struct {
	PCollection string // id
	At          time.Time
	Value       any // see coder.Value
	// Exception is the error of the bundle in which the element was processed;
	// nil if there was none.
	Exception *SampledException
}

// SampledException is what an element led to.
type SampledException struct {
	Transform   string // id
	Instruction string
	Error       string
}

// samples are what the workers of a job have handed out. Workers forget what
// they have handed out.
type samples struct {
	mu  sync.Mutex
	all map[string][]Sample // by PCollection, oldest first
}

func (s *samples) add(x Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string][]Sample{}
	}
	list := s.all[x.PCollection]
	if list == nil && len(s.all) >= sampledMax {
		return
	}
	list = append(list, x)
	s.all[x.PCollection] = list[max(0, len(list)-samplesMax):]
}

// list returns all samples, by PCollection.
func (s *samples) list() []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Sample
	for _, l := range s.all {
		out = append(out, l...)
	}
	slices.SortStableFunc(out, func(a, b Sample) int { return strings.Compare(a.PCollection, b.PCollection) })
	return out
}

// Samples returns elements of the job's PCollections: those that its workers
// have now, and those that they had when they were asked before. A job keeps
// them when it has ended.
func (j *Job) Samples(ctx context.Context) ([]Sample, error) {
	if !j.settings.sampling {
		return nil, ErrNotSampled
	}
	j.collectSamples(ctx)
	return j.samples.list(), nil
}

// collectSamples asks all live workers. One that does not answer has none.
func (j *Job) collectSamples(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	coders := j.sampleCoders()
	var wg sync.WaitGroup
	for _, p := range j.livePools() {
		for _, h := range p.Harnesses() {
			wg.Go(func() {
				for _, s := range j.sample(ctx, h, coders) {
					j.samples.add(s)
				}
			})
		}
	}
	wg.Wait()
}

// sample asks one worker.
func (j *Job) sample(ctx context.Context, h *fnapi.Harness, coders map[string]*coder.Coder) []Sample {
	resp, err := h.Instruct(ctx, &fnpb.InstructionRequest{
		Request: &fnpb.InstructionRequest_SampleData{SampleData: &fnpb.SampleDataRequest{}},
	})
	if err != nil {
		j.m.opts.Log.Debug("a worker gives no samples", "job", j.id, "worker", h.Name(), "err", err)
		return nil
	}
	var out []Sample
	now := time.Now()
	for id, list := range resp.GetSampleData().GetElementSamples() {
		for _, e := range list.GetElements() {
			out = append(out, j.sampleOf(id, coders[id], e, now))
		}
	}
	return out
}

func (j *Job) sampleOf(id string, c *coder.Coder, e *fnpb.SampledElement, now time.Time) Sample {
	s := Sample{PCollection: id, At: now}
	if e.GetSampleTimestamp() != nil {
		s.At = e.GetSampleTimestamp().AsTime()
	}
	if c == nil {
		c = &coder.Coder{} // of nobody knows what
	}
	data := e.GetElement()
	s.Value = c.Value(data[:min(len(data), sampleBytesMax)])
	if x := e.GetException(); x != nil {
		s.Exception = &SampledException{
			Transform: x.GetTransformId(), Instruction: x.GetInstructionId(),
			Error: j.secrets.Replace(clip(x.GetError(), messageMax)),
		}
	}
	return s
}

// sampleCoders are the coders with which workers encode samples, by PCollection:
// those of the descriptors that the workers have.
func (j *Job) sampleCoders() map[string]*coder.Coder {
	coders := map[string]*coder.Coder{}
	for _, s := range j.plan.Stages {
		for id, pc := range s.Descriptor.GetPcollections() {
			if coders[id] != nil {
				continue
			}
			if c, err := coder.Parse(s.Descriptor.GetCoders(), pc.GetCoderId()); err == nil {
				coders[id] = c
			}
		}
	}
	return coders
}
