package coder

import (
	"errors"
	"fmt"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

func protoCoder(u string, components ...string) *pipepb.Coder {
	return &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: u}, ComponentCoderIds: components}
}

func TestParseErrors(t *testing.T) {
	coders := map[string]*pipepb.Coder{
		"bytes":   protoCoder(urn.CoderBytes),
		"cycle":   protoCoder(urn.CoderKV, "bytes", "loop"),
		"loop":    protoCoder(urn.CoderIterable, "cycle"),
		"missing": protoCoder(urn.CoderIterable, "nowhere"),
		"one":     protoCoder(urn.CoderKV, "bytes"),
		"three":   protoCoder(urn.CoderKV, "bytes", "bytes", "bytes"),
		"schema":  {Spec: &pipepb.FunctionSpec{Urn: urn.CoderRow, Payload: []byte{0xff}}},
		"nil":     nil,
		"deep0":   protoCoder(urn.CoderBytes),
	}
	for i := range MaxDepth + 1 {
		coders[fmt.Sprint("deep", i+1)] = protoCoder(urn.CoderIterable, fmt.Sprint("deep", i))
	}
	for id, want := range map[string]error{
		"nowhere": ErrUnknownID, "missing": ErrUnknownID, "nil": ErrUnknownID,
		"cycle": ErrBadCoder, "loop": ErrBadCoder, "one": ErrBadCoder, "three": ErrBadCoder, "schema": ErrBadCoder,
		fmt.Sprint("deep", MaxDepth+1): ErrBadCoder,
	} {
		if _, err := Parse(coders, id); !errors.Is(err, want) {
			t.Errorf("Parse(%s): %v, want %v", id, err, want)
		}
	}
	if _, err := Parse(coders, fmt.Sprint("deep", MaxDepth)); err != nil {
		t.Error(err)
	}
}

func TestScannable(t *testing.T) {
	for expr, want := range map[string]bool{
		"bytes": true, "?": false, "length_prefix<?>": true, "length_prefix<iterable<?>>": true,
		"kv<bytes,?>": false, "kv<length_prefix<?>,bytes>": true, "iterable<?<bytes>>": false,
		"custom_window<?>": false, "custom_window<length_prefix<?>>": true,
		"param_windowed_value<bytes,?>": true, "windowed_value<bytes,?>": false,
	} {
		if got := mustParse(t, expr).Scannable(); got != want {
			t.Errorf("%s: Scannable() = %v", expr, got)
		}
	}
}

// An opaque coder's components mean nothing to the runner and may be missing.
func TestOpaqueComponents(t *testing.T) {
	c, err := Parse(map[string]*pipepb.Coder{"x": protoCoder("beam:coder:tuple:v1", "nowhere")}, "x")
	if err != nil || c.Kind != Opaque || c.URN != "beam:coder:tuple:v1" {
		t.Errorf("Parse = %v, %v", c, err)
	}
}

// A tower in which each coder is used twice has few coders and an exponential
// number of paths.
func TestParseTower(t *testing.T) {
	for _, leaf := range []string{urn.CoderGlobalWindow, urn.CoderBytes, urn.CoderDouble} {
		coders := map[string]*pipepb.Coder{"0": protoCoder(leaf)}
		for i := range MaxDepth {
			id := fmt.Sprint(i)
			coders[fmt.Sprint(i+1)] = protoCoder(urn.CoderKV, id, id)
		}
		c, err := Parse(coders, fmt.Sprint(MaxDepth))
		if err != nil {
			t.Fatal(err)
		}
		switch _, err := c.Skip(make([]byte, 1000)); {
		case leaf == urn.CoderGlobalWindow && err != nil:
			t.Errorf("%s: %v", leaf, err)
		case leaf != urn.CoderGlobalWindow && !errors.Is(err, ErrTruncated):
			t.Errorf("%s: %v, want ErrTruncated", leaf, err)
		}
	}
}

func schemaCoder(t *testing.T, s *pipepb.Schema) (*Coder, error) {
	t.Helper()
	payload, err := proto.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(map[string]*pipepb.Coder{
		"row": {Spec: &pipepb.FunctionSpec{Urn: urn.CoderRow, Payload: payload}},
	}, "row")
}

func TestSchema(t *testing.T) {
	text := &pipepb.FieldType{TypeInfo: &pipepb.FieldType_AtomicType{AtomicType: pipepb.AtomicType_STRING}}
	logical := func(u string, rep *pipepb.FieldType) *pipepb.FieldType {
		return &pipepb.FieldType{TypeInfo: &pipepb.FieldType_LogicalType{
			LogicalType: &pipepb.LogicalType{Urn: u, Representation: rep},
		}}
	}
	of := func(types ...*pipepb.FieldType) *pipepb.Schema {
		s := &pipepb.Schema{}
		for _, ft := range types {
			s.Fields = append(s.Fields, &pipepb.Field{Type: ft})
		}
		return s
	}

	// A logical type that nobody knows goes by its representation.
	c, err := schemaCoder(t, of(logical("example:type", logical("example:other", text))))
	if err != nil || !c.Scannable() {
		t.Fatalf("logical type: %v", err)
	}
	checkBoundary(t, c, []byte("\x01\x00\x03abc"))

	for name, s := range map[string]*pipepb.Schema{
		"no type":     of(nil),
		"python any":  of(text, logical(urn.LogicalPythonAny, text)),
		"unspecified": of(&pipepb.FieldType{TypeInfo: &pipepb.FieldType_AtomicType{}}),
	} {
		if c, err := schemaCoder(t, s); err != nil || c.Scannable() {
			t.Errorf("%s: error %v; want a row that is not scannable", name, err)
		}
	}

	twice := of(text, text)
	twice.EncodingPositionsSet = true
	if _, err := schemaCoder(t, twice); !errors.Is(err, ErrBadCoder) {
		t.Errorf("one position for two fields: %v", err)
	}
	beyond := of(text)
	beyond.EncodingPositionsSet, beyond.Fields[0].EncodingPosition = true, -1
	if _, err := schemaCoder(t, beyond); !errors.Is(err, ErrBadCoder) {
		t.Errorf("negative position: %v", err)
	}

	deep := text
	for range MaxDepth + 1 {
		deep = &pipepb.FieldType{TypeInfo: &pipepb.FieldType_ArrayType{ArrayType: &pipepb.ArrayType{ElementType: deep}}}
	}
	if _, err := schemaCoder(t, of(deep)); !errors.Is(err, ErrBadCoder) {
		t.Errorf("deep schema: %v", err)
	}
}
