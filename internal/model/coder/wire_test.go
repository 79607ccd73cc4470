package coder

import (
	"maps"
	"slices"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestWireCoder(t *testing.T) {
	for expr, want := range map[string]string{
		"bytes":                                 "bytes",
		"?":                                     "length_prefix<?>",
		"?<bytes,?>":                            "length_prefix<?<bytes,?>>",
		"length_prefix<?>":                      "length_prefix<?>",
		"length_prefix<kv<?,?>>":                "length_prefix<kv<?,?>>",
		"kv<?,varint>":                          "kv<length_prefix<?>,varint>",
		"kv<bytes,iterable<?>>":                 "kv<bytes,iterable<length_prefix<?>>>",
		"kv<bytes,kv<?,?>>":                     "kv<bytes,kv<length_prefix<?>,length_prefix<?>>>",
		"nullable<?>":                           "nullable<length_prefix<?>>",
		"sharded_key<?>":                        "sharded_key<length_prefix<?>>",
		"state_backed_iterable<?>":              "state_backed_iterable<length_prefix<?>>",
		"row<->":                                "length_prefix<row<>>",
		"kv<row<->,bool>":                       "kv<length_prefix<row<>>,bool>",
		"windowed_value<?,?>":                   "windowed_value<length_prefix<?>,length_prefix<?>>",
		"timer<?,?>":                            "timer<length_prefix<?>,custom_window<length_prefix<?>>>",
		"timer<?,global_window>":                "timer<length_prefix<?>,global_window>",
		"param_windowed_value<?,global_window>": "param_windowed_value<length_prefix<?>,global_window>",
		"param_windowed_value<bytes,?>":         "length_prefix<param_windowed_value<bytes,?>>",
		"custom_window<?>":                      "custom_window<length_prefix<?>>",
	} {
		coders := map[string]*pipepb.Coder{}
		id := build(coders, expr)
		w := NewWire(coders)
		got, err := w.Coder(id)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if s := show(w.Coders(), got); s != want {
			t.Errorf("%s: wire coder %s, want %s", expr, s, want)
		}
		if expr == want && got != id {
			t.Errorf("%s: new id %s for a coder that stays", expr, got)
		}
		if c, err := Parse(w.Coders(), got); err != nil || !c.Scannable() {
			t.Errorf("%s: wire coder cannot be scanned: %v", expr, err)
		}
	}
}

func TestWireWindow(t *testing.T) {
	for expr, want := range map[string]string{
		"global_window":    "global_window",
		"interval_window":  "interval_window",
		"?":                "custom_window<length_prefix<?>>",
		"bytes":            "custom_window<bytes>",
		"length_prefix<?>": "custom_window<length_prefix<?>>",
		"custom_window<?>": "custom_window<length_prefix<?>>",
		"row<->":           "custom_window<length_prefix<row<>>>",
	} {
		coders := map[string]*pipepb.Coder{}
		id := build(coders, expr)
		w := NewWire(coders)
		got, err := w.Window(id)
		if err != nil {
			t.Fatal(err)
		}
		if s := show(w.Coders(), got); s != want {
			t.Errorf("%s: wire window coder %s, want %s", expr, s, want)
		}
	}
}

func TestWireErrors(t *testing.T) {
	w := NewWire(nil)
	if _, err := w.Coder("x"); err == nil {
		t.Error("Coder of an unknown id succeeded")
	}
	if _, err := w.Window("x"); err == nil {
		t.Error("Window of an unknown id succeeded")
	}
}

func TestWireBuilders(t *testing.T) {
	w := NewWire(nil)
	b := w.Bytes()
	for id, want := range map[string]string{
		w.Windowed(b, w.GlobalWindow()):              "windowed_value<bytes,global_window>",
		w.Iterable(w.KV(b, w.Varint())):              "iterable<kv<bytes,varint>>",
		w.StateBackedIterable(w.Double()):            "state_backed_iterable<double>",
		w.Timer(w.LengthPrefix(b), w.GlobalWindow()): "timer<length_prefix<bytes>,global_window>",
	} {
		if got := show(w.Coders(), id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	if kv := w.KV(b, b); kv != w.KV(b, b) {
		t.Error("the same coder has two ids")
	}
}

// Ids of the pipeline that look like a Wire's are left alone.
func TestWireIDClash(t *testing.T) {
	first := NewWire(nil)
	taken := first.Bytes()
	coders := map[string]*pipepb.Coder{taken: protoCoder("example:coder")}
	w := NewWire(coders)
	if id := w.Bytes(); show(w.Coders(), id) != "bytes" || show(w.Coders(), taken) != "?" {
		t.Errorf("Bytes() = %s, %v", id, w.Coders())
	}
	if len(coders) != 1 {
		t.Error("the pipeline's map was changed")
	}
}

// Whatever the pipeline's coder is, the wire coder can be scanned, the
// pipeline's coders stay as they are, and the ids do not depend on the order.
func TestWireAlwaysScannable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		coders := map[string]*pipepb.Coder{}
		var ids []string
		for range 3 {
			expr := genExpr(t, 3)
			if rapid.Bool().Draw(t, "opaque") {
				expr = "kv<?," + expr + ">"
			}
			ids = append(ids, build(coders, expr))
		}
		w, v := NewWire(coders), NewWire(coders)
		for _, id := range ids {
			wid, err := w.Coder(id)
			if err != nil {
				t.Fatalf("Coder(%s): %v", id, err)
			}
			if c, err := Parse(w.Coders(), wid); err != nil || !c.Scannable() {
				t.Fatalf("%s: wire coder %s: %v", id, show(w.Coders(), wid), err)
			}
			if again, _ := w.Coder(wid); again != wid {
				t.Fatalf("wire coder of wire coder %s is %s", wid, again)
			}
		}
		for id, c := range coders {
			if !proto.Equal(c, w.Coders()[id]) {
				t.Fatalf("coder %s changed", id)
			}
		}
		slices.Reverse(ids)
		for _, id := range ids {
			_, _ = v.Coder(id)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(w.Coders())), slices.Sorted(maps.Keys(v.Coders()))) {
			t.Fatalf("ids depend on the order")
		}
	})
}
