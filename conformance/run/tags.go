package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/conformance/cases"
)

// The tags of a case. A streaming case needs what a batch job does not have: an unbounded PCollection, a TestStream, a
// streaming job, or the wall clock.
const (
	batch     = "batch"
	streaming = "streaming"
)

// tagMark is what the tagging job service's answer begins with, to be found again in a test's failure.
const tagMark = "pharos-tag"

var tagIn = regexp.MustCompile(tagMark + `\[(\w+)(?:: ([^\]]*))?\]`)

const pipelineMax = 256 << 20 // bytes of one Prepare request

// writeTags runs the kit against a job service which looks at each pipeline and refuses it with its tag. A test's
// failure then names its tag. A test that expects its pipeline to fail passes, and is taken for batch.
func writeTags(ctx context.Context, o options) error {
	ln, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(pipelineMax))
	jobpb.RegisterJobServiceServer(g, &tagger{})
	go g.Serve(ln)
	defer g.Stop()
	tests, err := runTests(ctx, o, ln.Addr().String(), nil)
	if err != nil {
		return err
	}
	for i, t := range tests { // the tag takes the place of the reason, which may not show it
		if m := tagIn.FindString(t.Reason + t.Output); m != "" {
			tests[i].Reason = m
		} else if t.Status == cases.Fail {
			fmt.Printf("failed before its pipeline was seen: %s\n", t.Test)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# test, tag and its reason; written by go run ./conformance/run --kit %s --tags\n", o.kit)
	n := map[string]int{}
	for _, c := range results(tests) {
		tag, reason := tagOf(c)
		n[tag]++
		fmt.Fprintf(&b, "%s\t%s\t%s\n", c.Test, tag, reason)
	}
	fmt.Printf("%d batch, %d streaming\n", n[batch], n[streaming])
	return os.WriteFile(o.path("tags"), []byte(b.String()), 0o644)
}

// tagOf reads the tag out of what a test said. TestStream is sometimes refused by an SDK before there is a pipeline.
func tagOf(c cases.Case) (tag, reason string) {
	if m := tagIn.FindStringSubmatch(c.Reason); m != nil {
		return m[1], m[2]
	}
	if strings.Contains(c.Test+c.Reason, "TestStream") {
		return streaming, "TestStream, by name"
	}
	return batch, ""
}

type tagger struct {
	jobpb.UnimplementedJobServiceServer
}

func (*tagger) DescribePipelineOptions(context.Context, *jobpb.DescribePipelineOptionsRequest) (*jobpb.DescribePipelineOptionsResponse, error) {
	return &jobpb.DescribePipelineOptionsResponse{}, nil
}

func (*tagger) Prepare(_ context.Context, req *jobpb.PrepareJobRequest) (*jobpb.PrepareJobResponse, error) {
	why := whyStreaming(req)
	if why == "" {
		return nil, status.Errorf(codes.InvalidArgument, "%s[%s]", tagMark, batch)
	}
	return nil, status.Errorf(codes.InvalidArgument, "%s[%s: %s]", tagMark, streaming, why)
}

// whyStreaming names the first thing that makes a pipeline one for streaming; empty for a batch pipeline.
func whyStreaming(req *jobpb.PrepareJobRequest) string {
	c := req.GetPipeline().GetComponents()
	for _, id := range sortedKeys(c.GetTransforms()) {
		if why := transformNeeds(c.GetTransforms()[id]); why != "" {
			return why
		}
	}
	for _, id := range sortedKeys(c.GetPcollections()) {
		if c.GetPcollections()[id].GetIsBounded() == pipepb.IsBounded_UNBOUNDED {
			return "unbounded PCollection"
		}
	}
	for _, id := range sortedKeys(c.GetWindowingStrategies()) {
		if usesClock(c.GetWindowingStrategies()[id].GetTrigger()) {
			return "processing-time trigger"
		}
	}
	if req.GetPipelineOptions().GetFields()["beam:option:streaming:v1"].GetBoolValue() {
		return "option streaming"
	}
	return ""
}

func transformNeeds(t *pipepb.PTransform) string {
	switch t.GetSpec().GetUrn() {
	case "beam:transform:teststream:v1":
		return "TestStream"
	case "beam:transform:pardo:v1":
		var p pipepb.ParDoPayload
		if proto.Unmarshal(t.GetSpec().GetPayload(), &p) != nil {
			return ""
		}
		for _, family := range p.GetTimerFamilySpecs() {
			if family.GetTimeDomain() == pipepb.TimeDomain_PROCESSING_TIME {
				return "processing-time timer"
			}
		}
	}
	return ""
}

// usesClock reports whether a trigger, or one inside it, waits for processing time.
func usesClock(t *pipepb.Trigger) bool {
	if t == nil {
		return false
	}
	sub := slices.Concat(
		t.GetAfterAll().GetSubtriggers(), t.GetAfterAny().GetSubtriggers(), t.GetAfterEach().GetSubtriggers(),
		[]*pipepb.Trigger{
			t.GetAfterEndOfWindow().GetEarlyFirings(), t.GetAfterEndOfWindow().GetLateFirings(),
			t.GetOrFinally().GetMain(), t.GetOrFinally().GetFinally(), t.GetRepeat().GetSubtrigger(),
		})
	return t.GetAfterProcessingTime() != nil || t.GetAfterSynchronizedProcessingTime() != nil || slices.ContainsFunc(sub, usesClock)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
