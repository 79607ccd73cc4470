package coder

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// checkBoundary checks that enc is exactly one encoding: its end is found
// whatever follows, and each beginning of it is truncated.
func checkBoundary(t fataler, c *Coder, enc []byte) {
	t.Helper()
	for _, tail := range []string{"", "\x00", "\xff\xff", "tail"} {
		n, err := c.Skip(append(enc[:len(enc):len(enc)], tail...))
		if err != nil || n != len(enc) {
			t.Fatalf("%v: Skip(%x+%x) = %d, %v, want %d", c, enc, tail, n, err, len(enc))
		}
	}
	for i := range enc {
		if n, err := c.Skip(enc[:i]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("%v: Skip(%x of %x) = %d, %v, want ErrTruncated", c, enc[:i], enc, n, err)
		}
	}
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func TestSkipStandardCoders(t *testing.T) {
	for _, file := range []string{"testdata/standard_coders.txt", "testdata/rows.txt"} {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var c *Coder
		cases := 0
		for lines := bufio.NewScanner(f); lines.Scan(); {
			line := lines.Text()
			switch {
			case line == "" || line[0] == '#':
			case line[0] == '\t':
				checkBoundary(t, c, unhex(strings.TrimSpace(line)))
				cases++
			default:
				if c = mustParse(t, line); !c.Scannable() {
					t.Errorf("%s is not scannable", line)
				}
			}
		}
		if cases == 0 {
			t.Errorf("%s: no cases", file)
		}
	}
}

func TestSkipFindsBoundaries(t *testing.T) { rapid.Check(t, propSkip) }

func FuzzSkipGenerated(f *testing.F) { f.Fuzz(rapid.MakeFuzz(propSkip)) }

func propSkip(t *rapid.T) {
	expr := genExpr(t, 3)
	c, err := parseExpr(expr)
	if err != nil || !c.Scannable() {
		t.Fatalf("Parse(%s): %v", expr, err)
	}
	checkBoundary(t, c, genValue(t, expr))
}

// exprs are coders for fuzzing with bytes that nobody encoded.
var exprs = []string{
	"bytes", "varint", "bool", "double", "string_utf8", "global_window", "interval_window",
	"kv<length_prefix<?>,varint>",
	"kv<kv<bytes,double>,kv<bool,interval_window>>",
	"iterable<varint>", "iterable<global_window>", "iterable<double>", "iterable<kv<bytes,iterable<bool>>>",
	"state_backed_iterable<bytes>", "state_backed_iterable<global_window>",
	"nullable<bytes>", "nullable<nullable<varint>>", "sharded_key<string_utf8>",
	"custom_window<length_prefix<?>>",
	"timer<bytes,interval_window>", "timer<global_window,global_window>",
	"windowed_value<varint,custom_window<bytes>>", "windowed_value<iterable<bytes>,global_window>",
	"param_windowed_value<kv<bytes,varint>,global_window>",
	// From testdata/rows.txt.
	"row<0a0d0a01611a081a060a04080110070a1d0a01621a18080132140a120a090a01781a04080110031205696e6e657212066e6573746564>",
	"row<0a0b0a01611a040801100728020a090a01621a04080110040a090a01631a02100828011209706f736974696f6e732001>",
}

func FuzzSkip(f *testing.F) {
	for i := range exprs {
		f.Add(uint8(i), []byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0})
		f.Add(uint8(i), []byte{0, 0, 0, 2, 0x80, 1, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		expr := exprs[int(i)%len(exprs)]
		c := mustParse(t, expr)
		n, err := c.Skip(b)
		switch {
		case err == nil:
			if n > len(b) {
				t.Fatalf("%s: Skip(%x) = %d", expr, b, n)
			}
			checkBoundary(t, c, b[:n])
		case !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrMalformed):
			t.Fatalf("%s: Skip(%x): unexpected error %v", expr, b, err)
		}
	})
}

