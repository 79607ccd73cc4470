package e2e

import (
	"archive/tar"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// rootsVar names the folder in which scripts/setup-docker.sh has made the root
// file systems of worker images.
const rootsVar = "PHAROS_TEST_DOCKER_ROOTS"

// engine is a Docker engine of the tests' own: without a network that it would
// have to set up, and without images but those of the tests.
type engine struct {
	host   string
	cli    *client.Client
	cmd    *exec.Cmd
	ended  chan error
	dir    string
	images map[string]func() error // imports, each done once
}

// theEngine is started by the first test that needs it and stopped by TestMain.
var theEngine struct {
	sync.Mutex
	*engine
}

// docker returns the tests' engine with the images of some SDKs.
func docker(t *testing.T, sdks ...string) *engine {
	t.Helper()
	roots := os.Getenv(rootsVar)
	if roots == "" {
		t.Skipf("%s is not set", rootsVar)
	}
	theEngine.Lock()
	defer theEngine.Unlock()
	if theEngine.engine == nil {
		theEngine.engine = startEngine(t, roots)
	}
	for _, sdk := range sdks {
		if err := theEngine.images[sdk](); err != nil {
			t.Fatal(err)
		}
	}
	return theEngine.engine
}

// image is the name of an SDK's image, like those of Beam's own.
func image(sdk string) string { return "pharos-test/beam_" + sdk + "_sdk:1" }

func startEngine(t *testing.T, roots string) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "pharos-dockerd-")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	e := &engine{host: "unix://" + filepath.Join(dir, "sock"), dir: dir, ended: make(chan error, 1), images: map[string]func() error{}}
	e.cmd = exec.Command("dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--host="+e.host,
		"--data-root="+filepath.Join(dir, "data"), "--exec-root="+filepath.Join(dir, "exec"), "--pidfile="+filepath.Join(dir, "pid"))
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() { // the signal comes with the end of the thread that has started it
		runtime.LockOSThread()
		started <- e.cmd.Start()
		e.ended <- e.cmd.Wait()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if e.cli, err = client.New(client.WithHost(e.host)); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the Docker engine to answer", func() bool {
		_, err := e.cli.Ping(t.Context(), client.PingOptions{})
		return err == nil
	})
	for _, sdk := range []string{"go", "python", "java"} {
		e.images[sdk] = sync.OnceValue(func() error { return e.load(filepath.Join(roots, sdk), image(sdk)) })
	}
	return e
}

// load makes an image of a root file system.
func (e *engine) load(root, name string) error {
	r, w := io.Pipe()
	go func() {
		tw := tar.NewWriter(w)
		err := addFolder(tw, root)
		if err == nil {
			err = tw.Close()
		}
		w.CloseWithError(err)
	}()
	answer, err := e.cli.ImageImport(context.Background(), client.ImageImportSource{Source: r, SourceName: "-"}, name, client.ImageImportOptions{
		Changes: []string{`ENTRYPOINT ["/opt/apache/beam/boot"]`, "ENV PATH=/usr/local/bin:/usr/bin:/bin", "ENV LD_LIBRARY_PATH=/usr/local/lib"},
	})
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
}

// addFolder writes a folder's files to an archive, but for devices.
func addFolder(tw *tar.Writer, root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		link := ""
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			if link, err = os.Readlink(path); err != nil {
				return err
			}
		case !d.IsDir() && !d.Type().IsRegular():
			return nil
		}
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		if h.Name, err = filepath.Rel(root, path); err != nil {
			return err
		}
		if err := tw.WriteHeader(h); err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(tw, f)
		return err
	})
}

// stop ends the engine and removes all it had.
func (e *engine) stop() {
	e.cli.Close()
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	<-e.ended
	_ = syscall.Unmount(filepath.Join(e.dir, "exec", "netns", "default"), syscall.MNT_DETACH)
	os.RemoveAll(e.dir)
}

// containers lists the containers that runners have labelled, by id and state.
func (e *engine) containers(t *testing.T) map[string]string {
	t.Helper()
	list, err := e.cli.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", "pharos.owner")})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, c := range list.Items {
		all[c.ID] = string(c.State)
	}
	return all
}

// kill kills a container that runs, if there is one.
func (e *engine) kill(t *testing.T) bool {
	t.Helper()
	for id, state := range e.containers(t) {
		if state != "running" {
			continue
		}
		if _, err := e.cli.ContainerKill(t.Context(), id, client.ContainerKillOptions{Signal: "SIGKILL"}); err == nil {
			t.Logf("killed container %s", id[:12])
			return true
		}
	}
	return false
}

// expectNone waits for the last container to go.
func (e *engine) expectNone(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, "all containers to be gone", func() bool { return len(e.containers(t)) == 0 })
}

// removeAll removes what a test has kept on purpose.
func (e *engine) removeAll(t *testing.T) {
	t.Helper()
	for id := range e.containers(t) {
		if _, err := e.cli.ContainerRemove(t.Context(), id, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	}
}
