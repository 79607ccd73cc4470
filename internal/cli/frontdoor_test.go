package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"testing"

	"github.com/pharos-beam/pharos/internal/server"
)

// all are the jobs of an engine.
type all interface{ server.Jobs }

// lateJobs notes whether somebody asks for jobs before they are there.
type lateJobs struct {
	all
	there *atomic.Bool
	early *atomic.Bool
}

func (l lateJobs) Jobs() []server.Job {
	if !l.there.Load() {
		l.early.Store(true)
	}
	return l.all.Jobs()
}

// A client that asks while the jobs of before are read waits for its answer: it
// is not told that there are none.
func TestRequestsWaitForTheJobsOfBefore(t *testing.T) {
	var there, early atomic.Bool
	answered := make(chan error, 1)
	connected := make(chan struct{})
	engine := func(c EngineConfig) (*Engine, error) {
		e, err := fakeEngine(c)
		if err != nil {
			return nil, err
		}
		e.Jobs = lateJobs{e.Jobs, &there, &early}
		e.Start = func() error {
			go func() { answered <- get(t.Context(), c.HTTPPort, connected) }()
			<-connected
			there.Store(true)
			return nil
		}
		return e, nil
	}
	port := freePort(t)
	d, err := open(Config{Host: "127.0.0.1", HTTPPort: port, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}, engine)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if early.Load() {
		t.Error("a request was answered before the jobs were there")
	}
}

// get asks for the list of jobs. It closes connected when the request has been
// sent.
func get(ctx context.Context, port int, connected chan struct{}) error {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(connected) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/api/jobs", port), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