func TestSkipMalformed(t *testing.T) {
	for _, tc := range []struct{ expr, hex, want string }{
		{"varint", "ffffffffffffffffff02", "more than 64 bits"},
		{"varint", "ffffffffffffffffffff", "more than 64 bits"},
		{"bytes", "8080808008", "length out of range"},
		{"bytes", "ffffffffffffffffff01", "length out of range"},
		{"nullable<bytes>", "02", "null indicator"},
		{"iterable<bytes>", "fffffffe", "negative number of elements"},
		{"iterable<bytes>", "ffffffffffffffffffffffffff01", "state token"},
		{"state_backed_iterable<bytes>", "fffffffffeffffffffffffffff01", "negative number of elements"},
		{"windowed_value<bytes,global_window>", "000000000000000000000001300100", "encoding of a pane"},
		{"windowed_value<bytes,global_window>", "0000000000000000000000020f00", "number of windows"},
		{"windowed_value<bytes,interval_window>", "0000000000000000ffffffff0f00", "number of windows"},
		{"timer<bytes,global_window>", "00000000000102", "clear bit"},
		{"row<0a070a01611a0210010a070a01621a0210020a070a01631a0210051205736d616c6c>", "0400", "more fields than its schema"},
		{"kv<bytes,?>", "00", "unknown coder"},
	} {
		_, err := mustParse(t, tc.expr).Skip(unhex(tc.hex))
		if err == nil || errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: Skip(%s): %v, want an error with %q", tc.expr, tc.hex, err, tc.want)
		}
		if err != nil && !strings.Contains(err.Error(), tc.expr) {
			t.Errorf("%s: Skip(%s): error %q does not name the coder", tc.expr, tc.hex, err)
		}
	}
}

func TestRowOfOlderSchema(t *testing.T) {
	// Two of the three fields that the schema has by now.
	c := mustParse(t, "row<0a070a01611a0210010a070a01621a0210020a070a01631a0210051205736d616c6c>")
	checkBoundary(t, c, unhex("0200010002"))
}

// Elements without bytes must not cost time.
func TestSkipHugeCounts(t *testing.T) {
	for _, tc := range []struct{ expr, hex string }{
		{"iterable<global_window>", "7fffffff"},
		{"iterable<kv<global_window,global_window>>", "7fffffff"},
		{"state_backed_iterable<global_window>", "fffffffffeffffffffffffff7f00"},
	} {
		enc := unhex(tc.hex)
		if n, err := mustParse(t, tc.expr).Skip(enc); err != nil || n != len(enc) {
			t.Errorf("%s: Skip(%s) = %d, %v", tc.expr, tc.hex, n, err)
		}
	}
	enc := unhex("7fffffff00000000000000000000")
	if _, err := mustParse(t, "iterable<double>").Skip(enc); !errors.Is(err, ErrTruncated) {
		t.Errorf("iterable<double>: %v, want ErrTruncated", err)
	}
}

func TestSplitKV(t *testing.T) {
	c := mustParse(t, "kv<string_utf8,varint>")
	key, val, err := SplitKV(c, []byte("\x03abc\x05"))
	if err != nil || string(key) != "\x03abc" || string(val) != "\x05" {
		t.Errorf("SplitKV = %q, %q, %v", key, val, err)
	}
	if _, _, err := SplitKV(c, []byte("\x03ab")); !errors.Is(err, ErrTruncated) {
		t.Errorf("SplitKV of half a key: %v", err)
	}
	if _, _, err := SplitKV(mustParse(t, "bytes"), []byte("\x00")); err == nil {
		t.Error("SplitKV of bytes succeeded")
	}
}

func TestVarint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint64().Draw(t, "v") >> rapid.IntRange(0, 63).Draw(t, "shift")
		b := AppendVarint(nil, v)
		if len(b) != VarintLen(v) {
			t.Fatalf("VarintLen(%d) = %d, encoded in %d bytes", v, VarintLen(v), len(b))
		}
		if got, n, err := Varint(b); got != v || n != len(b) || err != nil {
			t.Fatalf("Varint(%x) = %d, %d, %v, want %d", b, got, n, err, v)
		}
	})
}
