package spool

// fifo is a queue of blocks in RAM. Blocks that have left RAM stay in it until
// they come to the front or there are too many of them.
type fifo struct {
	blocks []*block
	head   int
}

// compactMin is the length from which a queue is worth compacting.
const compactMin = 1024

func (q *fifo) push(b *block) {
	if len(q.blocks) == cap(q.blocks) && len(q.blocks) >= compactMin {
		q.compact()
	}
	q.blocks = append(q.blocks, b)
}

// compact removes what is not in RAM. It runs when the queue would have to grow,
// so it costs as little, per push, as growing does.
func (q *fifo) compact() {
	live := q.blocks[:0]
	for _, b := range q.blocks[q.head:] {
		if b.data != nil {
			live = append(live, b)
		}
	}
	clear(q.blocks[len(live):])
	q.head = 0
	q.blocks = live
	if len(live) > cap(live)/2 { // make room, so that the next compaction is far off
		q.blocks = append(make([]*block, 0, 2*cap(live)), live...)
	}
}

// pop returns the oldest block in RAM, or nil.
func (q *fifo) pop() *block {
	for q.head < len(q.blocks) {
		b := q.blocks[q.head]
		q.blocks[q.head] = nil
		q.head++
		if q.head == len(q.blocks) {
			q.blocks, q.head = q.blocks[:0], 0
		}
		if b.data != nil {
			return b
		}
	}
	return nil
}
