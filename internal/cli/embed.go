package cli

import (
	"errors"
	"sync"
)

// Embedded is a server inside a program that does more than serve.
type Embedded struct {
	// JobEndpoint is HOST:PORT of the Jobs API, HTTP the URL of the pages.
	JobEndpoint, HTTP string

	door  *frontDoor
	free  func()
	close sync.Once
	err   error
}

// Embed starts a server in this process. An empty Dir means a folder that is
// gone when the server is.
func Embed(c Config) (*Embedded, error) {
	free := func() {}
	if c.Dir == "" {
		dir, remove, err := tempDir()
		if err != nil {
			return nil, err
		}
		c.Dir, free = dir, remove
	}
	d, err := open(c, LocalEngine)
	if err != nil {
		free()
		return nil, err
	}
	return &Embedded{JobEndpoint: d.jobEndpoint, HTTP: d.httpURL, door: d, free: free}, nil
}

// Close ends the jobs that still run, and the server. It may be called twice.
func (e *Embedded) Close() error {
	e.close.Do(func() {
		e.err = e.door.close()
		e.free()
	})
	return e.err
}

// ParseSize reads a size as the flags do, like 512MiB.
func ParseSize(text string) (int64, error) {
	var b byteSize
	if err := b.UnmarshalText([]byte(text)); err != nil {
		return 0, err
	}
	if b <= 0 {
		return 0, errors.New("a size is more than nothing")
	}
	return int64(b), nil
}

// DefaultMemory is how many bytes of element data a server keeps in RAM that
// is told nothing.
func DefaultMemory() int64 { return defaultMemory() }
