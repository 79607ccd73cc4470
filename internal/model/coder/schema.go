package coder

import (
	"fmt"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// MaxFields is how many fields the schema of a row can have.
const MaxFields = 1 << 16

// parseSchema reads the payload of a Row coder. A field of a type that has no
// portable encoding becomes Opaque, which makes the row not scannable; that is
// no error, because a row can still travel inside a length prefix.
func parseSchema(c *Coder) error {
	var s pipepb.Schema
	if err := proto.Unmarshal(c.Payload, &s); err != nil {
		return fmt.Errorf("%w: schema: %v", ErrBadCoder, err)
	}
	return setFields(c, &s, 0)
}

// setFields fills in the fields in the order of their encoding.
func setFields(c *Coder, s *pipepb.Schema, depth int) error {
	fields := s.GetFields()
	if len(fields) > MaxFields {
		return fmt.Errorf("%w: schema of %d fields, limit %d", ErrBadCoder, len(fields), MaxFields)
	}
	c.fields = make([]field, len(fields))
	for i, f := range fields {
		pos := i
		if s.GetEncodingPositionsSet() {
			pos = int(f.GetEncodingPosition())
		}
		if pos < 0 || pos >= len(fields) || c.fields[pos].coder != nil {
			return fmt.Errorf("%w: field %q has encoding position %d of %d", ErrBadCoder, f.GetName(), pos, len(fields))
		}
		// Whether the field itself is null is in the row's bitmap.
		fc, err := typeCoder(f.GetType(), depth+1)
		if err != nil {
			return fmt.Errorf("field %q: %w", f.GetName(), err)
		}
		c.fields[pos] = field{coder: fc, name: f.GetName(), index: i}
	}
	return nil
}

// elementCoder is the coder of a value inside another type, where a nullable
// type has a byte that says whether the value is there.
func elementCoder(t *pipepb.FieldType, depth int) (*Coder, error) {
	c, err := typeCoder(t, depth)
	if err != nil || !t.GetNullable() {
		return c, err
	}
	return finish(&Coder{Kind: Nullable, Components: []*Coder{c}}), nil
}

// typeCoder is the coder of a value that is not null.
func typeCoder(t *pipepb.FieldType, depth int) (*Coder, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("%w: schema nested more than %d deep", ErrBadCoder, MaxDepth)
	}
	switch t.GetTypeInfo().(type) {
	case *pipepb.FieldType_AtomicType:
		return atomicCoder(t.GetAtomicType()), nil
	case *pipepb.FieldType_ArrayType:
		return iterableCoder(t.GetArrayType().GetElementType(), depth)
	case *pipepb.FieldType_IterableType:
		return iterableCoder(t.GetIterableType().GetElementType(), depth)
	case *pipepb.FieldType_MapType:
		return mapCoder(t.GetMapType(), depth)
	case *pipepb.FieldType_RowType:
		c := &Coder{Kind: Row}
		if err := setFields(c, t.GetRowType().GetSchema(), depth); err != nil {
			return nil, err
		}
		return finish(c), nil
	case *pipepb.FieldType_LogicalType:
		return logicalCoder(t.GetLogicalType(), depth)
	}
	return leaf(Opaque), nil
}

func atomicCoder(t pipepb.AtomicType) *Coder {
	switch t {
	case pipepb.AtomicType_BYTE:
		return fixedCoder(1)
	case pipepb.AtomicType_INT16:
		return fixedCoder(2)
	case pipepb.AtomicType_INT32, pipepb.AtomicType_INT64:
		return leaf(Varint64)
	case pipepb.AtomicType_FLOAT:
		return fixedCoder(4)
	case pipepb.AtomicType_DOUBLE:
		return leaf(Double)
	case pipepb.AtomicType_STRING:
		return leaf(StringUTF8)
	case pipepb.AtomicType_BOOLEAN:
		return leaf(Bool)
	case pipepb.AtomicType_BYTES:
		return leaf(Bytes)
	}
	return leaf(Opaque)
}

// logicalCoder goes by the representation, but for the types where SDKs do
// not: see row_coder.py and SchemaCoderHelpers.java.
func logicalCoder(t *pipepb.LogicalType, depth int) (*Coder, error) {
	switch t.GetUrn() {
	case urn.LogicalMillisInstant: // a big-endian long, not the INT64 it claims
		return fixedCoder(8), nil
	case urn.LogicalDecimal: // the scale before the unscaled value
		return kvCoder(leaf(Varint64), leaf(Bytes)), nil
	case urn.LogicalPythonAny:
		return leaf(Opaque), nil
	}
	return elementCoder(t.GetRepresentation(), depth+1)
}

func iterableCoder(elem *pipepb.FieldType, depth int) (*Coder, error) {
	c, err := elementCoder(elem, depth+1)
	if err != nil {
		return nil, err
	}
	return finish(&Coder{Kind: Iterable, Components: []*Coder{c}}), nil
}

// mapCoder treats a map as what it looks like: an iterable of entries.
func mapCoder(t *pipepb.MapType, depth int) (*Coder, error) {
	k, err := elementCoder(t.GetKeyType(), depth+1)
	if err != nil {
		return nil, err
	}
	v, err := elementCoder(t.GetValueType(), depth+1)
	if err != nil {
		return nil, err
	}
	return finish(&Coder{Kind: Iterable, Components: []*Coder{kvCoder(k, v)}}), nil
}

func leaf(k Kind) *Coder { return finish(&Coder{Kind: k, URN: standardURN(k)}) }

func standardURN(k Kind) string {
	if int(k) < len(standard) {
		return standard[k].urn
	}
	return ""
}

func fixedCoder(n int) *Coder { return finish(&Coder{Kind: fixed, width: n}) }

func kvCoder(k, v *Coder) *Coder {
	return finish(&Coder{Kind: KV, Components: slices.Clip([]*Coder{k, v})})
}
