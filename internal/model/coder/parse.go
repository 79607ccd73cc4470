package coder

import (
	"errors"
	"fmt"
	"math"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// MaxDepth is how deep coders, and types in the schema of a row, can nest. It
// bounds the recursion of parsing and scanning.
const MaxDepth = 100

// Errors of Parse.
var (
	// ErrUnknownID is the error for an id that is not in the components.
	ErrUnknownID = errors.New("unknown coder id")
	// ErrBadCoder is the error for a coder that is not well-formed: a cycle, too
	// deep, the wrong number of components, a bad payload.
	ErrBadCoder = errors.New("malformed coder")
)

// Parse reads the coder with the given id and all its components. A coder with
// an unknown URN is Opaque, and its components are not looked at.
func Parse(coders map[string]*pipepb.Coder, id string) (*Coder, error) {
	p := parser{coders: coders, done: map[string]*Coder{}, open: map[string]bool{}}
	return p.parse(id, 0)
}

// parser holds the state of one Parse. A coder that is used twice is parsed
// once, so that the work is linear in the size of the components.
type parser struct {
	coders map[string]*pipepb.Coder
	done   map[string]*Coder
	open   map[string]bool
}

func (p *parser) parse(id string, depth int) (*Coder, error) {
	if c := p.done[id]; c != nil {
		return c, nil
	}
	proto, ok := p.coders[id]
	switch {
	case !ok || proto == nil:
		return nil, fmt.Errorf("%w %q", ErrUnknownID, id)
	case p.open[id]:
		return nil, fmt.Errorf("%w: %q is a component of itself", ErrBadCoder, id)
	case depth > MaxDepth:
		return nil, fmt.Errorf("%w: %q is nested more than %d deep", ErrBadCoder, id, MaxDepth)
	}
	p.open[id] = true
	c, err := p.build(id, proto, depth)
	delete(p.open, id)
	if err != nil {
		return nil, err
	}
	p.done[id] = c
	return c, nil
}

func (p *parser) build(id string, proto *pipepb.Coder, depth int) (*Coder, error) {
	spec := proto.GetSpec()
	c := &Coder{ID: id, URN: spec.GetUrn(), Kind: kindOf(spec.GetUrn()), Payload: spec.GetPayload()}
	if c.Kind == Opaque {
		return finish(c), nil
	}
	if got, want := len(proto.GetComponentCoderIds()), standard[c.Kind].arity; got != want {
		return nil, fmt.Errorf("%w: %v has %d components, want %d", ErrBadCoder, c, got, want)
	}
	for _, comp := range proto.GetComponentCoderIds() {
		cc, err := p.parse(comp, depth+1)
		if err != nil {
			return nil, fmt.Errorf("component of coder %v: %w", c, err)
		}
		c.Components = append(c.Components, cc)
	}
	if c.Kind == Row {
		if err := parseSchema(c); err != nil {
			return nil, fmt.Errorf("coder %v: %w", c, err)
		}
	}
	return finish(c), nil
}

// finish works out what follows from the parts of c.
func finish(c *Coder) *Coder {
	c.scannable = partsScannable(c)
	if c.Kind != fixed {
		c.width = widthOf(c)
	}
	c.prog = compile(c)
	return c
}

func partsScannable(c *Coder) bool {
	switch c.Kind {
	case Opaque:
		return false
	case LengthPrefix:
		return true
	case ParamWindowedValue:
		return c.Components[0].scannable // the windows are in the payload
	}
	for _, cc := range c.Components {
		if !cc.scannable {
			return false
		}
	}
	for _, f := range c.fields {
		if !f.coder.scannable {
			return false
		}
	}
	return true
}

// variable is the width of a coder whose encodings differ in length. Each of
// its encodings has at least one byte; scanning relies on that to bound its
// time.
const variable = -1

func widthOf(c *Coder) int {
	switch c.Kind {
	case Bool:
		return 1
	case Double:
		return 8
	case GlobalWindow:
		return 0
	case KV:
		return addWidths(c.Components[0].width, c.Components[1].width)
	case ParamWindowedValue:
		return c.Components[0].width
	case CustomWindow:
		return addWidths(8, c.Components[0].width)
	}
	return variable
}

func addWidths(a, b int) int {
	if a == variable || b == variable {
		return variable
	}
	// A tower of KVs can double its width at every level.
	if a > math.MaxInt32-b {
		return math.MaxInt32
	}
	return a + b
}
