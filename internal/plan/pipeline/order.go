package pipeline

import "container/heap"

// Order sorts topologically: it returns the positions of after, each behind
// those that after lists for it, and otherwise in order. Positions in a cycle,
// or behind one, are left out.
func Order(after [][]int) []int {
	waits := make([]int, len(after))
	before := make([][]int, len(after))
	ready := &intHeap{}
	for i, list := range after {
		waits[i] = len(list)
		for _, j := range list {
			before[j] = append(before[j], i)
		}
		if waits[i] == 0 {
			heap.Push(ready, i)
		}
	}
	order := make([]int, 0, len(after))
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		order = append(order, i)
		for _, j := range before[i] {
			if waits[j]--; waits[j] == 0 {
				heap.Push(ready, j)
			}
		}
	}
	return order
}

type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
