package injection

import (
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
}

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
	phrases []phrase
	endings [][]uint16 // word → phrases that it can end
	leadIn  wordSet
	at, url uint16
}

var vocabulary = buildVocabulary()

// lookup returns the index of a word of n folded bytes, 0 if it is unknown. The
// lengths keep most words of a text from being hashed.
func (d *dictionary) lookup(word []byte, n int) uint16 {
	if n > longest || d.lengths[ends(word[0], word[n-1])]>>n&1 == 0 {
		return 0
	}
	return d.words[string(word)]
}

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
	for n, line := range phrases {
		p := d.compile(line.rule, line.text)
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
