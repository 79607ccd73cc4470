// Package monitoring accumulates Beam's MonitoringInfos: it decodes payloads,
// merges those of the same metric, and encodes the result.
//
// It does not decide what to report: attempted and committed metrics, and the
// totals of a job, are Sets that package job fills and merges.
//
// A metric is identified by its URN, type and labels. Its type says how values
// are merged. Merging is commutative and associative, so that the metrics of a
// job do not depend on the order in which its bundles finish, with these
// exceptions: the last bits of sums of doubles; bounded tries and string sets
// beyond the limits below; and infos of an unknown type, where the last one
// added wins.
//
// Everything is deterministic. A payload from an SDK that cannot be decoded is
// an error and changes nothing.
//
// Source of the encodings: MonitoringInfoTypeUrns in metrics.proto.
package monitoring
