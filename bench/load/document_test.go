package load

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTableReplace(t *testing.T) {
	table := Table{Begin: "<!-- begin -->", End: "<!-- end -->"}
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("a\n"+table.Begin+"\nold\n"+table.End+"\nb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"new\n", "newer\n"} {
		if err := table.Replace(path, text); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if want := "a\n" + table.Begin + "\n" + text + table.End + "\nb\n"; err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}
