package e2e

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/operator"
	opdocker "github.com/pharos-beam/pharos/operator/docker"
)

// forward is an operation of Beam's workers that hands on what it gets, as if it
// were an engine's.
var forward = operator.Function{URN: "beam:transform:flatten:v1"}

// Functions of package operator run in containers, which are replaced when they
// die and gone with their pool.
func TestDockerOperator(t *testing.T) {
	e := docker(t, "python")
	t.Setenv("DOCKER_HOST", e.host)
	ctx, cancel := context.WithTimeout(t.Context(), jobLimit)
	defer cancel()
	p, err := operator.NewPool(opdocker.Environment(image("python")), operator.PoolOptions{StartTimeout: jobLimit})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	op, err := p.Open(ctx, forward, operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for kills := range 2 {
		data := operator.AppendElement(operator.AppendElement(nil, []byte("one")), []byte("two"))
		r, err := op.Call(ctx, operator.Batch{Data: data, Elements: 2})
		if err != nil || !bytes.Equal(r.Data, data) {
			t.Fatalf("after %d kills: %v, %q", kills, err, r.Data)
		}
		if len(e.containers(t)) == 0 {
			t.Fatal("no container runs")
		}
		if kills == 0 && !e.kill(t) {
			t.Fatal("no container was killed")
		}
	}
	p.Close()
	e.expectNone(t)
}

func TestDockerOperatorWithoutItsEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/none")
	p, err := operator.NewPool(opdocker.Environment("pharos-test/nowhere:1"), operator.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, err = p.Open(t.Context(), forward, operator.Limits{})
	if err == nil || errors.Is(err, operator.ErrClosed) || !strings.Contains(err.Error(), "no container engine") {
		t.Fatal(err)
	}
}
