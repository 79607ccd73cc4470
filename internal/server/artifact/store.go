package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
)

// Options configure a Store. Zero limits mean the defaults.
type Options struct {
	Dir              string
	MaxArtifactBytes int64
	MaxJobBytes      int64
}

// Store holds artifacts by content, and a manifest for each job.
type Store struct {
	o Options

	mu       sync.Mutex
	jobs     map[string]*manifest // by staging token
	refs     map[string]int       // live manifests that name a blob
	reserved map[string]int       // blobs in use that no manifest may name yet
}

// manifest is what one job needs, and where it is by now.
type manifest struct {
	deps    map[string][]*pipepb.ArtifactInformation // by environment
	staging bool
	blobs   map[string]bool // that this manifest keeps alive
}

// Open opens a store below o.Dir, which it creates. Manifests that are there
// are taken over; what no manifest names is removed.
func Open(o Options) (*Store, error) {
	if o.MaxArtifactBytes <= 0 {
		o.MaxArtifactBytes = DefaultMaxArtifactBytes
	}
	if o.MaxJobBytes <= 0 {
		o.MaxJobBytes = DefaultMaxJobBytes
	}
	s := &Store{o: o, jobs: map[string]*manifest{}, refs: map[string]int{}, reserved: map[string]int{}}
	if err := os.RemoveAll(s.tmpDir()); err != nil {
		return nil, fmt.Errorf("clear artifact folder: %w", err)
	}
	for _, d := range []string{s.tmpDir(), s.jobsDir(), filepath.Join(o.Dir, "blobs")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("make artifact folder: %w", err)
		}
	}
	if err := s.loadManifests(); err != nil {
		return nil, err
	}
	return s, s.sweep()
}

func (s *Store) tmpDir() string  { return filepath.Join(s.o.Dir, "tmp") }
func (s *Store) jobsDir() string { return filepath.Join(s.o.Dir, "jobs") }

// blobPath is where a blob is. sum is a hash computed here or one that isSum
// has checked.
func (s *Store) blobPath(sum string) string {
	return filepath.Join(s.o.Dir, "blobs", sum[:2], sum)
}

// isSum tells whether sum looks like a lower-case SHA-256: only then may it
// become a path.
func isSum(sum string) bool {
	if len(sum) != 2*sha256.Size {
		return false
	}
	return strings.Trim(sum, "0123456789abcdef") == ""
}

// Register announces a job's environments. Until they have been staged, their
// dependencies are those of the pipeline.
func (s *Store) Register(token string, envs map[string]*pipepb.Environment) error {
	deps := make(map[string][]*pipepb.ArtifactInformation, len(envs))
	total := 0
	for id, env := range envs {
		d, err := dependencies(env, 0)
		if err != nil {
			return fmt.Errorf("environment %q: %w", id, err)
		}
		for _, a := range d {
			if err := checkName(a); err != nil {
				return fmt.Errorf("environment %q: %w", id, err)
			}
		}
		if total += len(d); total > maxArtifacts {
			return fmt.Errorf("%w: more than %d artifacts", ErrTooLarge, maxArtifacts)
		}
		deps[id] = d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[token] != nil {
		return fmt.Errorf("staging token %q is in use", token)
	}
	s.jobs[token] = &manifest{deps: deps, blobs: map[string]bool{}}
	return nil
}

// dependencies of an environment and of the alternatives of an any-of one,
// each artifact once: any of them may come to run.
func dependencies(env *pipepb.Environment, depth int) ([]*pipepb.ArtifactInformation, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("any-of environments are nested more than %d deep", maxNesting)
	}
	all := env.GetDependencies()
	if env.GetUrn() == "beam:env:anyof:v1" {
		var p pipepb.AnyOfEnvironmentPayload
		if err := proto.Unmarshal(env.GetPayload(), &p); err != nil {
			return nil, fmt.Errorf("any-of payload: %w", err)
		}
		for _, alt := range p.GetEnvironments() {
			more, err := dependencies(alt, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all[:len(all):len(all)], more...)
		}
	}
	return unique(all), nil
}

func unique(in []*pipepb.ArtifactInformation) []*pipepb.ArtifactInformation {
	seen := make(map[string]bool, len(in))
	var out []*pipepb.ArtifactInformation
	for _, a := range in {
		if k := key(a); !seen[k] {
			seen[k] = true
			out = append(out, a)
		}
	}
	return out
}

// key identifies an artifact, role included.
func key(a *pipepb.ArtifactInformation) string {
	return contentKey(a) + "\x00" + a.GetRoleUrn() + "\x00" + string(a.GetRolePayload())
}

// contentKey identifies what an artifact consists of.
func contentKey(a *pipepb.ArtifactInformation) string {
	return a.GetTypeUrn() + "\x00" + string(a.GetTypePayload())
}

// Dependencies returns the artifacts of an environment as workers shall see
// them: staged files by hash, everything else as submitted. It returns nil for
// an unknown token or environment.
func (s *Store) Dependencies(token, envID string) []*pipepb.ArtifactInformation {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.jobs[token]
	if m == nil {
		return nil
	}
	out := make([]*pipepb.ArtifactInformation, len(m.deps[envID]))
	for i, a := range m.deps[envID] {
		out[i] = proto.Clone(a).(*pipepb.ArtifactInformation)
	}
	return out
}

