package serve

import (
	"net"
	"strconv"
	"testing"
)

// A port must not be one that the system may give to somebody else while a server is down.
func TestFreePortStaysFree(t *testing.T) {
	for range 20 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if port < portMin || port >= portEnd {
			t.Errorf("port %d", port)
		}
		for range 2 {
			ln, err := net.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(port)))
			if err != nil {
				t.Fatal(err)
			}
			ln.Close()
		}
	}
}
