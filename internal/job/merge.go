package job

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// mergeFn merges the windows of a custom WindowFn in an SDK harness, by a
// bundle of one merge_windows transform: KV<nonce, iterable<window>> goes in,
// KV<nonce, KV<iterable<unmerged window>, iterable<KV<merged window,
// iterable<consumed window>>>>> comes out (beam_runner_api.proto,
// StandardPTransforms.MERGE_WINDOWS).
type mergeFn struct {
	env        string
	descriptor *fnpb.ProcessBundleDescriptor
	window     *coder.Coder
	out        *coder.Scanner
}

// Ids inside the descriptor of a mergeFn.
const (
	mergeRead  = "merge-read"
	mergeFnID  = "merge-windows"
	mergeWrite = "merge-write"
)

// merge returns the window merging function of a stage with a custom merging
// WindowFn; nil for all others.
func (a *attempt) merge(ctx context.Context) func([][]byte) ([]window.Merged, error) {
	if a.s.merge == nil {
		return nil
	}
	return func(windows [][]byte) ([]window.Merged, error) {
		merged, err := a.s.merge.call(ctx, a.r, windows)
		if err != nil {
			return nil, fmt.Errorf("merge windows: %w", err)
		}
		return merged, nil
	}
}

// newMergeFn builds the descriptor for the windows of a stage's input.
func (r *runner) newMergeFn(s *stage, idPrefix string) (*mergeFn, error) {
	ws := r.plan.Windowings[s.plan.Input.Windowing]
	payload, err := proto.Marshal(ws.GetWindowFn())
	if err != nil {
		return nil, err
	}
	coders := maps.Clone(r.plan.Coders)
	mk := func(id, u string, parts ...string) string {
		coders[id] = &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: u}, ComponentCoderIds: parts}
		return id
	}
	win := s.plan.Input.WindowCoder
	nonce := mk("merge:bytes", urn.CoderBytes)
	global := mk("merge:global", urn.CoderGlobalWindow)
	windows := mk("merge:windows", urn.CoderIterable, win)
	in := mk("merge:in", urn.CoderKV, nonce, windows)
	merged := mk("merge:merged", urn.CoderIterable, mk("merge:result", urn.CoderKV, win, windows))
	out := mk("merge:out", urn.CoderKV, nonce, mk("merge:pair", urn.CoderKV, windows, merged))
	inWin := mk("merge:in-windowed", urn.CoderWindowedValue, in, global)
	outWin := mk("merge:out-windowed", urn.CoderWindowedValue, out, global)

	m := &mergeFn{env: s.plan.Group.MergeEnvironment}
	if m.window, err = coder.Parse(coders, win); err != nil {
		return nil, err
	}
	outCoder, err := coder.Parse(coders, out)
	if err != nil {
		return nil, err
	}
	globalCoder, err := coder.Parse(coders, global)
	if err != nil {
		return nil, err
	}
	m.out = coder.NewScanner(outCoder, globalCoder)
	port := func(u, coderID string) *pipepb.FunctionSpec {
		b, _ := proto.Marshal(&fnpb.RemoteGrpcPort{CoderId: coderID}) // marshalling a message of ours cannot fail
		return &pipepb.FunctionSpec{Urn: u, Payload: b}
	}
	m.descriptor = &fnpb.ProcessBundleDescriptor{
		Id: fmt.Sprintf("%s-%d-merge", idPrefix, s.plan.Index),
		Transforms: map[string]*pipepb.PTransform{
			mergeRead:  {UniqueName: mergeRead, Spec: port(urn.Source, inWin), Outputs: map[string]string{"out": "merge-in"}},
			mergeFnID:  {UniqueName: mergeFnID, Spec: &pipepb.FunctionSpec{Urn: urn.MergeWindows, Payload: payload}, Inputs: map[string]string{"in": "merge-in"}, Outputs: map[string]string{"out": "merge-out"}, EnvironmentId: m.env},
			mergeWrite: {UniqueName: mergeWrite, Spec: port(urn.Sink, outWin), Inputs: map[string]string{"in": "merge-out"}},
		},
		Pcollections: map[string]*pipepb.PCollection{
			"merge-in":  {UniqueName: "merge-in", CoderId: in, WindowingStrategyId: "merge:global"},
			"merge-out": {UniqueName: "merge-out", CoderId: out, WindowingStrategyId: "merge:global"},
		},
		Coders: coders,
		WindowingStrategies: map[string]*pipepb.WindowingStrategy{"merge:global": {
			WindowFn: &pipepb.FunctionSpec{Urn: urn.GlobalWindows}, WindowCoderId: global,
			Trigger:          &pipepb.Trigger{Trigger: &pipepb.Trigger_Default_{Default: &pipepb.Trigger_Default{}}},
			AccumulationMode: pipepb.AccumulationMode_DISCARDING, OutputTime: pipepb.OutputTime_END_OF_WINDOW,
			ClosingBehavior: pipepb.ClosingBehavior_EMIT_IF_NONEMPTY, OnTimeBehavior: pipepb.OnTimeBehavior_FIRE_ALWAYS,
			MergeStatus: pipepb.MergeStatus_NON_MERGING,
		}},
		Environments: r.plan.Environments,
	}
	return m, nil
}

