// Command stream counts an endless stream of clicks on the pages of a site, for every five seconds.
//
// Start it with `make stream-go`, or by hand, drained after half a minute:
//
//	bin/pharos run --drain-after 30s -- go run ./stream
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/periodic"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

var (
	interval = flag.Duration("interval", 50*time.Millisecond, "time between clicks")
	size     = flag.Duration("window", 5*time.Second, "clicks of such a time are counted together")

	pages   = []string{"/", "/about", "/docs", "/download", "/pricing"}
	made    = beam.NewCounter("stream", "clicks made")
	counted = beam.NewCounter("stream", "clicks counted")
)

// forever is longer than anybody waits.
const forever = 50 * 365 * 24 * time.Hour

func init() {
	register.Function2x1(click)
	register.Function4x0(report)
}

// click makes a click of a tick; some pages are more popular than others.
func click(ctx context.Context, _ []byte) string {
	made.Inc(ctx, 1)
	return pages[min(rand.IntN(9), rand.IntN(9), len(pages)-1)]
}

// report prints the count of a page in a window.
func report(ctx context.Context, w typex.Window, page string, clicks int) {
	counted.Inc(ctx, int64(clicks))
	end := w.MaxTimestamp().ToTime().Add(time.Millisecond)
	fmt.Printf("%s - %s  %5d  %s\n", end.Add(-*size).Format(time.TimeOnly), end.Format(time.TimeOnly), clicks, page)
}

// total is a counter's committed value.
func total(r metrics.QueryResults, name string) int64 {
	var n int64
	for _, c := range r.Counters() {
		if c.Name() == name {
			n += c.Result()
		}
	}
	return n
}

func main() {
	flag.Parse()
	beam.Init()
	p, s := beam.NewPipelineWithRoot()
	now := time.Now()
	ticks := periodic.Impulse(s, now, now.Add(forever), *interval, false)
	clicks := beam.WindowInto(s, window.NewFixedWindows(*size), beam.ParDo(s, click, ticks))
	beam.ParDo0(s, report, stats.Count(s, clicks))
	result, err := beamx.RunWithMetrics(context.Background(), p)
	if err != nil {
		log.Fatalf("stream: %v", err)
	}
	all := result.Metrics().AllMetrics()
	fmt.Printf("%d clicks made, %d counted\n", total(all, "clicks made"), total(all, "clicks counted"))
	if total(all, "clicks made") != total(all, "clicks counted") {
		log.Fatal("stream: not every click has been counted exactly once")
	}
}
