package main

import (
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/bench/load"
)

// samples are pairs of seconds and bytes.
func samples(figures ...float64) (list []load.Sample) {
	for i := 0; i < len(figures); i += 2 {
		list = append(list, load.Sample{Seconds: figures[i], Memory: int64(figures[i+1])})
	}
	return list
}

func TestLine(t *testing.T) {
	r := row{
		load:   workload{name: "gbk", n: 1_000_000, about: "grouping"},
		pharos: samples(1, 2e6, 3, 4e6, 2, 3e6),
		prism:  samples(4, 9e6, 8, 9e6, 6, 9e6),
	}
	want := "| gbk | 1,000,000 | 2.00 s, 500,000/s | 6.00 s, 166,666/s | **3.00** | 1.33–8.00 | 3 MB / 9 MB | grouping |\n"
	if got := r.line(); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	r.prism, r.prismFailed = nil, "hung"
	if got := r.line(); !strings.Contains(got, "| failed | – | – |") {
		t.Errorf("a failed peer reads %s", got)
	}
}
