package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestPrepare(t *testing.T) {
	const (
		py   = " --runner=PortableRunner --job_endpoint=E:1 --environment_type=LOOPBACK"
		java = " --runner=PortableRunner --jobEndpoint=E:1 --defaultEnvironmentType=LOOPBACK"
		gosd = " --runner=universal --endpoint=E:1 --environment_type=LOOPBACK"
		node = " --runner=universal --environmentType=LOOPBACK"
	)
	for _, c := range []struct{ sdk, in, want string }{
		{"", "python3.11 -m wc --input x", "python3.11 -m wc --input x" + py},
		{"", "/venv/bin/python wc.py", "/venv/bin/python wc.py" + py},
		{"", "./wc.py", "./wc.py" + py},
		{"", "uv run wc.py", "uv run wc.py" + py},
		{"", "python wc.py --runner=X --environment_type EXTERNAL", "python wc.py --runner=X --environment_type EXTERNAL --job_endpoint=E:1"},
		{"", "java -jar a.jar --input=x", "java -jar a.jar --input=x" + java},
		{"", "go run ./wc --input x", "go run ./wc" + gosd + " --input x"},
		{"", "go run -race -tags x ./wc in", "go run -race -tags x ./wc" + gosd + " in"},
		{"", "go run a.go b.go in", "go run a.go b.go" + gosd + " in"},
		{"go", "./wc in", "./wc" + gosd + " in"},
		{"", "node wc.js", "node wc.js" + node},
		{"", "npm start", "npm start --" + node},
		{"", "npm start -- --x", "npm start -- --x" + node},
		{"", "anything --to={endpoint}", "anything --to=E:1"},
		{"python", "pytest", "pytest" + py},
	} {
		p, err := prepare(strings.Fields(c.in), c.sdk, "E:1", nil)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := strings.Join(p.argv, " "); got != c.want {
			t.Errorf("%s\n  is run as %s\n  want      %s", c.in, got, c.want)
		}
	}
	p, err := prepare([]string{"mvn", "exec:java", "-Dexec.args=--a"}, "", "E:1", nil)
	if err != nil || !slices.Contains(p.argv, "-Dexec.args=--a"+java) {
		t.Errorf("%q, %v", p.argv, err)
	}
	p, err = prepare([]string{"gradle", "run"}, "", "E:1", nil)
	if err != nil || !slices.Contains(p.argv, "--args="+java[1:]) {
		t.Errorf("%q, %v", p.argv, err)
	}
	p, err = prepare([]string{"python", "x.py"}, "", "E:1", map[string]string{"python": "process:boot"})
	if err != nil || strings.Contains(strings.Join(p.argv, " "), "LOOPBACK") {
		t.Errorf("with an environment of its own: %q, %v", p.argv, err)
	}
	p, err = prepare([]string{"python", "x.py"}, "", "E:1", map[string]string{"java": "process:boot"})
	if err != nil || !strings.HasSuffix(strings.Join(p.argv, " "), py) {
		t.Errorf("with another language's environment: %q, %v", p.argv, err)
	}
	if p, err := prepare([]string{"ls"}, "", "E:1", nil); err == nil {
		t.Errorf("ls is run as %q", p.argv)
	}
}

// TestTheUsersArgumentsStay: prepare does not write into the slice it gets.
func TestTheUsersArgumentsStay(t *testing.T) {
	argv := append(make([]string, 0, 8), "mvn", "-Dexec.args=a")
	if _, err := prepare(argv, "", "E:1", nil); err != nil {
		t.Fatal(err)
	}
	if argv[1] != "-Dexec.args=a" {
		t.Errorf("the command became %q", argv)
	}
}

func TestByteSize(t *testing.T) {
	for in, want := range map[string]int64{"1": 1, "512MiB": 512 << 20, "4g": 4 << 30, "1.5 KiB": 1536, "2kb": 2000, "7B": 7} {
		var s byteSize
		if err := s.UnmarshalText([]byte(in)); err != nil || int64(s) != want {
			t.Errorf("%q is %d, %v, want %d", in, s, err, want)
		}
	}
	for _, in := range []string{"", "x", "-1", "0", "1e30", "nan", "1pib", "GiB"} {
		var s byteSize
		if err := s.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q is %d", in, s)
		}
	}
}
