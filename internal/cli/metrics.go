package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pharos-beam/pharos/internal/server/api"
)

type metricsCmd struct {
	Job       string `arg:"" help:"Job id."`
	Attempted bool   `help:"Count every attempt, also those that failed or still run."`
	User      bool   `help:"Only the metrics of the pipeline's own code."`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*metricsCmd) Help() string {
	return "Prints committed metrics: what successful attempts reported. With --attempted, also what failed attempts and bundles under " +
		"way did. Then, for each transform, the watermarks and the backlog of its stage. With -o json, all of these.\n\nExample:\n\n    pharos metrics --user wordcount-1f6b1d52a4c09e37"
}

// Run prints a job's metrics.
func (c *metricsCmd) Run(env *Env) error {
	var v api.MetricsView
	if err := newClient(c.Server).get(context.Background(), jobPath(c.Job, "/metrics"), &v); err != nil {
		return err
	}
	if c.User {
		system := func(m api.Metric) bool { return !m.User }
		v.Attempted, v.Committed, v.Runner = slices.DeleteFunc(v.Attempted, system), slices.DeleteFunc(v.Committed, system), []api.Metric{}
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	list := v.Committed
	if c.Attempted {
		list = v.Attempted
	}
	t := newTable(env.Stdout, "METRIC", "OF", "VALUE")
	for _, m := range append(list, v.Runner...) {
		t.row(metricName(m), m.Of(), metricValue(m.Value))
	}
	return t.flush()
}

// metricName is what the user called it, or the URN without its frame.
func metricName(m api.Metric) string {
	if m.User {
		return m.Namespace + ":" + m.Name
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(m.URN, "beam:metric:"), "pharos:metric:"), ":v1")
}

// metricValue writes a decoded JSON value on one line.
func metricValue(v any) string {
	switch x := v.(type) {
	case float64:
		return fmt.Sprint(json.Number(fmt.Sprintf("%.10g", x)))
	case map[string]any:
		if value, ok := x["value"]; ok && len(x) == 2 { // a gauge
			return metricValue(value)
		}
		if at, ok := x["time"]; ok && len(x) == 2 { // a watermark
			return fmt.Sprint(at)
		}
		if _, ok := x["count"]; ok && len(x) == 4 { // a distribution
			return fmt.Sprintf("count=%s sum=%s min=%s max=%s",
				metricValue(x["count"]), metricValue(x["sum"]), metricValue(x["min"]), metricValue(x["max"]))
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
