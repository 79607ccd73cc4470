package window

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/trigger/triggertest"
)

func TestIntervalRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := timestamp.Time(rapid.Int64Range(int64(timestamp.Min), int64(timestamp.Max)).Draw(t, "start"))
		end := timestamp.Time(rapid.Int64Range(int64(start), int64(timestamp.Max)).Draw(t, "end"))
		enc := AppendInterval(nil, start, end)
		s, e, err := DecodeInterval(enc)
		if err != nil || s != start || e != end {
			t.Fatalf("[%d,%d) became [%d,%d), %v", start, end, s, e, err)
		}
		if n := IntervalLen(append(enc, 1, 2)); n != len(enc) {
			t.Fatalf("length %d, want %d", n, len(enc))
		}
	})
}

func TestMaxTimestamp(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		enc  []byte
		want timestamp.Time
	}{
		{Global, nil, timestamp.EndOfGlobalWindow},
		{Interval, AppendInterval(nil, 0, 10), 9},
		{Interval, AppendInterval(nil, timestamp.Min, timestamp.Max), timestamp.Max - 1},
		{Custom, append(timestamp.Append(nil, 7), "x"...), 7},
		{Custom, timestamp.Append(nil, timestamp.Max), timestamp.Max - 1},
	} {
		got, err := c.kind.MaxTimestamp(c.enc)
		if err != nil || got != c.want {
			t.Errorf("%v %x: %v, %v; want %v", c.kind, c.enc, got, err, c.want)
		}
	}
	for _, c := range []struct {
		kind Kind
		enc  []byte
	}{{Global, []byte{1}}, {Interval, nil}, {Interval, make([]byte, 8)}, {Custom, make([]byte, 7)}, {0, nil}} {
		if _, err := c.kind.MaxTimestamp(c.enc); !errors.Is(err, ErrBadWindow) {
			t.Errorf("%v %x: error %v", c.kind, c.enc, err)
		}
	}
}

func TestDecodeIntervalBad(t *testing.T) {
	good := AppendInterval(nil, 0, 1000)
	for _, enc := range [][]byte{nil, good[:8], good[:len(good)-1], append(slices.Clone(good), 0), append(good[:8:8], bytes.Repeat([]byte{0xff}, 10)...)} {
		if _, _, err := DecodeInterval(enc); !errors.Is(err, ErrBadWindow) {
			t.Errorf("%x: error %v", enc, err)
		}
	}
}

// TestMergeIntervals compares with merging pairs until nothing overlaps.
func TestMergeIntervals(t *testing.T) {
	type span struct{ start, end timestamp.Time }
	rapid.Check(t, func(t *rapid.T) {
		spans := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) span {
			start := timestamp.Time(rapid.IntRange(-20, 20).Draw(t, "start"))
			return span{start, start + timestamp.Time(rapid.IntRange(1, 8).Draw(t, "size"))}
		}), 0, 8).Draw(t, "spans")
		var windows [][]byte
		for _, s := range spans {
			windows = append(windows, AppendInterval(nil, s.start, s.end))
		}
		merged, err := MergeIntervals(windows)
		if err != nil {
			t.Fatal(err)
		}
		got := map[span]bool{}
		gone := map[string]bool{}
		for _, m := range merged {
			start, end, _ := DecodeInterval(m.Result)
			got[span{start, end}] = true
			for _, f := range m.From {
				gone[string(f)] = true
			}
		}
		for i, w := range windows {
			if !gone[string(w)] {
				got[spans[i]] = true
			}
		}

		want := slices.Clone(spans)
	again:
		for i := range want {
			for j := range i {
				if a, b := want[i], want[j]; a.start < b.end && b.start < a.end {
					want[j] = span{min(a.start, b.start), max(a.end, b.end)}
					want = slices.Delete(want, i, i+1)
					goto again
				}
			}
		}
		for _, w := range want {
			if !got[w] {
				t.Fatalf("%v: %v is missing in %v", spans, w, got)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%v: got %v, want %v", spans, got, want)
		}
	})
}

func spec(urn string, payload proto.Message) *pipepb.FunctionSpec {
	b, err := proto.Marshal(payload)
	if err != nil {
		panic(err)
	}
	return &pipepb.FunctionSpec{Urn: urn, Payload: b}
}

var coders = map[string]*pipepb.Coder{
	"g": {Spec: &pipepb.FunctionSpec{Urn: urnGlobalCoder}},
	"i": {Spec: &pipepb.FunctionSpec{Urn: urnIntervalCoder}},
	"c": {Spec: &pipepb.FunctionSpec{Urn: urnCustomCoder}, ComponentCoderIds: []string{"x"}},
	"x": {Spec: &pipepb.FunctionSpec{Urn: "my:coder"}},
}

