package job

import (
	"bytes"
	"testing"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/plan"
)

func testSide(t *testing.T, latest bool) *sideInput {
	return &sideInput{spec: &plan.SideInput{}, coll: stringColl(t), latest: latest, index: map[string]*sideWindow{}}
}

func (s *sideInput) put(t *testing.T, value string, pane coder.Pane) {
	t.Helper()
	if err := s.insert(nil, []byte(value), pane); err != nil {
		t.Fatal(err)
	}
}

func sideGet(t *testing.T, s *sideInput, pins *sidePins, token []byte) (data, next []byte) {
	t.Helper()
	resp, err := s.read(sideRequest{kind: sideAll, token: token}, pins)
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetData(), resp.GetContinuationToken()
}

func TestLatestPaneCounts(t *testing.T) {
	s := testSide(t, true)
	pane := func(i int64) coder.Pane { return coder.Pane{Timing: coder.Early, Index: i} }
	for _, step := range []struct {
		value string
		pane  coder.Pane
		want  string
	}{
		{"a", pane(0), "a"},
		{"b", pane(0), "ab"}, // another key's
		{"c", pane(1), "c"},
		{"d", coder.Pane{Timing: coder.Unknown}, "cd"},
		{"e", pane(3), "e"},
	} {
		s.put(t, step.value, step.pane)
		if got, _ := sideGet(t, s, &sidePins{}, nil); string(got) != step.want {
			t.Errorf("after %s: %q, want %q", step.value, got, step.want)
		}
	}
}

// What a bundle reads in pages does not change while it reads.
func TestSidePagesOfOneContent(t *testing.T) {
	s := testSide(t, true)
	old, pane := bytes.Repeat([]byte("o"), sidePageBytes), coder.Pane{Timing: coder.Early}
	s.put(t, string(old), pane)
	s.put(t, "end", pane)
	var reading, later sidePins
	first, token := sideGet(t, s, &reading, nil)
	if !bytes.Equal(first, old) || token == nil {
		t.Fatalf("the first page has %d bytes, token %x", len(first), token)
	}
	pane.Index = 1
	s.put(t, "new", pane)
	if rest, more := sideGet(t, s, &reading, token); string(rest) != "end" || more != nil {
		t.Errorf("the second page is %q, token %x", rest, more)
	}
	if got, _ := sideGet(t, s, &later, nil); string(got) != "new" {
		t.Errorf("another bundle reads %q", got)
	}
}
