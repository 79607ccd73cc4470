package cli

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHealth(t *testing.T) {
	d, err := open(Config{Host: "127.0.0.1", Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}, fakeEngine)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	status := func(path string) int {
		w := httptest.NewRecorder()
		d.http.Handler.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
		return w.Code
	}
	if got := status(pathReady); got != http.StatusOK {
		t.Errorf("ready: %d", got)
	}
	d.health.stop()
	if got := status(pathReady); got != http.StatusServiceUnavailable {
		t.Errorf("while it stops, ready: %d", got)
	}
	if got := status(pathAlive); got != http.StatusOK {
		t.Errorf("alive: %d", got)
	}
	fresh := newHealth()
	w := httptest.NewRecorder()
	fresh.handler(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", pathReady, nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("before its start, ready: %d", w.Code)
	}
}
