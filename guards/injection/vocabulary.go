package injection

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// phrase is a compiled line of the phrase table.
type phrase struct {
	rule    rule
	command bool // the first word must start a command
	steps   []step
	// A word of anchor, one of the phrase's own sets, stands at most reach words
	// before its end.
	anchor, reach int
}

// maxAnchors bounds the number of different anchors.
const maxAnchors = 96

// step is a set of words, behind at most gap arbitrary ones.
type step struct {
	gap int
	set wordSet
}

// wordSet has one bit for each word of the vocabulary.
type wordSet []uint64

func (s wordSet) has(word uint16) bool { return s[word>>6]>>(word&63)&1 != 0 }

// dictionary knows every word that a phrase uses.
type dictionary struct {
	words   map[string]uint16
	lengths [1024]uint32 // lengths of the words with the same ends, one bit each
	keys    [1024]uint64 // short words, at slot or behind; 0 for none
	indexes [1024]uint16 // of the words in keys
	phrases []phrase
	endings [][]uint16 // word → phrases that it can end
	anchors [][]uint16 // word → anchors that it belongs to
	leadIn  wordSet
	at, url uint16
}

var vocabulary = buildVocabulary()

// lookup returns the index of a word of n folded bytes, 0 if it is unknown.
func (d *dictionary) lookup(word *letters, n int) uint16 {
	switch {
	case n > longest || !d.mayHave(word[0], word[n-1], n):
		return 0
	case n > shortest:
		return d.words[string(word[:n])]
	}
	return d.short(binary.LittleEndian.Uint64(word[:]))
}

// find is lookup for the word s[start:end], which is letters and digits of ASCII,
// in any case. Nearly every word of a text comes here, and few are in the
// dictionary, so this is where most of the time for a text is spent.
func (d *dictionary) find(s string, start, end int) uint16 {
	const lower = 0x20 // the bit of a lower-case letter, which digits have too
	n := end - start
	if n > longest || !d.mayHave(s[start]|lower, s[end-1]|lower, n) {
		return 0
	}
	if n <= shortest && start+shortest <= len(s) {
		eight := s[start : start+shortest]
		key := uint64(eight[0]) | uint64(eight[1])<<8 | uint64(eight[2])<<16 | uint64(eight[3])<<24 |
			uint64(eight[4])<<32 | uint64(eight[5])<<40 | uint64(eight[6])<<48 | uint64(eight[7])<<56 // one load
		return d.short((key | lower*0x0101010101010101) & (1<<(8*n) - 1))
	}
	var word letters
	for i := range n {
		word[i] = s[start+i] | lower
	}
	return d.lookup(&word, n)
}

// mayHave keeps most words of a text from being looked up.
func (d *dictionary) mayHave(first, last byte, n int) bool {
	return d.lengths[ends(first, last)]>>n&1 != 0
}

// shortest is the most bytes of a word that is compared in one step.
const shortest = 8

// short is the index of a word of at most eight bytes, filled up with zeros. A map
// would take several times as long.
func (d *dictionary) short(word uint64) uint16 {
	for at := slot(word); ; at = (at + 1) % len(d.keys) {
		if d.keys[at] == word || d.keys[at] == 0 {
			return d.indexes[at]
		}
	}
}

func slot(word uint64) int { return int(word * 0x9e3779b97f4a7c15 >> 54) }

// ends mixes the first and the last byte of a word into an index of lengths.
func ends(first, last byte) int { return (int(first)*33 + int(last)) & 1023 }

// buildVocabulary compiles the tables of rules.go. A mistake in them is a
// mistake in the program, so it panics.
func buildVocabulary() *dictionary {
	d := &dictionary{words: map[string]uint16{}}
	d.at, d.url = d.index("@"), d.index("://")
	for _, line := range phrases {
		for _, field := range strings.Fields(line.text) {
			for _, word := range expand(strings.TrimPrefix(field, "^")) {
				d.index(word)
			}
		}
	}
	for _, word := range expand("@lead") {
		d.index(word)
	}
	d.leadIn = d.set("@lead")
	d.endings = make([][]uint16, len(d.words)+1)
	d.anchors = make([][]uint16, len(d.words)+1)
	sets := map[string]int{}
	for n, line := range phrases {
		p := d.compile(line.rule, line.text)
		d.anchor(&p, strings.Fields(line.text), sets)
		d.phrases = append(d.phrases, p)
		for _, word := range d.words {
			if p.steps[len(p.steps)-1].set.has(word) {
				d.endings[word] = append(d.endings[word], uint16(n))
			}
		}
	}
	return d
}

