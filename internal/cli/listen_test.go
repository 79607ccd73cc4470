package cli

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestOnceFree(t *testing.T) {
	busy := os.NewSyscallError("bind", syscall.EADDRINUSE)
	other := errors.New("no such host")
	for _, last := range []error{nil, other} {
		said := []error{busy, busy, last}
		_, err := onceFree(func() (net.Listener, error) {
			err := said[0]
			said = said[1:]
			return nil, err
		})
		if !errors.Is(err, last) || len(said) != 0 {
			t.Errorf("%v; not tried: %v", err, said)
		}
	}
}

func TestListenWhereSomebodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := listen("127.0.0.1", l.Addr().(*net.TCPAddr).Port); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "port 0 picks a free one") {
		t.Errorf("error %v", err)
	}
}