// onceSource feeds one chunk.
type onceSource struct {
	chunk bundle.Chunk
	done  bool
}

func (s *onceSource) Next(context.Context) (bundle.Chunk, error) {
	if s.done {
		return bundle.Chunk{}, io.EOF
	}
	s.done = true
	return s.chunk, nil
}

// call asks a harness.
func (m *mergeFn) call(ctx context.Context, r *runner, windows [][]byte) ([]window.Merged, error) {
	workers := r.workers[m.env]
	w, err := workers.Get(ctx)
	if err != nil {
		return nil, err
	}
	defer workers.Put(w)
	data := coder.AppendHeader(nil, timestamp.Min, nil, 1, coder.NoFiring)
	data = coder.AppendVarint(data, 0) // the nonce
	data = binary.BigEndian.AppendUint32(data, uint32(len(windows)))
	for _, w := range windows {
		data = append(data, w...)
	}
	var answer []byte
	b := w.Start(ctx, m.descriptor, bundle.Spec{
		Descriptor: m.descriptor.Id, InputPort: mergeRead, DataOutputs: []string{mergeWrite},
		Source: &onceSource{chunk: bundle.Chunk{Transform: mergeRead, Data: data, Elements: 1}},
		Output: func(_ string, data []byte) error {
			answer = append(answer, data...)
			return nil
		},
	})
	if _, err := b.Wait(); err != nil {
		return nil, err
	}
	return m.parse(answer)
}

// parse reads the one element of the answer.
func (m *mergeFn) parse(answer []byte) ([]window.Merged, error) {
	var e coder.Element
	if _, err := m.out.Scan(answer, &e); err != nil {
		return nil, fmt.Errorf("the harness answered with a malformed element: %w", err)
	}
	b := &cursor{rest: e.Value}
	b.bytes() // the nonce
	b.iterable(func() { b.skip(m.window) })
	var merged []window.Merged
	b.iterable(func() {
		r := window.Merged{Result: b.skip(m.window)}
		b.iterable(func() { r.From = append(r.From, b.skip(m.window)) })
		merged = append(merged, r)
	})
	if b.err != nil {
		return nil, fmt.Errorf("the harness answered with a malformed element: %w", b.err)
	}
	return merged, nil
}

// cursor reads encodings one after another; the first error sticks.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) take(n int) []byte {
	if c.err == nil && (n < 0 || n > len(c.rest)) {
		c.err = io.ErrUnexpectedEOF
	}
	if c.err != nil {
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) skip(of *coder.Coder) []byte {
	if c.err != nil {
		return nil
	}
	n, err := of.Skip(c.rest)
	if err != nil {
		c.err = err
		return nil
	}
	return c.take(n)
}

func (c *cursor) bytes() {
	n, used, err := coder.Varint(c.rest)
	if err != nil {
		c.err = err
		return
	}
	c.take(used)
	c.take(int(min(n, uint64(len(c.rest)+1))))
}

// iterable calls fn for each element, of an iterable of known length or in
// chunks.
func (c *cursor) iterable(fn func()) {
	count := c.int32()
	if count >= 0 {
		for ; count > 0 && c.err == nil; count-- {
			fn()
		}
		return
	}
	for c.err == nil {
		n, used, err := coder.Varint(c.rest)
		if err != nil {
			c.err = err
			return
		}
		c.take(used)
		if n == 0 {
			return
		}
		for ; n > 0 && c.err == nil; n-- {
			fn()
		}
	}
}

func (c *cursor) int32() int32 {
	b := c.take(4)
	if b == nil {
		return 0
	}
	return int32(binary.BigEndian.Uint32(b))
}
