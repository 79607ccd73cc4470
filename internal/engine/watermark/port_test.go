package watermark

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

func TestPortBeyondTheOutputs(t *testing.T) {
	g := New(1)
	g.SetPort(0, 0, 0, timestamp.Max)
	if w := g.Output(Source{}); w != timestamp.Max {
		t.Errorf("watermark %v", w)
	}
}
