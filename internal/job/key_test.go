package job

import (
	"strings"
	"testing"
)

func TestKeyText(t *testing.T) {
	for key, want := range map[string]string{
		"k": `"k"`, "\x03key": `"key"`, "key\"": `"key\""`, "\x01": "0x01", "\xff\x00": "0xff00", "": `""`,
		strings.Repeat("é", 50): `"` + strings.Repeat("é", 40) + `"…`, strings.Repeat("\x01", 41): "0x" + strings.Repeat("01", 40) + "…",
	} {
		if got := keyText([]byte(key)); got != want {
			t.Errorf("%q: %s, want %s", key, got, want)
		}
	}
}
