package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
)

// A manifest on disk is a Pipeline proto of which only the environments'
// dependencies are used; the token stands in its one root transform id.

// manifestPath hides the token: it may hold anything.
func (s *Store) manifestPath(token string) string {
	h := sha256.Sum256([]byte(token))
	return filepath.Join(s.jobsDir(), hex.EncodeToString(h[:]))
}

// settle makes deps the job's manifest, on disk first, and moves its hold from
// the blobs it had to those it has now.
func (s *Store) settle(token string, deps map[string][]*pipepb.ArtifactInformation) error {
	if err := s.writeManifest(token, deps); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.jobs[token]
	if m == nil { // dropped while it was being staged
		os.Remove(s.manifestPath(token))
		return ErrUnknownToken
	}
	old := m.blobs
	m.deps, m.blobs = deps, map[string]bool{}
	s.hold(m)
	for sum := range old {
		s.release(sum)
	}
	return nil
}

// hold takes hold of every blob that the manifest names.
func (s *Store) hold(m *manifest) {
	for _, deps := range m.deps {
		for _, a := range deps {
			if sum := blobOf(a); sum != "" && !m.blobs[sum] {
				m.blobs[sum] = true
				s.refs[sum]++
			}
		}
	}
}

// blobOf is the blob of a staged artifact, empty for others.
func blobOf(a *pipepb.ArtifactInformation) string {
	if a.GetTypeUrn() != typeFile {
		return ""
	}
	if sum := checksum(a); isSum(sum) {
		return sum
	}
	return ""
}

func (s *Store) writeManifest(token string, deps map[string][]*pipepb.ArtifactInformation) error {
	p := &pipepb.Pipeline{
		RootTransformIds: []string{token},
		Components:       &pipepb.Components{Environments: map[string]*pipepb.Environment{}},
	}
	for id, d := range deps {
		p.Components.Environments[id] = &pipepb.Environment{Dependencies: d}
	}
	b, err := proto.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode artifact manifest: %w", err)
	}
	f, err := os.CreateTemp(s.tmpDir(), "manifest-*")
	if err != nil {
		return fmt.Errorf("write artifact manifest: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write artifact manifest: %w", err)
	}
	if err := os.Rename(f.Name(), s.manifestPath(token)); err != nil {
		return fmt.Errorf("write artifact manifest: %w", err)
	}
	return nil
}

// loadManifests takes over the manifests on disk. One that cannot be read is
// an error: jobs depend on it.
func (s *Store) loadManifests() error {
	entries, err := os.ReadDir(s.jobsDir())
	if err != nil {
		return fmt.Errorf("read artifact manifests: %w", err)
	}
	for _, e := range entries {
		if err := s.loadManifest(filepath.Join(s.jobsDir(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadManifest(path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read artifact manifest: %w", err)
	}
	var p pipepb.Pipeline
	if err := proto.Unmarshal(b, &p); err != nil || len(p.GetRootTransformIds()) != 1 {
		return fmt.Errorf("artifact manifest %s is damaged", path)
	}
	m := &manifest{deps: map[string][]*pipepb.ArtifactInformation{}, blobs: map[string]bool{}}
	for id, env := range p.GetComponents().GetEnvironments() {
		m.deps[id] = env.GetDependencies()
	}
	s.hold(m)
	s.jobs[p.GetRootTransformIds()[0]] = m
	return nil
}
