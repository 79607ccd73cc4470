package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pharos-beam/pharos/bench/load"
)

// streamElements is the length of the stream, streamRatio what a durable one must reach of the throughput of one that is not.
const (
	streamElements = 2_000_000
	streamRatio    = 0.5
)

// streams runs the same stream in memory and on disk, in turn.
func (b *bench) streams(ctx context.Context) error {
	if !b.o.wants("stream") {
		return nil
	}
	for i := range b.o.repeats {
		both := []func() error{
			func() error { return b.stream(ctx, "", &b.memory) },
			func() error { return b.durableStream(ctx) },
		}
		if i%2 == 1 {
			slices.Reverse(both)
		}
		for _, f := range both {
			if err := f(); err != nil {
				return fmt.Errorf("stream: %w", err)
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	if ratio := b.ratio(); ratio < streamRatio {
		b.failures = append(b.failures, fmt.Errorf("the durable stream has %.2f of the throughput of the one in memory, less than %.2f", ratio, streamRatio))
	}
	return nil
}

func (b *bench) durableStream(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "pharos-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return b.stream(ctx, "--data "+filepath.Join(dir, "data"), &b.durable)
}

func (b *bench) stream(ctx context.Context, flags string, samples *[]load.Sample) error {
	n := int64(streamElements * b.o.scale)
	s, err := b.goload.Run(ctx, b.o.command(flags), "stream", n, []string{"--size", "100", "--keys", "1000"})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "stream %s %.1f s, %d MB; ", flags, s.Seconds, s.Memory/1e6)
	b.fits("stream "+flags, s)
	*samples = append(*samples, s)
	return nil
}

// ratio of the durable stream's throughput to that of the one in memory.
func (b *bench) ratio() float64 { return median(b.memory) / median(b.durable) }

// peak is the most memory that a run has taken, in bytes.
func peak(samples []load.Sample) (most int64) {
	for _, s := range samples {
		most = max(most, s.Memory)
	}
	return most
}

func median(samples []load.Sample) float64 {
	var list []float64
	for _, s := range samples {
		list = append(list, s.Seconds)
	}
	return load.Median(list)
}
