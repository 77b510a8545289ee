package secrets

// words finds every occurrence of a fixed list of words in one pass over a
// text, whatever their number (Aho and Corasick, 1975). Letters match without
// case. It is the prefilter: a rule runs only where its word stands, so text
// without any word costs one table lookup a byte.
type words struct {
	class   [256]uint8 // 0 for a byte that occurs in no word
	classes int
	next    []uint16 // state*stride + class → next state
	last    []uint16 // state → 1 + longest word that ends there, or 0
	more    []uint16 // word → 1 + next shorter word that ends where it ends, or 0
}

// stride is the length of a state's row, a power of two so that finding a row
// is a shift. It bounds the number of different bytes in the words.
const stride = 64

// newWords builds the automaton. Words are lower-case ASCII.
func newWords(list []string) *words {
	w := &words{classes: 1}
	size := 1
	for _, word := range list {
		size += len(word)
		for _, b := range []byte(word) {
			w.addClass(b)
		}
	}
	w.next = make([]uint16, size*stride)
	w.last = make([]uint16, size)
	w.more = make([]uint16, len(list))
	states := uint16(1)
	for i, word := range list {
		state := uint16(0)
		for _, b := range []byte(word) {
			child := w.child(state, w.class[b])
			if *child == 0 {
				*child = states
				states++
			}
			state = *child
		}
		w.last[state] = uint16(i + 1)
	}
	w.link(int(states))
	return w
}

func (w *words) addClass(b byte) {
	if w.class[b] != 0 {
		return
	}
	if w.classes == stride {
		panic("secrets: too many different bytes in the words")
	}
	w.class[b] = uint8(w.classes)
	if 'a' <= b && b <= 'z' {
		w.class[b-'a'+'A'] = uint8(w.classes)
	}
	w.classes++
}

// child is the cell that holds the state after state and a byte of class.
func (w *words) child(state uint16, class uint8) *uint16 {
	return &w.next[int(state)*stride+int(class)]
}

// link turns the tree of words into an automaton, breadth first: a state
// without a child for a class continues where its longest proper suffix does.
func (w *words) link(states int) {
	suffix := make([]uint16, states)
	queue := make([]uint16, 0, states)
	for _, child := range w.next[:stride] {
		if child != 0 {
			queue = append(queue, child)
		}
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		back := suffix[state]
		if found := w.last[state]; found != 0 {
			w.more[found-1] = w.last[back]
		} else {
			w.last[state] = w.last[back]
		}
		for class := range uint8(w.classes) {
			cell, after := w.child(state, class), *w.child(back, class)
			if *cell == 0 {
				*cell = after
				continue
			}
			suffix[*cell] = after
			queue = append(queue, *cell)
		}
	}
}

// step returns the state that follows state after byte b.
func (w *words) step(state uint16, b byte) uint16 {
	return w.next[int(state)*stride+int(w.class[b])]
}
