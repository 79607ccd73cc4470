package coder

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

func TestScan(t *testing.T) { rapid.Check(t, propScan) }

func FuzzScanGenerated(f *testing.F) { f.Fuzz(rapid.MakeFuzz(propScan)) }

// propScan: of a stream of windowed values, each comes out as it went in, also
// when the stream is cut anywhere.
func propScan(t *rapid.T) {
	elem, window := genExpr(t, 2), genWindowExpr(t)
	ec, err1 := parseExpr(elem)
	wc, err2 := parseExpr(window)
	if err1 != nil || err2 != nil {
		t.Fatalf("Parse: %v, %v", err1, err2)
	}
	s := NewScanner(ec, wc)
	ts := timestamp.Time(rapid.Int64().Draw(t, "timestamp"))
	windows, n := genWindows(t, window)
	pane, value := genPane(t), genValue(t, elem)
	raw := append(AppendHeader(nil, ts, windows, n, pane), value...)

	var e Element
	got, err := s.Scan(append(raw[:len(raw):len(raw)], "next"...), &e)
	if err != nil || got != len(raw) {
		t.Fatalf("Scan(%x) = %d, %v", raw, got, err)
	}
	if e.Timestamp != ts || e.NumWindows != n || !bytes.Equal(e.Windows, windows) || !bytes.Equal(e.Pane, pane) ||
		!bytes.Equal(e.Value, value) || !bytes.Equal(e.Raw, raw) {
		t.Fatalf("Scan(%x) = %+v", raw, e)
	}
	var joined []byte
	count := 0
	if err := s.EachWindow(&e, func(w []byte) error {
		joined = append(joined, w...)
		count++
		return nil
	}); err != nil || count != n || !bytes.Equal(joined, windows) {
		t.Fatalf("EachWindow: %d windows, %x, %v", count, joined, err)
	}
	for i := range raw {
		if _, err := s.Scan(raw[:i], &e); err != ErrTruncated {
			t.Fatalf("Scan of %d bytes of %x: %v", i, raw, err)
		}
	}
	// The same as a coder inside another.
	c, err := parseExpr(fmt.Sprintf("windowed_value<%s,%s>", elem, window))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	checkBoundary(t, c, raw)
}

func FuzzScan(f *testing.F) {
	f.Add(uint8(0), uint8(0), []byte("\x80\x00\x01R\x9a\xa4\x9bh\x00\x00\x00\x01\x0f\x02"))
	f.Add(uint8(1), uint8(1), []byte("\x7f\xff\xff\xff\xff\xf9\xe5\x80\x00\x00\x00\x01\x80\x00\x01R\x9a\xa4\x9bh\xc0\x8b\x11\x0f\x04"))
	windows := []string{"global_window", "interval_window", "custom_window<bytes>", "bytes"}
	f.Fuzz(func(t *testing.T, i, j uint8, b []byte) {
		s := NewScanner(mustParse(t, exprs[int(i)%len(exprs)]), mustParse(t, windows[int(j)%len(windows)]))
		var e Element
		n, err := s.Scan(b, &e)
		if err != nil {
			if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrMalformed) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		again := append(AppendHeader(nil, e.Timestamp, e.Windows, e.NumWindows, e.Pane), e.Value...)
		if !bytes.Equal(again, b[:n]) || !bytes.Equal(e.Raw, b[:n]) {
			t.Fatalf("Scan(%x) = %d, %+v", b, n, e)
		}
		count := 0
		err = s.EachWindow(&e, func([]byte) error { count++; return nil })
		if err != nil || count != e.NumWindows {
			t.Fatalf("EachWindow: %d of %d windows, %v", count, e.NumWindows, err)
		}
	})
}

func TestScanMalformed(t *testing.T) {
	s := NewScanner(mustParse(t, "bytes"), mustParse(t, "interval_window"))
	b := append(make([]byte, 8), 0, 0, 0, 1)
	b = append(append(b, make([]byte, 8)...), bytes.Repeat([]byte{0xff}, 10)...)
	_, err := s.Scan(b, &Element{})
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("Scan: %v", err)
	}
	_, err = NewScanner(mustParse(t, "?"), mustParse(t, "global_window")).Scan(unhex("0000000000000000000000010f00"), &Element{})
	if !errors.Is(err, ErrOpaque) {
		t.Errorf("Scan of an opaque element: %v", err)
	}
}

func TestEachWindowStops(t *testing.T) {
	s := NewScanner(mustParse(t, "bytes"), mustParse(t, "varint"))
	stop := errors.New("stop")
	calls := 0
	err := s.EachWindow(&Element{Windows: []byte{1, 2, 3}, NumWindows: 3}, func(w []byte) error {
		if calls++; w[0] == 2 {
			return stop
		}
		return nil
	})
	if err != stop || calls != 2 {
		t.Errorf("EachWindow: %v after %d calls", err, calls)
	}
}

