// Package telemetry sends what jobs do as OpenTelemetry traces, to a collector
// over OTLP.
//
// A job is a trace: a span for the job, sent when it ends, and below it one for
// each attempt of a bundle, with one for the processing and one for the commit.
// Spans are made after the fact, so that nothing waits for them: a collector
// that is slow or not there costs spans, never a bundle.
//
// Invariants:
//   - Of a job at most attemptsMax attempts are sent; its span says how many
//     were left out.
//   - At most queueMax spans wait to be sent.
package telemetry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/pharos-beam/pharos/internal/job"
)

// Limits.
const (
	// attemptsMax is how many attempts of a job are sent.
	attemptsMax = 10_000
	// queueMax is how many spans wait for the collector; more are lost.
	queueMax = 8192
)

// Traces is a job.Tracer that sends what it is told.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer

	mu   sync.Mutex
	jobs map[string]int // attempts so far of jobs that run
}

// Open returns Traces for a collector at an address like
// http://localhost:4318; traces go to /v1/traces there. version is the
// runner's. What cannot be sent is logged.
func Open(ctx context.Context, endpoint, version string, log *slog.Logger) (*Traces, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"))
	if err != nil {
		return nil, fmt.Errorf("traces to %s: %w", endpoint, err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are lost", "err", err) }))
	p := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(queueMax)),
		sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithSampler(sdktrace.AlwaysSample()),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "pharos"), attribute.String("service.version", version))),
	)
	return &Traces{provider: p, tracer: p.Tracer("pharos"), jobs: map[string]int{}}, nil
}

// Close sends what waits to be sent.
func (t *Traces) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// Attempt implements job.Tracer.
func (t *Traces) Attempt(a job.AttemptTrace) {
	t.mu.Lock()
	t.jobs[a.Job]++
	n := t.jobs[a.Job]
	t.mu.Unlock()
	if n > attemptsMax {
		return
	}
	end := a.Committed
	if end.IsZero() {
		end = a.Ended
	}
	ctx := trace.ContextWithSpanContext(context.Background(), spanOf(a.Job))
	ctx, span := t.tracer.Start(ctx, "bundle "+a.StageName, trace.WithTimestamp(a.Started), trace.WithAttributes(
		attribute.String("pharos.job", a.Job), attribute.Int("pharos.stage", a.Stage), attribute.String("pharos.environment", a.Environment),
		attribute.Int64("pharos.bundle", int64(a.Bundle)), attribute.Int("pharos.attempt", a.Attempt), attribute.Int64("pharos.elements", a.Elements),
	))
	t.child(ctx, "process", a.Started, a.Ended)
	if !a.Committed.IsZero() {
		t.child(ctx, "commit", a.Ended, a.Committed)
	}
	if a.Err != "" {
		span.SetStatus(codes.Error, a.Err)
	}
	span.End(trace.WithTimestamp(end))
}

func (t *Traces) child(ctx context.Context, name string, from, to time.Time) {
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(to))
}

// JobEnded implements job.Tracer.
func (t *Traces) JobEnded(id, name, state string, started, ended time.Time) {
	t.mu.Lock()
	n := t.jobs[id]
	delete(t.jobs, id)
	t.mu.Unlock()
	ctx := context.WithValue(context.Background(), rootOf{}, spanOf(id))
	_, span := t.tracer.Start(ctx, "job "+name, trace.WithNewRoot(), trace.WithTimestamp(started), trace.WithAttributes(
		attribute.String("pharos.job", id), attribute.String("pharos.state", state),
		attribute.Int("pharos.attempts", n), attribute.Int("pharos.attempts_left_out", max(0, n-attemptsMax)),
	))
	if state == "FAILED" {
		span.SetStatus(codes.Error, "the job failed")
	}
	span.End(trace.WithTimestamp(ended))
}

// spanOf is the span of a job: its ids follow from the job's, so that bundles
// can be sent before it.
func spanOf(id string) trace.SpanContext {
	sum := sha256.Sum256([]byte(id))
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(sum[:16]), SpanID: trace.SpanID(sum[16:24]), TraceFlags: trace.FlagsSampled,
	})
}

// rootOf is the key under which a context has the span that is to be made.
type rootOf struct{}

// ids makes the ids of spans: those of jobs as spanOf says, others at random.
type ids struct{}

// NewIDs implements sdktrace.IDGenerator.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if s, ok := ctx.Value(rootOf{}).(trace.SpanContext); ok {
		return s.TraceID(), s.SpanID()
	}
	var id trace.TraceID
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return id, ids{}.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var id trace.SpanID
	_, _ = rand.Read(id[:])
	return id
}
