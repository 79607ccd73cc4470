package environment

import "testing"

// Only those workers may do without an id on their state stream that have to.
func TestAnonymousState(t *testing.T) {
	const python = "beam:version:sdk_base:apache/beam_python3.11_sdk:"
	for _, c := range []struct {
		base string
		l    Language
		k    Kind
		want bool
	}{
		{python + "2.60.0", Python, External, true},
		{python + "2.62.0", Python, External, true},
		{python + "2.62.0", Python, Process, false}, // has WORKER_ID
		{python + "2.62.0", Python, Docker, false},
		{python + "2.63.0", Python, External, false},
		{python + "2.77.0", Python, External, false},
		{python + "3.1.0", Python, External, false},
		{python + "1.99.0", Python, External, true},
		{python + "latest", Python, External, false},
		{"beam:version:sdk_base:python", Python, External, false},
		{"beam:something", Python, External, false},
		{"beam:version:sdk_base:apache/beam_java17_sdk:2.60.0", Java, External, false},
	} {
		target := &Target{Kind: c.k, Language: c.l, Env: externalEnv(t, "x:1", c.base)}
		if got := target.traits().AnonymousState; got != c.want {
			t.Errorf("%v %s: %v", c.k, c.base, got)
		}
	}
}
