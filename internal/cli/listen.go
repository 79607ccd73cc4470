package cli

import (
	"errors"
	"net"
	"syscall"
	"time"
)

const (
	// busyLimit is how long an address may be somebody else's before that is an
	// error. The process before us keeps its own for some milliseconds after a
	// kill -9 if it was starting a worker: until a new process runs its program, it
	// has all files of the one that started it.
	busyLimit = 2 * time.Second
	busyPause = 5 * time.Millisecond
)

// listenAt listens at an address, host:port.
func listenAt(address string) (net.Listener, error) {
	return onceFree(func() (net.Listener, error) { return net.Listen("tcp", address) })
}

// onceFree tries to listen until the address is free, up to busyLimit.
func onceFree(listen func() (net.Listener, error)) (net.Listener, error) {
	for began := time.Now(); ; time.Sleep(busyPause) {
		l, err := listen()
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(began) >= busyLimit {
			return l, err
		}
	}
}
