package coder

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestValue(t *testing.T) {
	for _, c := range []struct{ expr, hex, want string }{
		{"bytes", "05 68656c6c6f", `"hello"`},
		{"bytes", "02 00ff", `"0x00ff"`},
		{"bytes", "05 6865", `"0x056865"`}, // broken
		{"string_utf8", "02 c3a9", `"é"`},
		{"varint", "ffffffffffffffffff01", `-1`},
		{"bool", "01", `true`},
		{"double", "3ff8000000000000", `1.5`},
		{"double", "7ff8000000000001", `"NaN"`},
		{"double", "fff0000000000000", `"-Infinity"`},
		{"kv<string_utf8,varint>", "01 61 07", `{"key":"a","value":7}`},
		{"kv<string_utf8,?>", "01 61 80 02", `{"key":"a","value":"0x8002"}`},
		{"kv<bytes,iterable<varint>>", "01 61 00000002 05 06", `{"key":"a","value":[5,6]}`},
		{"iterable<bool>", "ffffffff 02 01 00 01 01 00", `[true,false,true]`},
		{"iterable<varint>", "00000000", `[]`},
		{"nullable<bytes>", "00", `null`},
		{"nullable<bytes>", "01 01 61", `"a"`},
		{"length_prefix<?>", "02 6869", `"hi"`},
		{"length_prefix<kv<varint,varint>>", "02 01 02", `{"key":1,"value":2}`},
		{"?", "0a 0b", `"0x0a0b"`},
	} {
		got, err := json.Marshal(mustParse(t, c.expr).Value(unhex(strings.ReplaceAll(c.hex, " ", ""))))
		if err != nil || string(got) != c.want {
			t.Errorf("%s of %s: %s, %v, want %s", c.expr, c.hex, got, err, c.want)
		}
	}
}

func TestValueOfRow(t *testing.T) {
	// a varint, b a nullable bytes, c a nullable bool, from testdata/rows.txt.
	c := mustParse(t, "row<0a0b0a01611a040801100728020a090a01621a04080110040a090a01631a02100828011209706f736974696f6e732001>")
	got, err := json.Marshal(c.Value(unhex("0000")))
	if err != nil || string(got) != "[]" {
		t.Errorf("%s, %v", got, err)
	}
	got, err = json.Marshal(c.Value(unhex("03010201027979")))
	if want := `[{"name":"b","value":null},{"name":"c","value":true},{"name":"a","value":"yy"}]`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

func TestValuesAreCut(t *testing.T) {
	long := AppendBytes(nil, []byte(strings.Repeat("é", textMax)))
	if v := mustParse(t, "bytes").Value(long).(string); len(v) > textMax+4 || !strings.HasSuffix(v, "é…") {
		t.Errorf("%d bytes, ending in %q", len(v), v[len(v)-8:])
	}
	list := append([]byte{0, 0, 4, 0}, make([]byte, 1024)...)
	if v := mustParse(t, "iterable<varint>").Value(list).([]any); len(v) != valuesMax {
		t.Errorf("%d elements", len(v))
	}
}

// What a worker sends as a sample may be anything.
func FuzzValue(f *testing.F) {
	for i := range exprs {
		f.Add(uint8(i), []byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0})
		f.Add(uint8(i), []byte{0, 0, 0, 2, 0x80, 1, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		if _, err := json.Marshal(mustParse(t, exprs[int(i)%len(exprs)]).Value(b)); err != nil {
			t.Fatal(err)
		}
	})
}