// names tells whether a job depends on an artifact, whatever its role.
func (s *Store) names(token string, a *pipepb.ArtifactInformation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.jobs[token]
	if m == nil {
		return false
	}
	want := contentKey(a)
	for _, deps := range m.deps {
		if slices.ContainsFunc(deps, func(d *pipepb.ArtifactInformation) bool { return contentKey(d) == want }) {
			return true
		}
	}
	return false
}

// Drop forgets a job, and removes the blobs that no other job needs.
func (s *Store) Drop(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.jobs[token]
	if m == nil {
		return
	}
	delete(s.jobs, token)
	os.Remove(s.manifestPath(token)) // if it stays, the next Open takes it over
	for sum := range m.blobs {
		s.release(sum)
	}
}

// release gives up one manifest's hold of a blob. s.mu is held: a blob must not
// be found present and then go.
func (s *Store) release(sum string) {
	if s.refs[sum]--; s.refs[sum] > 0 {
		return
	}
	delete(s.refs, sum)
	if s.reserved[sum] == 0 {
		os.Remove(s.blobPath(sum)) // if it stays, the next Open sweeps it
	}
}

// put stores r under its hash, which must be want unless want is empty, and
// keeps it until the reservation is settled. It reads no more than limit bytes.
func (s *Store) put(r io.Reader, want string, limit int64, res *reservation) (sum string, n int64, err error) {
	f, err := os.CreateTemp(s.tmpDir(), "in-*")
	if err != nil {
		return "", 0, fmt.Errorf("store artifact: %w", err)
	}
	defer os.Remove(f.Name()) // not there any more when all went well
	defer f.Close()
	h := sha256.New()
	n, err = io.Copy(io.MultiWriter(f, h), io.LimitReader(r, limit+1))
	if err != nil {
		return "", n, err
	}
	if n > limit {
		return "", n, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	sum = hex.EncodeToString(h.Sum(nil))
	if want != "" && sum != want {
		return "", n, fmt.Errorf("%w: the content has SHA-256 %s, promised was %s", ErrChecksum, sum, want)
	}
	if err := f.Close(); err != nil {
		return "", n, fmt.Errorf("store artifact: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(s.blobPath(sum)), 0o700); err != nil {
		return "", n, fmt.Errorf("store artifact: %w", err)
	}
	if err := os.Rename(f.Name(), s.blobPath(sum)); err != nil {
		return "", n, fmt.Errorf("store artifact: %w", err)
	}
	res.add(sum)
	return sum, n, nil
}

// reservation keeps blobs from being removed while no manifest names them yet.
type reservation struct {
	s    *Store
	sums map[string]bool
}

func (s *Store) reserve() *reservation { return &reservation{s: s, sums: map[string]bool{}} }

// add is called with s.mu held.
func (r *reservation) add(sum string) {
	if !r.sums[sum] {
		r.sums[sum] = true
		r.s.reserved[sum]++
	}
}

// have reserves a blob that is there already, and tells its size.
func (r *reservation) have(sum string) (int64, bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.refs[sum] == 0 && r.s.reserved[sum] == 0 {
		return 0, false
	}
	st, err := os.Stat(r.s.blobPath(sum))
	if err != nil {
		return 0, false
	}
	r.add(sum)
	return st.Size(), true
}

// close ends the reservation; blobs that no manifest names by now go.
func (r *reservation) close() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for sum := range r.sums {
		if r.s.reserved[sum]--; r.s.reserved[sum] > 0 {
			continue
		}
		delete(r.s.reserved, sum)
		if r.s.refs[sum] == 0 {
			os.Remove(r.s.blobPath(sum))
		}
	}
	r.sums = nil
}

// open opens a blob that some live job names.
func (s *Store) open(sum string) (*os.File, error) {
	if !isSum(sum) {
		return nil, fmt.Errorf("%w: %q is not a SHA-256", ErrUnknownArtifact, sum)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs[sum] == 0 {
		return nil, fmt.Errorf("%w: no job has one with SHA-256 %s", ErrUnknownArtifact, sum)
	}
	f, err := os.Open(s.blobPath(sum))
	if err != nil {
		return nil, fmt.Errorf("open artifact: %w", err)
	}
	return f, nil
}

// openReserved opens a blob that the caller has reserved.
func (s *Store) openReserved(sum string) (*os.File, error) {
	f, err := os.Open(s.blobPath(sum))
	if err != nil {
		return nil, fmt.Errorf("open artifact: %w", err)
	}
	return f, nil
}

// sweep removes blobs that no manifest names.
func (s *Store) sweep() error {
	root := filepath.Join(s.o.Dir, "blobs")
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if s.refs[d.Name()] > 0 {
			return nil
		}
		if err := os.Remove(p); err != nil {
			return fmt.Errorf("remove an unused artifact: %w", err)
		}
		return nil
	})
}
