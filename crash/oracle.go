package main

import (
	"cmp"
	"fmt"
	"slices"
)

// What the streaming job does: see python/crash_stream.py and java/CrashStream.java, which have the same numbers.
const (
	baseMS      = 1700000000 * 1000
	stepMS      = 100
	jitterMS    = 5000
	windowMS    = 20_000
	gapMS       = 4000
	streamKeys  = 20
	sessionKeys = 50
)

// What the batch job does: see gopipeline/main.go.
const (
	batchKeys   = 500
	recordBytes = 1024
)

// mix is a hash of 64 bits: the finalizer of splitmix64.
func mix(seed, n uint64) uint64 {
	z := (seed*0x9E3779B97F4A7C15 + n + 1) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

func eventMS(seed, n uint64) int64 {
	return baseMS + int64(n)*stepMS - int64(mix(seed, n)%jitterMS)
}

// part is what a window of a key holds.
type part struct {
	count  int
	digest uint64
}

func (p *part) add(seed, n uint64) {
	p.count++
	p.digest += mix(seed, n) >> 32
}

// streamLines are the lines that the streaming job has to write.
func streamLines(ids int, seed uint64) []string {
	var lines []string
	totals := map[uint64]int{}
	type pane struct {
		key   uint64
		start int64
	}
	windows := map[pane]*part{}
	for n := range uint64(ids) {
		key := mix(seed, n) / jitterMS % streamKeys
		totals[key]++
		lines = append(lines, fmt.Sprintf("id|%d", n), fmt.Sprintf("total|%d|%d", key, totals[key]))
		at := eventMS(seed, n)
		w := pane{key, at - at%windowMS}
		if windows[w] == nil {
			windows[w] = &part{}
		}
		windows[w].add(seed, n)
	}
	for w, p := range windows {
		lines = append(lines,
			fmt.Sprintf("window|%d|%d|%d|%d", w.key, w.start/1000, p.count, p.digest),
			fmt.Sprintf("alarm|%d/%d|1", w.key, w.start/1000))
	}
	return append(lines, sessionLines(ids, seed)...)
}

func sessionLines(ids int, seed uint64) []string {
	byKey := make([][]uint64, sessionKeys)
	for n := range uint64(ids) {
		key := mix(seed, n) / jitterMS % sessionKeys
		byKey[key] = append(byKey[key], n)
	}
	var lines []string
	for key, all := range byKey {
		slices.SortFunc(all, func(a, b uint64) int { return cmp.Compare(eventMS(seed, a), eventMS(seed, b)) })
		for len(all) > 0 {
			p, start := part{}, eventMS(seed, all[0])
			end := start
			for len(all) > 0 && (p.count == 0 || eventMS(seed, all[0]) < end) {
				p.add(seed, all[0])
				end = eventMS(seed, all[0]) + gapMS
				all = all[1:]
			}
			lines = append(lines, fmt.Sprintf("session|%d|%d|%d|%d|%d", key, start, end, p.count, p.digest))
		}
	}
	return lines
}

// batchLines are the lines that the batch job has to write.
func batchLines(records int, seed uint64) []string {
	counts, digests := map[uint64]int{}, map[uint64]uint64{}
	for n := range uint64(records) {
		key := mix(seed, n) % batchKeys
		counts[key]++
		digests[key] += mix(seed, n)
	}
	var lines []string
	for key, count := range counts {
		lines = append(lines, fmt.Sprintf("batch|%d|%d|%d", key, count, digests[key]))
	}
	return lines
}
