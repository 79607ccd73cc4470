package main

import (
	"io"
	"net"
	"sync/atomic"
)

// forwarder hands every connection on to the job service and counts them: a test that passes without a connection
// says nothing about the runner.
type forwarder struct {
	ln    net.Listener
	to    string
	conns atomic.Int64
}

func newForwarder(to string) (*forwarder, error) {
	ln, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return nil, err
	}
	f := &forwarder{ln: ln, to: to}
	go f.accept()
	return f, nil
}

func (f *forwarder) port() int { return f.ln.Addr().(*net.TCPAddr).Port }

func (f *forwarder) accept() {
	for {
		c, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.conns.Add(1)
		go f.serve(c)
	}
}

func (f *forwarder) serve(c net.Conn) {
	defer c.Close()
	u, err := net.Dial("tcp", f.to)
	if err != nil {
		return
	}
	defer u.Close()
	done := make(chan struct{}, 2)
	cp := func(dst, src net.Conn) { io.Copy(dst, src); done <- struct{}{} }
	go cp(u, c)
	go cp(c, u)
	<-done
}
