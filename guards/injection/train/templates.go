package main

import "strings"

// random is SplitMix64 (Steele, Lea, Flood 2014): the same numbers everywhere.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *random) below(n int) int { return int(r.next() % uint64(n)) }

func (r *random) pick(list []string) string { return list[r.below(len(list))] }

// example is one text to learn from.
type example struct {
	text   string
	attack bool
	source string
	part   string // the attack alone, where that is known
}

// Examples that the templates make, for each language and sentence.
const (
	attacksEach = 4
	harmless    = 6
	longEach    = 4
)

// generate makes texts from the templates: every sentence several times, in carriers.
func generate(seed uint64) (all []example) {
	r := random(seed)
	for i := range languages {
		l := &languages[i]
		for _, a := range l.attacks {
			n := attacksEach
			if !strings.Contains(a, "{task}") {
				n = 2
			}
			for range n {
				part := r.attack(l, a)
				all = append(all, example{r.carry(l, part), true, "template-" + l.code, part})
			}
		}
		for _, b := range l.benign {
			for range harmless {
				all = append(all, example{r.carry(l, b), false, "template-" + l.code, ""})
			}
		}
		for _, h := range l.hard {
			for range harmless {
				all = append(all, example{r.carry(l, h), false, "template-" + l.code, ""})
			}
		}
	}
	for i := range languages {
		l := &languages[i]
		n := len(l.benign) * longEach
		for range n {
			all = append(all, example{r.document(l), false, "template-" + l.code, ""})
		}
	}
	return all
}

// document is a long harmless text: what is rare in a sentence is common in a book, and the
// window of a long text that says most says a lot.
func (r *random) document(l *language) string {
	var b strings.Builder
	for n := 8 + r.below(40); n > 0; n-- {
		text := r.pick(l.benign)
		if r.below(3) == 0 {
			text = r.pick(l.hard)
		}
		b.WriteString(text)
		b.WriteString([]string{" ", " ", " ", "\n\n", "\n- "}[r.below(5)])
	}
	return b.String()
}

// attack fills a template in.
func (r *random) attack(l *language, text string) string {
	text = strings.ReplaceAll(text, "{task}", r.pick(l.tasks))
	text = strings.ReplaceAll(text, "{place}", r.pick(places))
	text = strings.ReplaceAll(text, "{tool}", r.pick(toolNames))
	text = strings.ReplaceAll(text, "{name}", r.pick(names))
	text = strings.ReplaceAll(text, "{data}", r.pick(data))
	switch r.below(12) {
	case 0:
		return strings.ToUpper(text)
	case 1:
		return strings.ToLower(text)
	}
	return text
}

// carry puts a text where texts of its language stand.
func (r *random) carry(l *language, text string) string {
	carrier := carriers[0]
	if r.below(3) > 0 {
		carrier = r.pick(carriers)
	}
	for strings.Contains(carrier, "{more}") {
		carrier = strings.Replace(carrier, "{more}", r.harmless(l), 1)
	}
	return strings.ReplaceAll(carrier, "{text}", text)
}

func (r *random) harmless(l *language) string {
	if r.below(4) == 0 {
		return r.pick(l.hard)
	}
	return r.pick(l.benign)
}