func (d *dictionary) index(word string) uint16 {
	if n := d.words[word]; n != 0 || word == "" || word[0] == '~' {
		return n
	}
	if len(word) > longest {
		panic(fmt.Sprintf("injection: word %q is too long", word))
	}
	n := uint16(len(d.words) + 1)
	d.words[word] = n
	d.lengths[ends(word[0], word[len(word)-1])] |= 1 << len(word)
	if len(word) <= shortest {
		var l letters
		copy(l[:], word)
		key := binary.LittleEndian.Uint64(l[:])
		at := slot(key)
		for d.keys[at] != 0 {
			at = (at + 1) % len(d.keys)
		}
		d.keys[at], d.indexes[at] = key, n
	}
	return n
}

// common are words that stand in nearly every text.
const common = "the a an to of and in is are was were it its you your my our this that these those such all any every no not me us out on off " +
	"as at be been by for from have has had he her his if into now one or other read said same so some system than their them then there they " +
	"what when which who will with would first new order data text list key only must should note email url before above previous existing"

// anchor chooses the set of p, but for the last one, that has the fewest words
// which stand everywhere. Most phrases are ruled out by it before any words are
// compared. sets has the anchors so far.
func (d *dictionary) anchor(p *phrase, fields []string, sets map[string]int) {
	best, fewest := "", len(common)
	step := 0
	for _, field := range fields[:len(fields)-1] {
		if strings.HasPrefix(field, "~") {
			continue
		}
		field = strings.TrimPrefix(field, "^")
		p.reach += p.steps[step].gap + 1
		step++
		if n := commonWords(field); n < fewest {
			best, fewest, p.reach = field, n, 0
		}
	}
	p.reach += p.steps[len(p.steps)-1].gap + 1
	n, known := sets[best]
	if !known {
		if n = len(sets); n == maxAnchors {
			panic("injection: too many anchors")
		}
		sets[best] = n
		for _, word := range expand(best) {
			d.anchors[d.words[word]] = append(d.anchors[d.words[word]], uint16(n))
		}
	}
	p.anchor = n
}

func commonWords(field string) (n int) {
	for _, word := range expand(field) {
		if slices.Contains(strings.Fields(common), word) {
			n++
		}
	}
	return n
}

// expand returns the words of a field: alternatives, and @name for a class.
func expand(field string) []string {
	var list []string
	for _, part := range strings.Split(field, "|") {
		if class, ok := strings.CutPrefix(part, "@"); ok && class != "" {
			words, known := classes[class]
			if !known {
				panic(fmt.Sprintf("injection: unknown class %q", class))
			}
			list = append(list, strings.Fields(words)...)
			continue
		}
		list = append(list, part)
	}
	return list
}

func (d *dictionary) set(field string) wordSet {
	set := make(wordSet, len(d.words)/64+1)
	for _, word := range expand(field) {
		n := d.words[word]
		set[n>>6] |= 1 << (n & 63)
	}
	return set
}

// compile reads one phrase: fields are sets, ^ before the first one asks for a
// command, ~n allows n arbitrary words before the next set.
func (d *dictionary) compile(r rule, text string) phrase {
	p := phrase{rule: r}
	fields := strings.Fields(text)
	fields[0], p.command = strings.CutPrefix(fields[0], "^")
	gap, span := 0, 0
	for _, field := range fields {
		if count, ok := strings.CutPrefix(field, "~"); ok {
			n, err := strconv.Atoi(count)
			if err != nil {
				panic(fmt.Sprintf("injection: gap %q: %v", field, err))
			}
			gap = n
			continue
		}
		p.steps = append(p.steps, step{gap, d.set(field)})
		span += gap + 1
		gap = 0
	}
	if span >= memory || slices.Contains(fields, "") {
		panic(fmt.Sprintf("injection: phrase %q spans %d words", text, span))
	}
	return p
}
