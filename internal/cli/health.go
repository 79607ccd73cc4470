package cli

import (
	"io"
	"net/http"
	"sync/atomic"
)

// Addresses at which those who look after the process ask for its health.
const (
	pathAlive = "/healthz" // the process answers
	pathReady = "/readyz"  // it takes jobs
)

// health says how far the server is in its life.
type health struct {
	started  chan struct{} // closed when the jobs of before go on
	stopping atomic.Bool
}

func newHealth() *health { return &health{started: make(chan struct{})} }

func (h *health) start() { close(h.started) }

func (h *health) stop() { h.stopping.Store(true) }

// handler answers questions about health at once. All other requests wait for
// the start.
func (h *health) handler(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathAlive, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET "+pathReady, func(w http.ResponseWriter, _ *http.Request) {
		if why := h.unready(); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ready\n")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-h.started:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
	return mux
}

// unready says why no jobs are taken; nothing if they are.
func (h *health) unready() string {
	select {
	case <-h.started:
	default:
		return "starting"
	}
	if h.stopping.Load() {
		return "stopping"
	}
	return ""
}
