// Command wordcount counts the words of a text with the Beam Go SDK and writes one "word: count" line for each.
//
//	pharos run -- go run ./wordcount --input ../data/kjv.txt --output /tmp/counts.txt
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"regexp"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/textio"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

var (
	input  = flag.String("input", "", "file to read")
	output = flag.String("output", "", "file to write")

	// The words of Beam's Python word count, so that both give the same counts.
	word       = regexp.MustCompile(`[A-Za-z0-9_']+`)
	emptyLines = beam.NewCounter("wordcount", "empty_lines")
)

func init() {
	register.Function3x0(splitWords)
	register.Function2x1(formatCount)
	register.Emitter1[string]()
}

func splitWords(ctx context.Context, line string, emit func(string)) {
	words := word.FindAllString(line, -1)
	if len(words) == 0 {
		emptyLines.Inc(ctx, 1)
	}
	for _, w := range words {
		emit(w)
	}
}

func formatCount(word string, count int) string {
	return fmt.Sprintf("%s: %d", word, count)
}

func main() {
	flag.Parse()
	beam.Init()
	if *input == "" || *output == "" {
		log.Fatal("wordcount: --input and --output are needed")
	}
	p, s := beam.NewPipelineWithRoot()
	lines := textio.Read(s, *input)
	counts := stats.Count(s, beam.ParDo(s, splitWords, lines))
	textio.Write(s, *output, beam.ParDo(s, formatCount, counts))
	if err := beamx.Run(context.Background(), p); err != nil {
		log.Fatalf("wordcount: %v", err)
	}
}
