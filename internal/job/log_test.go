package job

import "testing"

func TestEchoOfLogLine(t *testing.T) {
	line := LogLine{Worker: "go-1234", Severity: "WARN", Message: "careful", Transform: "t", Instruction: "i7"}
	if line.echo() {
		t.Error("a line of its own is no echo")
	}
	echoed := LogLine{Worker: "go-1234", Message: "(time=now)(id=3)" + line.text()}
	if !echoed.echo() {
		t.Errorf("%q is an echo", echoed.Message)
	}
	own := LogLine{Worker: "go-1234", Message: "starting worker go-1234"}
	if own.echo() {
		t.Error("a worker may log its name")
	}
}
