// Package secret finds pipeline options that nobody is to read: passwords,
// tokens, keys. It knows them by their names, since Beam marks none.
//
// It does not keep them from the workers, which need them.
package secret

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
)

// Mask stands for a value that is not shown.
const Mask = "********"

// valueMin is the length of the shortest secret, in bytes, that is looked for
// in texts: shorter ones are parts of too many words.
const valueMin = 5

var names = regexp.MustCompile(`(?i)passw(or)?d|passphrase|secret|token|credential|(api|private|access|account)[-_]?key`)

// Name says whether an option of that name is a secret.
func Name(name string) bool { return names.MatchString(name) }

// Options returns options without the values of secrets, also of those that are
// inside other options.
func Options(o *structpb.Struct) *structpb.Struct {
	if o == nil {
		return nil
	}
	out := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(o.GetFields()))}
	for name, v := range o.GetFields() {
		if Name(name) && !empty(v) {
			v = structpb.NewStringValue(Mask)
		}
		out.Fields[name] = masked(v)
	}
	return out
}

func masked(v *structpb.Value) *structpb.Value {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StructValue:
		return structpb.NewStructValue(Options(k.StructValue))
	case *structpb.Value_ListValue:
		list := &structpb.ListValue{}
		for _, e := range k.ListValue.GetValues() {
			list.Values = append(list.Values, masked(e))
		}
		return structpb.NewListValue(list)
	}
	return v
}

// empty says that an option has no value: then there is nothing to hide.
func empty(v *structpb.Value) bool {
	switch k := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return true
	case *structpb.Value_StringValue:
		return k.StringValue == ""
	}
	return false
}

// Replacer masks the secrets among the options wherever a text has them.
func Replacer(o *structpb.Struct) *strings.Replacer {
	var found []string
	collect(o, false, &found)
	// The longest first: one may begin with another.
	slices.SortFunc(found, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range found {
		pairs = append(pairs, s, Mask)
	}
	return strings.NewReplacer(pairs...)
}

// collect finds the texts of secrets; within says that all that is here is one.
func collect(o *structpb.Struct, within bool, found *[]string) {
	for name, v := range o.GetFields() {
		collectValue(v, within || Name(name), found)
	}
}

func collectValue(v *structpb.Value, within bool, found *[]string) {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		if within && len(k.StringValue) >= valueMin {
			*found = append(*found, k.StringValue)
		}
	case *structpb.Value_StructValue:
		collect(k.StructValue, within, found)
	case *structpb.Value_ListValue:
		for _, e := range k.ListValue.GetValues() {
			collectValue(e, within, found)
		}
	}
}
