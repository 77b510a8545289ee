package secrets

import (
	"cmp"
	"slices"
)

// words finds every occurrence of a fixed list of words in one pass over a text,
// whatever their number. Letters match without case. It is the prefilter: a rule
// runs only where its word stands.
//
// The last three bytes at each place are looked up in a set of those that words
// end with; only where they are in it words are compared. Unlike the states of an
// automaton, one look-up does not wait for the one before, so that a text without
// any word is read several times faster.
type words struct {
	class [256]uint8 // 0 for a byte that occurs in no word
	count int        // of classes
	tails [1 << (3 * classBits) / 64]uint64
	ends  [1 << (2 * classBits)][]ending // by the last two classes, the longest word first
}

// classBits bounds the number of different bytes in the words: three classes are
// 18 bits, and the set fits into the fastest cache.
const classBits = 6

// ending is a word that ends with certain bytes.
type ending struct {
	word    int
	classes []uint8
}

// newWords prepares a list of words, which are lower-case ASCII and not empty.
func newWords(list []string) *words {
	w := &words{count: 1}
	for _, word := range list {
		for _, b := range []byte(word) {
			w.addClass(b)
		}
	}
	for i, word := range list {
		e := ending{word: i}
		for _, b := range []byte(word) {
			e.classes = append(e.classes, w.class[b])
		}
		w.addEnding(e)
	}
	for _, list := range w.ends {
		slices.SortFunc(list, func(a, b ending) int { return cmp.Compare(len(b.classes), len(a.classes)) })
	}
	return w
}

func (w *words) addClass(b byte) {
	if w.class[b] != 0 {
		return
	}
	if w.count == 1<<classBits {
		panic("secrets: too many different bytes in the words")
	}
	w.class[b] = uint8(w.count)
	if 'a' <= b && b <= 'z' {
		w.class[b-'a'+'A'] = uint8(w.count)
	}
	w.count++
}

// addEnding enters e under every three classes that a text may show at its end:
// in front of a short word there may be anything.
func (w *words) addEnding(e ending) {
	any := make([]uint8, 1<<classBits)
	for c := range any {
		any[c] = uint8(c)
	}
	at := func(back int) []uint8 {
		if i := len(e.classes) - back; i >= 0 {
			return e.classes[i : i+1]
		}
		return any
	}
	for _, second := range at(2) {
		last := int(second)<<classBits | int(e.classes[len(e.classes)-1])
		w.ends[last] = append(w.ends[last], e)
		for _, first := range at(3) {
			tail := int(first)<<(2*classBits) | last
			w.tails[tail>>6] |= 1 << (tail & 63)
		}
	}
}

// next returns the end of the first place behind from where a word may end, or -1.
func (w *words) next(s string, from int) int {
	tail := uint32(0)
	for i := max(0, from-2); i < from; i++ {
		tail = tail<<classBits | uint32(w.class[s[i]])
	}
	// Four places at a time, of which none waits for the one before.
	const one, two = classBits, 2 * classBits
	i, a, b := from, tail>>one, tail&(1<<one-1)
	for ; i+4 <= len(s); i += 4 {
		p := s[i : i+4]
		c, d, e, f := uint32(w.class[p[0]]), uint32(w.class[p[1]]), uint32(w.class[p[2]]), uint32(w.class[p[3]])
		if w.has(a<<two|b<<one|c)|w.has(b<<two|c<<one|d)|w.has(c<<two|d<<one|e)|w.has(d<<two|e<<one|f) != 0 {
			break
		}
		a, b = e, f
	}
	tail = a<<one | b
	for ; i < len(s); i++ {
		tail = (tail<<classBits | uint32(w.class[s[i]])) & (1<<(3*classBits) - 1)
		if w.has(tail) != 0 {
			return i + 1
		}
	}
	return -1
}

// has is 1 if some word ends in the three classes of tail.
func (w *words) has(tail uint32) uint64 { return w.tails[tail>>6] >> (tail & 63) & 1 }

// candidates are the words of which one may end at end, the longest first.
func (w *words) candidates(s string, end int) []ending {
	last := int(w.class[s[end-1]])
	if end > 1 {
		last |= int(w.class[s[end-2]]) << classBits
	}
	return w.ends[last]
}

// endsAt says whether e's word ends at end.
func (w *words) endsAt(e *ending, s string, end int) bool {
	if len(e.classes) > end {
		return false
	}
	s = s[end-len(e.classes) : end]
	for i := len(e.classes) - 3; i >= 0; i-- { // next has seen the last two
		if w.class[s[i]] != e.classes[i] {
			return false
		}
	}
	return true
}
