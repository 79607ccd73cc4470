package bundle

// Requested says whether the bundle may be asked how far it is, and to split. That
// is a moment after its request has been queued: the worker may have begun before.
func (b *Bundle) Requested() bool { return b.requested.Load() }
