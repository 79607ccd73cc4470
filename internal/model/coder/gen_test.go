package coder

import (
	"encoding/binary"
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// genExpr draws the expression of a coder that can be scanned.
func genExpr(t *rapid.T, depth int) string {
	leaves := []string{"bytes", "string_utf8", "bool", "varint", "double", "global_window", "interval_window", "length_prefix<?>"}
	nodes := []string{"kv", "iterable", "state_backed_iterable", "nullable", "sharded_key", "custom_window", "windowed_value", "timer"}
	choices := leaves
	if depth > 0 {
		choices = append(leaves, nodes...)
	}
	name := rapid.SampledFrom(choices).Draw(t, "coder")
	switch name {
	case "kv":
		return fmt.Sprintf("kv<%s,%s>", genExpr(t, depth-1), genExpr(t, depth-1))
	case "windowed_value", "timer":
		return fmt.Sprintf("%s<%s,%s>", name, genExpr(t, depth-1), genWindowExpr(t))
	case "iterable", "state_backed_iterable", "nullable", "sharded_key", "custom_window":
		return fmt.Sprintf("%s<%s>", name, genExpr(t, depth-1))
	}
	return name
}

func genWindowExpr(t *rapid.T) string {
	return rapid.SampledFrom([]string{
		"global_window", "interval_window", "custom_window<length_prefix<?>>", "custom_window<kv<bytes,varint>>",
	}).Draw(t, "window")
}

func genVarint(t *rapid.T) []byte {
	bits := rapid.IntRange(0, 64).Draw(t, "bits")
	return AppendVarint(nil, rapid.Uint64().Draw(t, "varint")>>(64-bits))
}

func genDelimited(t *rapid.T) []byte {
	n := rapid.SampledFrom([]int{0, 1, 2, 127, 128, 300}).Draw(t, "len")
	return AppendBytes(nil, []byte(strings.Repeat("x", n)))
}

func genInt64(t *rapid.T) []byte {
	return binary.BigEndian.AppendUint64(nil, rapid.Uint64().Draw(t, "int64"))
}

func genPane(t *rapid.T) []byte {
	return Pane{
		Timing:         Timing(rapid.IntRange(0, 3).Draw(t, "timing")),
		First:          rapid.Bool().Draw(t, "first"),
		Last:           rapid.Bool().Draw(t, "last"),
		Index:          int64(rapid.IntRange(0, 300).Draw(t, "index")),
		NonSpeculative: int64(rapid.IntRange(-1, 300).Draw(t, "nonspeculative")),
	}.Append(nil)
}

// genWindows draws the windows of an element.
func genWindows(t *rapid.T, window string) (enc []byte, n int) {
	n = 1
	if window != "global_window" {
		n = rapid.IntRange(0, 3).Draw(t, "windows")
	}
	for range n {
		enc = append(enc, genValue(t, window)...)
	}
	return enc, n
}

// genValue draws an encoding by the coder of the expression. It knows the
// format of each coder by itself, without help from the code under test.
func genValue(t *rapid.T, expr string) []byte {
	name, args := splitExpr(expr)
	switch name {
	case "bytes", "string_utf8", "length_prefix":
		return genDelimited(t)
	case "bool":
		return []byte{byte(rapid.IntRange(0, 1).Draw(t, "bool"))}
	case "varint":
		return genVarint(t)
	case "double":
		return genInt64(t)
	case "global_window":
		return nil
	case "interval_window":
		return append(genInt64(t), genVarint(t)...)
	case "custom_window":
		return append(genInt64(t), genValue(t, args[0])...)
	case "kv":
		return append(genValue(t, args[0]), genValue(t, args[1])...)
	case "sharded_key":
		return append(genDelimited(t), genValue(t, args[0])...)
	case "nullable":
		if rapid.Bool().Draw(t, "null") {
			return []byte{0}
		}
		return append([]byte{1}, genValue(t, args[0])...)
	case "iterable", "state_backed_iterable":
		return genIterable(t, args[0], name == "state_backed_iterable")
	case "windowed_value":
		windows, n := genWindows(t, args[1])
		b := binary.BigEndian.AppendUint32(genInt64(t), uint32(n))
		b = append(append(b, windows...), genPane(t)...)
		return append(b, genValue(t, args[0])...)
	case "timer":
		return genTimer(t, args[0], args[1])
	}
	panic("no generator for " + expr)
}

func genIterable(t *rapid.T, elem string, stateBacked bool) []byte {
	if rapid.Bool().Draw(t, "known length") {
		n := rapid.IntRange(0, 3).Draw(t, "elements")
		b := binary.BigEndian.AppendUint32(nil, uint32(n))
		for range n {
			b = append(b, genValue(t, elem)...)
		}
		return b
	}
	b := []byte{0xff, 0xff, 0xff, 0xff}
	for range rapid.IntRange(0, 2).Draw(t, "chunks") {
		n := rapid.IntRange(1, 2).Draw(t, "chunk")
		b = AppendVarint(b, uint64(n))
		for range n {
			b = append(b, genValue(t, elem)...)
		}
	}
	if stateBacked && rapid.Bool().Draw(t, "token") {
		return append(AppendVarint(b, ^uint64(0)), genDelimited(t)...)
	}
	return append(b, 0)
}

func genTimer(t *rapid.T, key, window string) []byte {
	windows, n := genWindows(t, window)
	b := append(genValue(t, key), genDelimited(t)...)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = append(b, windows...)
	if rapid.Bool().Draw(t, "clear") {
		return append(b, 1)
	}
	b = append(append(append(b, 0), genInt64(t)...), genInt64(t)...)
	return append(b, genPane(t)...)
}
