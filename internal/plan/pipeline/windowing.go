package pipeline

import (
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/window"
)

// windowing checks the windowing strategy of a collection and keeps what the
// runner makes of it.
func (v *validator) windowing(id, collection string) {
	if v.seen["w:"+id] {
		return
	}
	v.seen["w:"+id] = true
	ws := v.comps.GetWindowingStrategies()[id]
	if ws == nil {
		v.reject("windowing strategy %q of PCollection %q is missing", id, collection)
		return
	}
	if !v.coder(ws.GetWindowCoderId(), "the windows of windowing strategy %q", id) {
		return
	}
	ws, err := v.wireWindows(ws)
	if err != nil {
		v.reject("windowing strategy %q: %v", id, err)
		return
	}
	ws = v.askedFor(ws)
	s, err := window.Parse(ws, v.wire.Coders())
	if err != nil {
		v.reject("windowing strategy %q: %v", id, err)
		return
	}
	v.p.Windowings[id], v.p.Strategies[id] = ws, s
}

// wireWindows returns a windowing strategy with a window coder that the runner
// understands. SDKs are given the same one, since they name windows in state
// requests too.
func (v *validator) wireWindows(ws *pipepb.WindowingStrategy) (*pipepb.WindowingStrategy, error) {
	id, err := v.wire.Window(ws.GetWindowCoderId())
	if err != nil || id == ws.GetWindowCoderId() {
		return ws, err
	}
	ws = proto.Clone(ws).(*pipepb.WindowingStrategy)
	ws.WindowCoderId = id
	return ws, nil
}

// pythonSDK is how the capability begins by which Python environments tell
// their version.
const pythonSDK = "beam:version:sdk_base:apache/beam_python"

// askedFor returns a windowing strategy without a ClosingBehavior that nobody
// has asked for: Python users cannot choose one, its SDK writes the same into
// every pipeline. See docs/decisions/0007.
func (v *validator) askedFor(ws *pipepb.WindowingStrategy) *pipepb.WindowingStrategy {
	if ws.GetClosingBehavior() != pipepb.ClosingBehavior_EMIT_ALWAYS || !v.p.announces(ws.GetEnvironmentId(), pythonSDK) {
		return ws
	}
	ws = proto.Clone(ws).(*pipepb.WindowingStrategy)
	ws.ClosingBehavior = pipepb.ClosingBehavior_EMIT_IF_NONEMPTY
	return ws
}