func TestPane(t *testing.T) {
	for _, tc := range []struct {
		hex  string
		pane Pane
	}{
		{"0f", Unfired},
		{"261e28", Pane{Timing: OnTime, Last: true, Index: 30, NonSpeculative: 40}},
		{"05", Pane{Timing: OnTime, First: true}},
		{"1100", Pane{Timing: Early, First: true, NonSpeculative: -1}},
		{"1003", Pane{Timing: Early, Index: 3, NonSpeculative: -1}},
		{"1a05", Pane{Timing: Late, Last: true, Index: 5, NonSpeculative: 5}},
		{"280502", Pane{Timing: Late, Index: 5, NonSpeculative: 2}},
	} {
		if got := tc.pane.Append(nil); !bytes.Equal(got, unhex(tc.hex)) {
			t.Errorf("%+v: Append = %x, want %s", tc.pane, got, tc.hex)
		}
		if got, n, err := DecodePane(append(unhex(tc.hex), 0xff)); err != nil || got != tc.pane || n != len(tc.hex)/2 {
			t.Errorf("DecodePane(%s) = %+v, %d, %v, want %+v", tc.hex, got, n, err, tc.pane)
		}
	}
	// One byte leaves the second index to the timing.
	if p, _, _ := DecodePane([]byte{0x00}); p.NonSpeculative != -1 {
		t.Errorf("early pane of one byte: %+v", p)
	}
	if !bytes.Equal(NoFiring, Unfired.Append(nil)) {
		t.Errorf("NoFiring = %x", NoFiring)
	}
	for bad, want := range map[string]error{"-": ErrTruncated, "1f": ErrTruncated, "2f00": ErrTruncated, "30": ErrMalformed} {
		if _, _, err := DecodePane(unhex(bad)); !errors.Is(err, want) {
			t.Errorf("DecodePane(%s): %v, want %v", bad, err, want)
		}
	}
}

func TestTimer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, window := genExpr(t, 1), genWindowExpr(t)
		kc, err1 := parseExpr(key)
		wc, err2 := parseExpr(window)
		if err1 != nil || err2 != nil {
			t.Fatalf("Parse: %v, %v", err1, err2)
		}
		s := NewTimerScanner(kc, wc)
		raw := genTimer(t, key, window)
		var e TimerElement
		n, err := s.Scan(append(raw[:len(raw):len(raw)], 0xff), &e)
		if err != nil || n != len(raw) || !bytes.Equal(e.Raw, raw) {
			t.Fatalf("Scan(%x) = %d, %+v, %v", raw, n, e, err)
		}
		if again := e.Append(nil); !bytes.Equal(again, raw) {
			t.Fatalf("Append = %x, want %x", again, raw)
		}
		count := 0
		if err := s.EachWindow(&e, func([]byte) error { count++; return nil }); err != nil || count != e.NumWindows {
			t.Fatalf("EachWindow: %d of %d, %v", count, e.NumWindows, err)
		}
		for i := range raw {
			if _, err := s.Scan(raw[:i], &e); err != ErrTruncated {
				t.Fatalf("Scan of %d bytes of %x: %v", i, raw, err)
			}
		}
	})
}

func TestTimerFields(t *testing.T) {
	s := NewTimerScanner(mustParse(t, "string_utf8"), mustParse(t, "global_window"))
	var e TimerElement
	// From Beam's standard_coders.yaml.
	if _, err := s.Scan(unhex("036b6579037461670000000100"+"80000000000004d2"+"800000000000162e"+"0f"), &e); err != nil {
		t.Fatal(err)
	}
	if string(e.Key) != "\x03key" || string(e.Tag) != "tag" || e.NumWindows != 1 || e.Clear || e.Fire != 1234 || e.Hold != 5678 || e.Pane[0] != 0x0f {
		t.Errorf("timer %+v", e)
	}
	if _, err := s.Scan(unhex("036b65790374616700000001"+"01"), &e); err != nil || !e.Clear || e.Fire != 0 || e.Pane != nil {
		t.Errorf("clear %+v: %v", e, err)
	}
}

// benchmarks are streams of elements of common shapes.
var benchmarks = []struct{ name, elem, window, value, win string }{
	{"bytes", "length_prefix<?>", "global_window", "0568656c6c6f", "-"},
	{"kv", "kv<length_prefix<?>,varint>", "global_window", "0568656c6c6f05", "-"},
	{"kvkv", "kv<bytes,kv<varint,double>>", "global_window", "0568656c6c6fa0054000000000000000", "-"},
	{"interval", "kv<string_utf8,bytes>", "interval_window", "0568656c6c6f0568656c6c6f", "800001529aa49b6880dddb01"},
	{"custom", "bytes", "custom_window<length_prefix<?>>", "0568656c6c6f", "80000000000000010401020304"},
	{"iterable", "kv<bytes,iterable<varint>>", "global_window", "0568656c6c6f0000000501020304e807", "-"},
	{"row", "row<0a070a01611a0210010a070a01621a0210020a070a01631a0210051205736d616c6c>", "global_window", "030001000240400000", "-"},
}

func TestScanDoesNotAllocate(t *testing.T) {
	for _, bm := range benchmarks {
		s, data := stream(t, bm.elem, bm.window, bm.value, bm.win, 10)
		if n := testing.AllocsPerRun(10, func() { scanAll(t, s, data) }); n != 0 {
			t.Errorf("%s: %v allocations", bm.name, n)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	const elements = 10000
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			s, data := stream(b, bm.elem, bm.window, bm.value, bm.win, elements)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				scanAll(b, s, data)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/elements, "ns/element")
		})
	}
}

func stream(t testing.TB, elem, window, value, win string, n int) (*Scanner, []byte) {
	one := append(AppendHeader(nil, 1234, unhex(win), 1, nil), unhex(value)...)
	return NewScanner(mustParse(t, elem), mustParse(t, window)), bytes.Repeat(one, n)
}

func scanAll(t testing.TB, s *Scanner, data []byte) {
	var e Element
	for len(data) > 0 {
		n, err := s.Scan(data, &e)
		if err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	if _, err := s.Scan(nil, &e); err != ErrTruncated {
		t.Fatal(err)
	}
}
