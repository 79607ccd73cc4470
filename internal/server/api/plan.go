package api

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/server"
)

// PlanView is an execution plan: the stages in topological order.
type PlanView struct {
	Stages []PlanStage `json:"stages"`
}

// PlanStage is one stage of a plan.
type PlanStage struct {
	Stage       int          `json:"stage"`
	Name        string       `json:"name"`
	Kind        string       `json:"kind"`
	Environment string       `json:"environment,omitempty"`
	Transforms  []string     `json:"transforms"`
	Input       string       `json:"input,omitempty"` // PCollection
	SideInputs  []string     `json:"side_inputs,omitempty"`
	Outputs     []PlanOutput `json:"outputs"`
	Traits      []string     `json:"traits,omitempty"` // keyed, barrier, …
	Why         []string     `json:"why"`
	// Of a job that has been run:
	State     string `json:"state,omitempty"`
	Watermark string `json:"watermark,omitempty"` // of the output
	Waiting   string `json:"waiting,omitempty"`   // why it is not further
}

// PlanOutput is a collection that leaves a stage.
type PlanOutput struct {
	PCollection string `json:"pcollection"`
	Consumers   []int  `json:"consumers"`                // stages that read it as their input
	Sides       []int  `json:"side_consumers,omitempty"` // stages that read it as a side input
}

// NewPlanView makes the view of a plan; nil gives an empty one.
func NewPlanView(p *plan.Plan) PlanView {
	v := PlanView{Stages: []PlanStage{}}
	if p == nil {
		return v
	}
	for _, s := range p.Stages {
		v.Stages = append(v.Stages, planStage(s))
	}
	return v
}

// JobPlan makes the view of a job's plan, with how far its stages are.
func JobPlan(j server.Job) PlanView {
	v := NewPlanView(j.Plan())
	for _, p := range j.Progress() {
		if p.Stage < len(v.Stages) {
			s := &v.Stages[p.Stage]
			s.State, s.Watermark, s.Waiting = p.State, p.Watermark.String(), p.Waiting
		}
	}
	return v
}

func planStage(s *plan.Stage) PlanStage {
	v := PlanStage{
		Stage: s.Index, Name: s.Name, Kind: kind(s), Environment: s.Environment,
		Transforms: append([]string{}, s.Transforms...), Outputs: []PlanOutput{}, Why: append([]string{}, s.Why...),
	}
	if s.Input != nil {
		v.Input = s.Input.ID
	}
	for _, si := range s.SideInputs {
		if si != nil && si.Collection != nil {
			v.SideInputs = append(v.SideInputs, si.Collection.ID)
		}
	}
	for _, o := range s.Outputs {
		v.Outputs = append(v.Outputs, planOutput(o))
	}
	for _, t := range []struct {
		on   bool
		name string
	}{{s.Keyed, "keyed"}, {s.Barrier, "barrier"}, {s.TimeSorted, "time-sorted"}, {s.Splittable, "splittable"}, {len(s.Timers) > 0, "timers"}} {
		if t.on {
			v.Traits = append(v.Traits, t.name)
		}
	}
	return v
}

func planOutput(o *plan.Output) PlanOutput {
	v := PlanOutput{Consumers: []int{}}
	if o.Collection != nil {
		v.PCollection = o.Collection.ID
	}
	for _, c := range o.Consumers {
		if c.Side < 0 {
			v.Consumers = append(v.Consumers, c.Stage)
		} else {
			if !slices.Contains(v.Sides, c.Stage) {
				v.Sides = append(v.Sides, c.Stage)
			}
		}
	}
	return v
}

func kind(s *plan.Stage) string {
	switch s.Kind {
	case plan.Impulse:
		return "impulse"
	case plan.SDK:
		return "sdk"
	case plan.Group:
		if s.Group != nil && s.Group.Strategy == plan.Shuffle {
			return "group (shuffle)"
		}
		return "group (reduce)"
	case plan.TestStream:
		return "test-stream"
	}
	return "unknown"
}

// WriteText writes a plan for people.
func (v PlanView) WriteText(w io.Writer) error {
	b := &strings.Builder{}
	for i, s := range v.Stages {
		if i > 0 {
			b.WriteByte('\n')
		}
		s.text(b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s PlanStage) text(b *strings.Builder) {
	fmt.Fprintf(b, "stage %d  %s", s.Stage, s.Kind)
	if s.Environment != "" {
		fmt.Fprintf(b, "  in %s", s.Environment)
	}
	if len(s.Traits) > 0 {
		fmt.Fprintf(b, "  [%s]", strings.Join(s.Traits, ", "))
	}
	fmt.Fprintf(b, "\n  %s\n", s.Name)
	for _, t := range s.Transforms {
		fmt.Fprintf(b, "    - %s\n", t)
	}
	if s.Input != "" {
		fmt.Fprintf(b, "  reads  %s\n", s.Input)
	}
	for _, si := range s.SideInputs {
		fmt.Fprintf(b, "  looks up  %s\n", si)
	}
	for _, o := range s.Outputs {
		fmt.Fprintf(b, "  writes %s", o.PCollection)
		stageList(b, "for stage", o.Consumers)
		stageList(b, "as side input of stage", o.Sides)
		b.WriteByte('\n')
	}
	for _, w := range s.Why {
		fmt.Fprintf(b, "  starts here: %s\n", w)
	}
	s.progressText(b)
}

func (s PlanStage) progressText(b *strings.Builder) {
	if s.State == "" {
		return
	}
	fmt.Fprintf(b, "  is %s", s.State)
	if s.State != "done" {
		fmt.Fprintf(b, ", watermark %s", s.Watermark)
	}
	if s.Waiting != "" {
		fmt.Fprintf(b, ": %s", s.Waiting)
	}
	b.WriteByte('\n')
}

func stageList(b *strings.Builder, label string, stages []int) {
	for i, s := range stages {
		if i == 0 {
			fmt.Fprintf(b, "  %s %d", label, s)
		} else {
			fmt.Fprintf(b, ", %d", s)
		}
	}
}
