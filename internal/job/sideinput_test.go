package job

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/plan"
)

func testSide(t *testing.T, latest bool) *sideInput {
	return &sideInput{
		spec: &plan.SideInput{}, coll: stringColl(t), latest: latest, windows: map[string]*sideWindow{}, first: timestamp.Max,
		blocks: testBlocks(t), room: unlimitedSideRoom(),
	}
}

func (s *sideInput) put(t *testing.T, value string, pane coder.Pane) {
	t.Helper()
	w, err := s.window(nil)
	if err == nil {
		err = s.insert(w, nil, []byte(value), pane)
	}
	if err != nil {
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

// testMultimap is a multimap of strings in interval windows, with room for some
// bytes.
func testMultimap(t *testing.T, room int64) *sideInput {
	t.Helper()
	coders := map[string]*pipepb.Coder{
		"s": {Spec: &pipepb.FunctionSpec{Urn: urn.CoderStringUTF8}}, "w": {Spec: &pipepb.FunctionSpec{Urn: urn.CoderIntervalWindow}},
		"kv": {Spec: &pipepb.FunctionSpec{Urn: urn.CoderKV}, ComponentCoderIds: []string{"s", "s"}},
	}
	r := &runner{plan: &plan.Plan{Coders: coders}}
	c, err := r.collection(&plan.Collection{Coder: "kv", WindowCoder: "w"})
	if err != nil {
		t.Fatal(err)
	}
	return &sideInput{
		spec: &plan.SideInput{Multimap: true}, coll: c, windows: map[string]*sideWindow{}, first: timestamp.Max,
		blocks: testBlocks(t), room: newSideRoom(room, nil), prefix: []byte("side"), dir: t.TempDir(), windowed: &window.Strategy{Kind: window.Interval},
	}
}

// intervalEnding is a window of 1 ms that ends with a timestamp.
func intervalEnding(at timestamp.Time) []byte {
	return coder.AppendVarint(timestamp.Append(nil, at+1), 1)
}

// fill puts pairs into the side input, as a block: so many values of each of the
// keys, in each of the windows.
func (s *sideInput) fill(t *testing.T, windows []timestamp.Time, keys, values, size int) {
	t.Helper()
	var data []byte
	for _, at := range windows {
		for k := range keys {
			for v := range values {
				data = coder.AppendHeader(data, at, intervalEnding(at), 1, coder.NoFiring)
				data = coder.AppendBytes(data, fmt.Appendf(nil, "key %d", k))
				data = coder.AppendBytes(data, append(fmt.Appendf(nil, "%d/%d/%d ", at, k, v), make([]byte, size)...))
			}
		}
	}
	id, err := s.blocks.put(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.add(commit.Side{Block: id})
}

// all reads everything that a request is about, and counts the pages.
func (s *sideInput) all(t *testing.T, q sideRequest) (data []byte, pages int) {
	t.Helper()
	var pins sidePins
	defer pins.release()
	for {
		resp, err := s.read(q, &pins)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, resp.GetData()...)
		pages++
		if q.token = resp.GetContinuationToken(); len(q.token) == 0 {
			return data, pages
		}
	}
}

// TestMultimapInRows: a multimap answers the same from memory and from rows.
func TestMultimapInRows(t *testing.T) {
	for _, c := range []struct{ keys, values, size int }{{1, 1, 0}, {100, 3, 10}, {3, 3000, 500}, {3000, 3, 500}} {
		inMemory, inRows, loaded := testMultimap(t, math.MaxInt64), testMultimap(t, 0), testMultimap(t, 0)
		loaded.whole = true
		windows := []timestamp.Time{5, 1000}
		for _, s := range []*sideInput{inMemory, inRows, loaded} {
			s.fill(t, windows, c.keys, c.values, c.size)
			s.fill(t, windows, c.keys, 1, 0) // a block that comes later
		}
		for _, q := range []sideRequest{
			{kind: sideValues, key: coder.AppendBytes(nil, []byte("key 0"))}, {kind: sideKeys}, {kind: sideKeysValues},
			{kind: sideValues, key: []byte("no such key")},
		} {
			for _, at := range append(windows, 7) {
				q.window = intervalEnding(at)
				want, _ := inMemory.all(t, q)
				for _, s := range []*sideInput{inRows, loaded} {
					got, pages := s.all(t, q)
					if q.kind != sideValues { // rows have the keys in order
						want, got = sorted(want), sorted(got)
					}
					if !bytes.Equal(got, want) {
						t.Errorf("%+v, loaded at once: %v, request %d of the window that ends at %v: %d bytes in %d pages, want %d bytes",
							c, s.loaded, q.kind, at, len(got), pages, len(want))
					}
				}
			}
		}
		if inRows.rows == nil || !loaded.loaded || inMemory.rows != nil {
			t.Errorf("%+v: rows %v, loaded %v; rows of the one in memory: %v", c, inRows.rows != nil, loaded.loaded, inMemory.rows != nil)
		}
		for _, s := range []*sideInput{inRows, loaded} {
			if held := s.room.used.Load(); held > 2*2*pageOverheadBytes {
				t.Errorf("%+v: %d bytes are held besides the rows", c, held)
			}
		}
	}
}

func sorted(b []byte) []byte {
	slices.Sort(b)
	return b
}

// TestSideInputsGiveSpaceBack: windows that have expired, and what is left when
// the stage is done.
func TestSideInputsGiveSpaceBack(t *testing.T) {
	for _, room := range []int64{0, 1, math.MaxInt64} {
		s := testMultimap(t, room)
		s.whole = room == 1
		s.fill(t, []timestamp.Time{5, 1000}, 3, 3000, 500)
		s.all(t, sideRequest{kind: sideKeys, window: intervalEnding(5)})
		before := s.blocks.spool.Stats().Blocks
		var reads sidePins
		if _, err := s.read(sideRequest{kind: sideValues, key: coder.AppendBytes(nil, []byte("key 0")), window: intervalEnding(5)}, &reads); err != nil {
			t.Fatal(err)
		}
		if _, err := s.expire(6); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.all(t, sideRequest{kind: sideKeys, window: intervalEnding(5)}); len(got) > 0 {
			t.Errorf("room %d: a window that has expired has %q", room, got)
		}
		reads.release()
		if now := s.blocks.spool.Stats().Blocks; now > before || now == before && before > 0 {
			t.Errorf("room %d: %d blocks after the first window has expired, %d before", room, now, before)
		}
		if got, _ := s.all(t, sideRequest{kind: sideKeys, window: intervalEnding(1000)}); len(got) == 0 {
			t.Errorf("room %d: the other window has gone, too", room)
		}
		if _, err := s.finish(); err != nil {
			t.Fatal(err)
		}
		if left, held := s.blocks.spool.Stats().Blocks, s.room.used.Load(); left != 0 || held != 0 {
			t.Errorf("room %d: %d blocks and %d bytes are left", room, left, held)
		}
		if s.rows == nil {
			continue
		}
		err := s.rows.store.Snapshot().Scan(nil, nil, func(key, _ []byte) bool { t.Errorf("row %q is left", key); return false })
		if err != nil {
			t.Fatal(err)
		}
	}
}
