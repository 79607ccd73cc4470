package coder

import (
	"fmt"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// build makes the components of a coder written as an expression, such as
// kv<bytes,length_prefix<?>>, and returns its id. "?" is a coder of an unknown
// URN, and ?<a,b> one with components. The ids are the expressions themselves.
func build(coders map[string]*pipepb.Coder, expr string) string {
	name, args := splitExpr(expr)
	c := &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: "beam:coder:" + name + ":v1"}}
	switch {
	case name == "?":
		c.Spec.Urn = "beam:coder:pickled_python:v1"
	case name == "row":
		c.Spec.Payload, args = unhex(args[0]), nil
	}
	for _, a := range args {
		c.ComponentCoderIds = append(c.ComponentCoderIds, build(coders, a))
	}
	coders[expr] = c
	return expr
}

// splitExpr splits a<b<c>,d> into a and [b<c> d].
func splitExpr(expr string) (name string, args []string) {
	open := strings.IndexByte(expr, '<')
	if open < 0 {
		return expr, nil
	}
	depth, start := 0, open+1
	for i := open; i < len(expr); i++ {
		switch {
		case expr[i] == '<':
			depth++
		case expr[i] == '>':
			depth--
		}
		if depth == 1 && expr[i] == ',' || depth == 0 {
			args = append(args, expr[start:i])
			start = i + 1
		}
	}
	return expr[:open], args
}

// mustParse parses a coder written as an expression.
func mustParse(t testing.TB, expr string) *Coder {
	t.Helper()
	c, err := parseExpr(expr)
	if err != nil {
		t.Fatalf("Parse(%s): %v", expr, err)
	}
	return c
}

func parseExpr(expr string) (*Coder, error) {
	coders := map[string]*pipepb.Coder{}
	return Parse(coders, build(coders, expr))
}

// show writes a coder as an expression.
func show(coders map[string]*pipepb.Coder, id string) string {
	c := coders[id]
	name := strings.TrimSuffix(strings.TrimPrefix(c.GetSpec().GetUrn(), "beam:coder:"), ":v1")
	if kindOf(c.GetSpec().GetUrn()) == Opaque {
		name = "?"
	}
	var args []string
	if name == "row" {
		args = append(args, fmt.Sprintf("%x", c.GetSpec().GetPayload()))
	}
	for _, a := range c.GetComponentCoderIds() {
		args = append(args, show(coders, a))
	}
	if len(args) == 0 {
		return name
	}
	return name + "<" + strings.Join(args, ",") + ">"
}

func unhex(s string) []byte {
	var b []byte
	if s != "-" {
		if _, err := fmt.Sscanf(s, "%x", &b); err != nil {
			panic(fmt.Sprintf("%q: %v", s, err))
		}
	}
	return b
}
