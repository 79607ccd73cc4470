package fnapi

import (
	"fmt"
	"slices"
	"strconv"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/monitoring"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// published is a descriptor that the worker may ask for.
type published struct {
	shared *Lease
	proto  *fnpb.ProcessBundleDescriptor
	// free are the leases that no bundle uses, for workers whose metrics are
	// running totals; made is how many there ever were.
	free []*Lease
	made int
}

// Lease is the use of a descriptor by one bundle.
//
// What a worker has set up for a descriptor serves one bundle after another,
// and several side by side. That is of no concern, but for Traits.RunningTotals:
// then each bundle at a time gets the descriptor under an id of its own, so that
// it is known which bundle's metrics go on where which other's ended.
type Lease struct {
	h      *Harness
	of     *published
	wire   string
	totals map[string]*pipepb.MonitoringInfo // last reports; nil if they are no totals
}

// AddDescriptor makes d available to the worker under an id of its own; see
// Lease. The service descriptors of d and of its remote gRPC ports are filled in
// with the server's endpoint. d is not changed. Descriptors are immutable: only
// the first one with an id counts, so that the call may be repeated for each
// bundle.
func (h *Harness) AddDescriptor(d *fnpb.ProcessBundleDescriptor) {
	if h.DescriptorID(d.GetId()) != "" {
		return
	}
	c := proto.Clone(d).(*fnpb.ProcessBundleDescriptor)
	c.Id = d.GetId() + "." + h.salt
	fillEndpoints(c, h.cfg.Endpoint)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.descriptors[d.GetId()] != nil {
		return
	}
	p := &published{proto: c}
	p.shared = &Lease{h: h, of: p, wire: c.Id}
	h.descriptors[d.GetId()] = p
	h.publish(c)
}

// publish makes c known under its wire id; h.mu is held. The server's lock
// nests inside the harness' lock, never the other way round; else Close could
// miss this one.
func (h *Harness) publish(c *fnpb.ProcessBundleDescriptor) {
	h.wireIDs[c.GetId()] = struct{}{}
	h.srv.addDescriptor(c)
}

// DescriptorID returns an id that names descriptor id to this worker, or ""
// when AddDescriptor was not called for it.
func (h *Harness) DescriptorID(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.descriptors[id]; p != nil {
		return p.shared.wire
	}
	return ""
}

// Lease returns descriptor id for one bundle. The caller ends it with Release
// or Discard.
func (h *Harness) Lease(id string) (*Lease, error) {
	h.mu.Lock()
	p, closed := h.descriptors[id], h.closed
	defer h.mu.Unlock()
	switch {
	case closed:
		return nil, h.deadLocked()
	case p == nil:
		return nil, fmt.Errorf("descriptor %q was not added to SDK worker %s", id, h.Name())
	case !h.cfg.Traits.RunningTotals:
		return p.shared, nil
	}
	if n := len(p.free); n > 0 {
		l := p.free[n-1]
		p.free = p.free[:n-1]
		return l, nil
	}
	p.made++
	c := proto.Clone(p.proto).(*fnpb.ProcessBundleDescriptor)
	c.Id += "." + strconv.Itoa(p.made)
	h.publish(c)
	return &Lease{h: h, of: p, wire: c.Id, totals: map[string]*pipepb.MonitoringInfo{}}, nil
}

// ID names the descriptor to the worker.
func (l *Lease) ID() string { return l.wire }

// Since makes of the metrics that the worker reports for the bundle those of
// this bundle alone. A metric that cannot be told apart stays as it is.
func (l *Lease) Since(infos []*pipepb.MonitoringInfo) []*pipepb.MonitoringInfo {
	if l.totals == nil {
		return infos
	}
	l.h.mu.Lock() // progress may be asked for while the bundle ends
	defer l.h.mu.Unlock()
	own := slices.Clone(infos)
	for i, mi := range infos {
		base := l.totals[infoKey(mi)]
		if base == nil {
			continue
		}
		if part, err := monitoring.Since(mi, base); err == nil {
			own[i] = part
		}
	}
	return own
}

// Release ends the lease of a bundle that succeeded with these metrics, as the
// worker reported them.
func (l *Lease) Release(infos []*pipepb.MonitoringInfo) {
	if l.totals == nil {
		return
	}
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	for _, mi := range infos {
		l.totals[infoKey(mi)] = mi
	}
	l.of.free = append(l.of.free, l)
}

// Discard ends the lease of a bundle that failed: nobody knows what the worker
// has counted by now, so no other bundle shall go on from there.
func (l *Lease) Discard() {
	if l.totals == nil {
		return
	}
	l.h.mu.Lock()
	delete(l.h.wireIDs, l.wire)
	l.h.mu.Unlock()
	l.h.srv.removeDescriptors(l.wire)
}

// fillEndpoints sets all service descriptors in d.
func fillEndpoints(d *fnpb.ProcessBundleDescriptor, endpoint string) {
	api := &pipepb.ApiServiceDescriptor{Url: endpoint}
	d.StateApiServiceDescriptor = api
	d.TimerApiServiceDescriptor = api
	for _, t := range d.GetTransforms() {
		spec := t.GetSpec()
		if spec.GetUrn() != urn.DataSource && spec.GetUrn() != urn.DataSink {
			continue
		}
		port := &fnpb.RemoteGrpcPort{}
		if err := proto.Unmarshal(spec.GetPayload(), port); err != nil {
			continue // the SDK will say what is wrong with it
		}
		port.ApiServiceDescriptor = api
		if payload, err := proto.Marshal(port); err == nil {
			spec.Payload = payload
		}
	}
}
