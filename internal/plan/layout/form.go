package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Form is how something is encoded, as text: a coder with its components, or
// whatever decides how state is laid out. Equal forms mean equal encodings.
type Form struct {
	// Exact has all that the SDK says, also what only the SDK understands.
	Exact string `json:"exact,omitempty"`
	// Shape leaves that out: a class that was compiled anew, or pickled from
	// another line of a program, has the same shape.
	Shape string `json:"shape,omitempty"`
}

const (
	// formMax is the length of a form from which the rest is a hash.
	formMax = 400
	// hashChars is the length of a hash in a form.
	hashChars = 16
	// depthMax bounds the nesting of coders.
	depthMax = 100
)

// fits says whether what was written in form f can be read in form g. Iterables
// that may be state-backed can be read where they always are in one piece, not
// the other way round.
func (f Form) fits(g Form, shapeOnly bool) bool {
	a, b := f.Exact, g.Exact
	if shapeOnly {
		a, b = f.Shape, g.Shape
	}
	return a == b || inOnePiece(b) == a
}

func inOnePiece(form string) string {
	return strings.ReplaceAll(form, short(urn.CoderStateBackedIterable), short(urn.CoderIterable))
}

// short is a URN without what all have.
func short(u string) string {
	return strings.TrimSuffix(strings.TrimPrefix(u, "beam:coder:"), ":v1")
}

// forms makes forms of the coders of a plan.
type forms struct {
	coders map[string]*pipepb.Coder
	known  map[string]Form
}

func newForms(coders map[string]*pipepb.Coder) *forms {
	return &forms{coders: coders, known: map[string]Form{}}
}

func (f *forms) coder(id string) Form { return f.nested(id, 0) }

func (f *forms) nested(id string, depth int) Form {
	if form, ok := f.known[id]; ok || depth > depthMax {
		return form
	}
	c := f.coders[id]
	form := encoded(c.GetSpec())
	var parts []Form
	for _, part := range c.GetComponentCoderIds() {
		parts = append(parts, f.nested(part, depth+1))
	}
	form = form.of(parts)
	f.known[id] = form
	return form
}

// encoded is the form of a coder without its components.
func encoded(spec *pipepb.FunctionSpec) Form {
	name, payload := short(spec.GetUrn()), spec.GetPayload()
	if spec.GetUrn() == urn.CoderRow {
		return Form{name, name}.with(rowFields(payload))
	}
	form := Form{name, name}
	if len(payload) > 0 {
		form.Exact += "#" + hash(payload)
	}
	return form
}

// with adds what everybody understands.
func (f Form) with(b []byte) Form {
	return Form{f.Exact + "#" + hash(b), f.Shape + "#" + hash(b)}
}

// rowFields is the schema of a row without its id, which SDKs draw at random.
func rowFields(payload []byte) []byte {
	var schema pipepb.Schema
	if proto.Unmarshal(payload, &schema) != nil {
		return payload
	}
	forgetIDs(&schema)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&schema)
	if err != nil {
		return payload
	}
	return b
}

func forgetIDs(s *pipepb.Schema) {
	if s == nil {
		return
	}
	s.Id = ""
	for _, field := range s.GetFields() {
		forgetIDsOf(field.GetType())
	}
}

// forgetIDsOf does so in all that a type of a field consists of. Protocol
// buffers are not nested more deeply than a parser allows.
func forgetIDsOf(t *pipepb.FieldType) {
	if t == nil {
		return
	}
	forgetIDs(t.GetRowType().GetSchema())
	for _, part := range []*pipepb.FieldType{
		t.GetArrayType().GetElementType(), t.GetIterableType().GetElementType(), t.GetMapType().GetKeyType(),
		t.GetMapType().GetValueType(), t.GetLogicalType().GetRepresentation(),
	} {
		forgetIDsOf(part)
	}
}

// of adds components.
func (f Form) of(parts []Form) Form {
	if len(parts) == 0 {
		return f
	}
	var exact, shape []string
	for _, p := range parts {
		exact, shape = append(exact, p.Exact), append(shape, p.Shape)
	}
	return Form{bound(f.Exact + "<" + strings.Join(exact, ", ") + ">"), bound(f.Shape + "<" + strings.Join(shape, ", ") + ">")}
}

// bound keeps forms of coders short that share components again and again.
func bound(text string) string {
	if len(text) <= formMax {
		return text
	}
	return text[:formMax-hashChars] + "…" + hash([]byte(text))
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])[:hashChars]
}

// state is the form of a state cell.
func (f *forms) state(spec *pipepb.StateSpec) Form {
	var parts []Form
	for _, id := range stateCoders(spec) {
		parts = append(parts, f.coder(id))
	}
	return Form{stateKind(spec), stateKind(spec)}.of(parts)
}

// windowing is the form of all that decides what is kept of the windows of a
// key, and when that goes.
func (f *forms) windowing(ws *pipepb.WindowingStrategy) Form {
	parts := []Form{f.coder(ws.GetWindowCoderId())}
	rest := proto.Clone(ws).(*pipepb.WindowingStrategy)
	rest.WindowCoderId, rest.EnvironmentId, rest.WindowFn = "", "", nil
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(rest)
	if err != nil {
		return Form{} // what was read can be written
	}
	fn := ws.GetWindowFn()
	form := encoded(fn)
	if strings.HasPrefix(fn.GetUrn(), "beam:window_fn:") { // everybody understands it
		form = Form{fn.GetUrn(), fn.GetUrn()}.with(fn.GetPayload())
	}
	return form.with(b).of(parts)
}
