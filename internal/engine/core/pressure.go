package core

// crowded returns the consumer of a stage's output that the stage waits for
// before it begins another bundle, nil if there is none: one that has more than
// QueueBytes queued and is at work on it, or waits itself for one that is.
//
// A consumer that rests is not waited for, whatever it has queued: what it waits
// for may be behind this stage. That is why this cannot come to a standstill: at
// the end of the chain a bundle is in flight, and when it ends all is looked at
// again. A barrier has all of its input queued before it begins.
func (c *Core) crowded(s *stage) *stage {
	for _, out := range s.plan.Outputs {
		for _, to := range out.Consumers {
			t := c.stages[to.Stage]
			if to.Side >= 0 || t.plan.Barrier || t.bytes <= c.cfg.QueueBytes {
				continue
			}
			if t.inflight > 0 || c.crowded(t) != nil {
				return t
			}
		}
	}
	return nil
}
