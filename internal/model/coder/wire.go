package coder

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Wire makes the coders for the data and state planes. A wire coder is made of
// standard coders that the runner can scan; where the pipeline has an opaque
// coder, the wire coder has it inside a length prefix, which every SDK knows.
//
// The ids of new coders begin with "wire:" or "wire/" and depend only on the pipeline's
// coders and ids, not on the order of calls.
type Wire struct {
	coders map[string]*pipepb.Coder
	// given are the pipeline's own coders, which are never replaced.
	given map[string]bool
	// wired maps an id to its wire coder's.
	wired map[string]string
}

// NewWire starts from a pipeline's coders. It copies the map, and shares the
// coders in it without changing them.
func NewWire(coders map[string]*pipepb.Coder) *Wire {
	w := &Wire{coders: maps.Clone(coders), given: map[string]bool{}, wired: map[string]string{}}
	if w.coders == nil {
		w.coders = map[string]*pipepb.Coder{}
	}
	for id := range coders {
		w.given[id] = true
	}
	return w
}

// Coders returns the pipeline's coders and those that were added. The map is
// the Wire's own: it grows with further calls.
func (w *Wire) Coders() map[string]*pipepb.Coder { return w.coders }

// Coder returns the id of the wire form of a coder of elements. It is the same
// id if nothing has to change.
//
// A row is put into a length prefix although it can be scanned: that is faster,
// and works when a field has a type of one SDK only.
func (w *Wire) Coder(id string) (string, error) {
	c, err := Parse(w.coders, id)
	if err != nil {
		return "", fmt.Errorf("wire coder: %w", err)
	}
	return w.wire(c), nil
}

// wire rewrites a coder that is known to be well-formed.
func (w *Wire) wire(c *Coder) string {
	if id, ok := w.wired[c.ID]; ok {
		return id
	}
	id := w.rewrite(c)
	w.wired[c.ID] = id
	return id
}

func (w *Wire) rewrite(c *Coder) string {
	switch c.Kind {
	case Opaque, Row:
		return w.LengthPrefix(c.ID)
	case LengthPrefix:
		return c.ID
	case ParamWindowedValue:
		// The payload is in the original window coder.
		if window := c.Components[1]; w.wire(window) != window.ID {
			return w.LengthPrefix(c.ID)
		}
	case Timer:
		return w.derive(c, []string{w.wire(c.Components[0]), w.window(c.Components[1])})
	}
	ids := make([]string, len(c.Components))
	for i, cc := range c.Components {
		ids[i] = w.wire(cc)
	}
	return w.derive(c, ids)
}

// derive returns a coder like c, with other components.
func (w *Wire) derive(c *Coder, components []string) string {
	if slices.Equal(components, w.coders[c.ID].GetComponentCoderIds()) {
		return c.ID
	}
	return w.add("wire:"+c.ID, &pipepb.Coder{
		Spec:              w.coders[c.ID].GetSpec(),
		ComponentCoderIds: components,
	})
}

// Window returns the id of the wire form of a window coder: the global and the
// interval window stay, everything else becomes a custom window, which puts
// the maximum timestamp, that only the SDK knows how to find, in front of the
// window.
func (w *Wire) Window(id string) (string, error) {
	c, err := Parse(w.coders, id)
	if err != nil {
		return "", fmt.Errorf("wire window coder: %w", err)
	}
	return w.window(c), nil
}

func (w *Wire) window(c *Coder) string {
	switch c.Kind {
	case GlobalWindow, IntervalWindow, CustomWindow:
		return w.wire(c)
	}
	return w.standard(urn.CoderCustomWindow, w.wire(c))
}

// Windowed returns the id of windowed_value<elem, window>, both wire coders.
func (w *Wire) Windowed(elemWireID, windowWireID string) string {
	return w.standard(urn.CoderWindowedValue, elemWireID, windowWireID)
}

// Iterable returns the id of iterable<id>.
func (w *Wire) Iterable(id string) string { return w.standard(urn.CoderIterable, id) }

// StateBackedIterable returns the id of state_backed_iterable<id>.
func (w *Wire) StateBackedIterable(id string) string {
	return w.standard(urn.CoderStateBackedIterable, id)
}

// KV returns the id of kv<k, v>.
func (w *Wire) KV(k, v string) string { return w.standard(urn.CoderKV, k, v) }

// Timer returns the id of timer<key, window>.
func (w *Wire) Timer(k, window string) string { return w.standard(urn.CoderTimer, k, window) }

// Varint returns the id of the varint coder.
func (w *Wire) Varint() string { return w.standard(urn.CoderVarint) }

// Double returns the id of the double coder.
func (w *Wire) Double() string { return w.standard(urn.CoderDouble) }

// Bytes returns the id of the bytes coder.
func (w *Wire) Bytes() string { return w.standard(urn.CoderBytes) }

// GlobalWindow returns the id of the global window's coder.
func (w *Wire) GlobalWindow() string { return w.standard(urn.CoderGlobalWindow) }

// LengthPrefix returns the id of length_prefix<id>.
func (w *Wire) LengthPrefix(id string) string { return w.standard(urn.CoderLengthPrefix, id) }

// standard adds a standard coder without payload. Its id is its URN's short
// name and its components, so that the same coder always has the same id.
func (w *Wire) standard(u string, components ...string) string {
	name := strings.TrimSuffix(strings.TrimPrefix(u, "beam:coder:"), ":v1")
	if len(components) > 0 {
		name += "<" + strings.Join(components, ",") + ">"
	}
	return w.add("wire/"+name, &pipepb.Coder{
		Spec:              &pipepb.FunctionSpec{Urn: u},
		ComponentCoderIds: components,
	})
}

// add stores a coder under the id, or under one made from it if the pipeline or
// another wire coder has that already.
func (w *Wire) add(id string, c *pipepb.Coder) string {
	for w.taken(id, c) {
		id += "'"
	}
	w.coders[id] = c
	return id
}

// taken reports whether the id belongs to a different coder.
func (w *Wire) taken(id string, c *pipepb.Coder) bool {
	old, ok := w.coders[id]
	return ok && (w.given[id] || !sameCoder(old, c))
}

func sameCoder(a, b *pipepb.Coder) bool {
	return a.GetSpec().GetUrn() == b.GetSpec().GetUrn() &&
		string(a.GetSpec().GetPayload()) == string(b.GetSpec().GetPayload()) &&
		slices.Equal(a.GetComponentCoderIds(), b.GetComponentCoderIds())
}
