package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// requestTimeout bounds a question that is answered at once; following a
	// log has no limit.
	requestTimeout = 30 * time.Second
	// maxLine bounds one line of a followed stream.
	maxLine = 64 << 20
)

// client asks a server's JSON API.
type client struct{ base string }

// newClient takes an address with or without a scheme.
func newClient(server string) *client {
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	return &client{strings.TrimRight(server, "/")}
}

// jobPath is an address below a job's.
func jobPath(id, rest string) string { return "/api/jobs/" + url.PathEscape(id) + rest }

// get decodes the answer to a GET into v.
func (c *client) get(ctx context.Context, path string, v any) error {
	return c.ask(ctx, http.MethodGet, path, v)
}

// post decodes the answer to a POST into v.
func (c *client) post(ctx context.Context, path string, v any) error {
	return c.ask(ctx, http.MethodPost, path, v)
}

func (c *client) ask(ctx context.Context, method, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.wait(ctx, method, path, v)
}

// wait is ask for what may take its time.
func (c *client) wait(ctx context.Context, method, path string, v any) error {
	body, err := c.send(ctx, method, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("%s does not answer like Pharos: %w", c.base, err)
	}
	return nil
}

func (c *client) send(ctx context.Context, method, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("no server at %s: %w (start one with `pharos serve`, or name one with --server)", c.base, op.Err)
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var e struct{ Error string }
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e) != nil || e.Error == "" {
		return nil, fmt.Errorf("%s answered %s", c.base+path, resp.Status)
	}
	return nil, errors.New(e.Error)
}

// lines yields the raw JSON values of an NDJSON answer, until its end.
func (c *client) lines(ctx context.Context, path string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		body, err := c.send(ctx, http.MethodGet, path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer body.Close()
		in := bufio.NewScanner(body)
		in.Buffer(nil, maxLine)
		for in.Scan() {
			if !yield(json.RawMessage(in.Bytes()), nil) {
				return
			}
		}
		if err := in.Err(); err != nil {
			yield(nil, err)
		}
	}
}
