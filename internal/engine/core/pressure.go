package core

// crowded returns the consumer of a stage's output that the stage waits for
// before it begins another bundle, nil if there is none: one that has more than
// QueueBytes to process and is at work on it, or waits itself for one that is.
// What rests until later, or for a side input, does not count: more input of the
// stage would not wait for it.
//
// A consumer that rests is not waited for, whatever it has queued: what it waits
// for may be behind this stage. That is why this cannot come to a standstill: at
// the end of the chain a bundle is in flight, and when it ends all is looked at
// again. A barrier has all of its input queued before it begins.
func (c *Core) crowded(s *stage) *stage {
	for _, out := range s.plan.Outputs {
		for _, to := range out.Consumers {
			t := c.stages[to.Stage]
			if to.Side >= 0 || t.plan.Barrier || !c.much(t) {
				continue
			}
			if t.inflight > 0 || c.crowded(t) != nil {
				return t
			}
		}
	}
	return nil
}

// much says whether a stage has more than QueueBytes queued that it may process.
func (c *Core) much(s *stage) bool {
	if s.bytes <= c.cfg.QueueBytes {
		return false
	}
	bytes := int64(0)
	for i := range s.shards {
		for j := range s.shards[i].queue {
			if it := &s.shards[i].queue[j]; c.ready(s, it) {
				bytes += it.Block.Bytes
			}
			if bytes > c.cfg.QueueBytes {
				return true
			}
		}
	}
	return false
}
