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
	return "Prints committed metrics: what successful attempts reported. With -o json, attempted and committed ones.\n\nExample:\n\n    pharos metrics --user wordcount-1f6b1d52a4c09e37"
}

// Run prints a job's metrics.
func (c *metricsCmd) Run(env *Env) error {
	var v api.MetricsView
	if err := newClient(c.Server).get(context.Background(), jobPath(c.Job, "/metrics"), &v); err != nil {
		return err
	}
	if c.User {
		system := func(m api.Metric) bool { return !m.User }
		v.Attempted, v.Committed = slices.DeleteFunc(v.Attempted, system), slices.DeleteFunc(v.Committed, system)
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	list := v.Committed
	if c.Attempted {
		list = v.Attempted
	}
	t := newTable(env.Stdout, "METRIC", "OF", "VALUE")
	for _, m := range list {
		t.row(metricName(m), m.Of(), metricValue(m.Value))
	}
	return t.flush()
}

// metricName is what the user called it, or the URN without its frame.
func metricName(m api.Metric) string {
	if m.User {
		return m.Namespace + ":" + m.Name
	}
	return strings.TrimSuffix(strings.TrimPrefix(m.URN, "beam:metric:"), ":v1")
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