func TestParse(t *testing.T) {
	s, err := Parse(&pipepb.WindowingStrategy{
		WindowFn:      spec(urnSessionWindows, &pipepb.SessionWindowsPayload{GapSize: durationpb.New(1500e6)}),
		WindowCoderId: "i", MergeStatus: pipepb.MergeStatus_NEEDS_MERGE, AllowedLateness: 5,
		EnvironmentId: "env",
	}, coders)
	if err != nil {
		t.Fatal(err)
	}
	if s.Kind != Interval || !s.Merging || s.CustomMerge || s.GapMS != 1500 || s.AllowedLatenessMS != 5 ||
		s.ClosingAlways || !s.OnTimeAlways || s.Accumulation != pipepb.AccumulationMode_DISCARDING ||
		s.Combiner != pipepb.OutputTime_END_OF_WINDOW || s.Trigger.GetDefault() == nil || s.EnvironmentID != "env" {
		t.Errorf("%+v", s)
	}

	s, err = Parse(&pipepb.WindowingStrategy{
		WindowFn: &pipepb.FunctionSpec{Urn: "my:fn"}, WindowCoderId: "c", MergeStatus: pipepb.MergeStatus_NEEDS_MERGE,
	}, coders)
	if err != nil || s.Kind != Custom || !s.Merging || !s.CustomMerge {
		t.Errorf("custom merging: %+v, %v", s, err)
	}
	s, err = Parse(&pipepb.WindowingStrategy{
		WindowFn: spec(urnSessionWindows, &pipepb.SessionWindowsPayload{}), WindowCoderId: "i", MergeStatus: pipepb.MergeStatus_ALREADY_MERGED,
	}, coders)
	if err != nil || s.Merging {
		t.Errorf("already merged: %+v, %v", s, err)
	}
	s, err = Parse(&pipepb.WindowingStrategy{
		WindowFn: spec(urnSlidingWindows, &pipepb.SlidingWindowsPayload{
			Size: durationpb.New(10e9), Period: durationpb.New(5e9)}), WindowCoderId: "i",
	}, coders)
	if err != nil || s.SizeMS != 10000 || s.PeriodMS != 5000 {
		t.Errorf("sliding: %+v, %v", s, err)
	}
}

func TestParseBad(t *testing.T) {
	global := &pipepb.FunctionSpec{Urn: urnGlobalWindows}
	for want, ws := range map[string]*pipepb.WindowingStrategy{
		"is missing":          nil,
		"has no WindowFn":     {WindowCoderId: "g"},
		"not in the pipeline": {WindowFn: global, WindowCoderId: "?"},
		"cannot find the end": {WindowFn: global, WindowCoderId: "x"},
		"want interval":       {WindowFn: &pipepb.FunctionSpec{Urn: urnSessionWindows}, WindowCoderId: "g"},
		"cannot parse":        {WindowFn: &pipepb.FunctionSpec{Urn: urnFixedWindows, Payload: []byte{0xff}}, WindowCoderId: "i"},
	} {
		if _, err := Parse(ws, coders); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	s := &Strategy{AllowedLatenessMS: 100}
	for maxTS, want := range map[timestamp.Time]timestamp.Time{
		9:                                 109,
		timestamp.EndOfGlobalWindow - 50:  timestamp.EndOfGlobalWindow,
		timestamp.EndOfGlobalWindow:       timestamp.EndOfGlobalWindow,
		timestamp.EndOfGlobalWindow + 500: timestamp.EndOfGlobalWindow + 500,
	} {
		if got := s.Expiry(maxTS); got != want {
			t.Errorf("Expiry(%v) = %v, want %v", maxTS, got, want)
		}
	}
	if s.Late(9, 109) || !s.Late(9, 110) {
		t.Error("a window is late when the watermark is after its expiry")
	}
}

func TestFiresOnce(t *testing.T) {
	for expr, want := range map[string]bool{
		"default": true, "never": true, "eow": true, "eow(never,count(1))": true, "eow(,count(1))": true,
		"repeat(eow)": true, "all(eow,count(2))": true, "each(eow,count(1))": true, "finally(default,eow)": true,
		"any(eow,never)": true,

		"always": false, "sync": false, "count(1)": false, "delay(5)": false, "eow(count(1))": false,
		"repeat(count(1))": false, "any(eow,count(2))": false, "each(count(1),eow)": false,
		"finally(default,count(5))": false, "all(always,count(2))": false,
	} {
		s := &Strategy{Trigger: triggertest.MustParse(expr)}
		if got := s.FiresOnce(); got != want {
			t.Errorf("%s: %v", expr, got)
		}
	}
}

func TestCombine(t *testing.T) {
	s := &Strategy{Combiner: pipepb.OutputTime_EARLIEST_IN_PANE}
	if s.OutputTimestamp(3, 9) != 3 || s.Combine(3, 5) != 3 {
		t.Error("earliest")
	}
	s.Combiner = pipepb.OutputTime_LATEST_IN_PANE
	if s.OutputTimestamp(3, 9) != 3 || s.Combine(3, 5) != 5 {
		t.Error("latest")
	}
	s.Combiner = pipepb.OutputTime_END_OF_WINDOW
	if s.OutputTimestamp(3, 9) != 9 || s.Combine(9, 9) != 9 {
		t.Error("end of window")
	}
}

func FuzzDecodeInterval(f *testing.F) {
	f.Add(AppendInterval(nil, 0, 10))
	f.Fuzz(func(t *testing.T, b []byte) {
		if start, end, err := DecodeInterval(b); err == nil && start > end {
			t.Errorf("%x: [%d,%d)", b, start, end)
		}
	})
}
