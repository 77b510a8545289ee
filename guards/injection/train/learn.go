package main

import (
	"math"
	"slices"
	"strings"

	"mcp-sidecar/guards/injection"
)

// How the model learns.
const (
	epochs  = 10
	rate    = 0.35
	shrink  = 2e-5 // of a weight that is used, each time: what only one text says fades
	rare    = 2    // texts in which a feature has to occur
	step    = 12   // tokens between windows
	hardest = 2    // windows of a harmless text that are learned from
	harm    = 3.0  // what a false alarm weighs against a miss
	limit   = 150  // texts from which a source's weight grows more slowly than it
)

const buckets = injection.Buckets

// bag is one text as the model sees it: the features of each token.
type bag struct {
	example
	features []uint32
	ends     []int // of each token's features
	windows  [][2]int
	clean    [][2]int // windows of an attack that hold nothing of it
	weight   float64
}

func read(e example) *bag {
	b := &bag{example: e}
	at := -1
	if e.part != "" {
		at = strings.Index(e.text, e.part)
	}
	var hit []bool
	for t := injection.NewTokens(e.text); t.Next(); {
		b.features = append(b.features, t.Features()...)
		b.ends = append(b.ends, len(b.features))
		hit = append(hit, at < 0 || t.Start() >= at && t.Start() < at+len(e.part))
	}
	n := len(b.ends)
	for from := 0; from == 0 || from+injection.Window-step < n; from += step {
		to := min(from+injection.Window, n)
		if to == from {
			break
		}
		start := 0
		if from > 0 {
			start = b.ends[from-1]
		}
		w := [2]int{start, b.ends[to-1]}
		if e.attack && !slices.Contains(hit[from:to], true) {
			b.clean = append(b.clean, w)
			continue
		}
		b.windows = append(b.windows, w)
	}
	return b
}

func (b *bag) in(w [2]int) []uint32 { return b.features[w[0]:w[1]] }

// learner is logistic regression by AdaGrad (Duchi, Hazan, Singer 2011), over texts of
// which only the window that says most counts (multiple-instance learning).
// Products are rounded before they are added: a processor that does both at once would
// make other bytes.
type learner struct {
	w, g2   []float64
	bias    float64
	biasG2  float64
	allowed []bool
}

func (l *learner) score(features []uint32) float64 {
	sum := 0.0
	for _, f := range features {
		sum += l.w[f]
	}
	return l.bias + float64(sum/math.Sqrt(float64(max(len(features), injection.MinFeatures))))
}

func (l *learner) update(features []uint32, want, weight float64) {
	err := float64((want - logistic(l.score(features))) * weight)
	if math.Abs(err) < 1e-4 {
		return
	}
	unit := float64(err / math.Sqrt(float64(max(len(features), injection.MinFeatures))))
	for _, f := range features {
		if !l.allowed[f] {
			continue
		}
		l.g2[f] += float64(unit * unit)
		l.w[f] = float64(l.w[f]*(1-shrink)) + float64(rate*unit/math.Sqrt(l.g2[f]+1e-3))
	}
	l.biasG2 += float64(err * err)
	l.bias += float64(rate * err / math.Sqrt(l.biasG2+1))
}

// learn makes weights of examples.
func learn(bags []*bag) *learner {
	l := &learner{w: make([]float64, buckets), g2: make([]float64, buckets), allowed: make([]bool, buckets)}
	in := make([]uint8, buckets)
	last := make([]int, buckets)
	for i, b := range bags {
		for _, f := range b.features {
			if last[f] != i+1 {
				last[f] = i + 1
				in[f] = min(in[f]+1, rare)
			}
		}
	}
	for f := range in {
		l.allowed[f] = in[f] >= rare
	}
	order := make([]int, len(bags))
	for i := range order {
		order[i] = i
	}
	r := random(1)
	for range epochs {
		for i := len(order) - 1; i > 0; i-- {
			k := r.below(i + 1)
			order[i], order[k] = order[k], order[i]
		}
		for _, i := range order {
			l.see(bags[i])
		}
	}
	return l
}

func (l *learner) see(b *bag) {
	if len(b.windows) == 0 {
		return
	}
	type judged struct {
		score float64
		w     [2]int
	}
	all := make([]judged, len(b.windows))
	for i, w := range b.windows {
		all[i] = judged{l.score(b.in(w)), w}
	}
	slices.SortStableFunc(all, func(a, c judged) int {
		switch {
		case a.score > c.score:
			return -1
		case a.score < c.score:
			return 1
		}
		return 0
	})
	if b.attack {
		l.update(b.in(all[0].w), 1, b.weight)
		if len(b.clean) > 0 {
			l.update(b.in(b.clean[0]), 0, b.weight)
			l.update(b.in(b.clean[len(b.clean)-1]), 0, b.weight)
		}
		return
	}
	for _, j := range all[:min(len(all), hardest)] {
		l.update(b.in(j.w), 0, b.weight)
	}
}

// best is the score of the window that says most.
func (l *learner) best(b *bag) float64 {
	best := l.bias
	for i, w := range slices.Concat(b.windows, b.clean) {
		if s := l.score(b.in(w)); i == 0 || s > best {
			best = s
		}
	}
	return best - injection.Discount(len(b.ends))
}

// logistic maps log-odds to a probability, with operations that round alike everywhere,
// which math.Exp does not promise.
func logistic(v float64) float64 {
	v = max(-30, min(30, v))
	// e^v = (e^(v/1024))^1024; the inner one by its series.
	x := v / 1024
	e := 1 + float64(x*(1+float64(x/2*(1+float64(x/3*(1+float64(x/4)))))))
	for range 10 {
		e *= e
	}
	return e / (1 + e)
}

// weigh gives each source its say: a large one more than a small one, but not by its size.
func weigh(bags []*bag) {
	count := map[string]int{}
	key := func(b *bag) string {
		if b.attack {
			return b.source + "+"
		}
		return b.source
	}
	for _, b := range bags {
		count[key(b)]++
	}
	for _, b := range bags {
		b.weight = min(1, math.Sqrt(limit/float64(count[key(b)])))
		if !b.attack {
			b.weight *= harm
		}
	}
}

// model rounds the weights to bytes.
func (l *learner) model() *injection.Model {
	largest := 0.0
	for _, w := range l.w {
		largest = max(largest, math.Abs(w))
	}
	m := &injection.Model{Bias: l.bias, Scale: largest / 127, Threshold: logistic(threshold), Strict: logistic(strict), Weights: make([]int8, buckets)}
	for i, w := range l.w {
		m.Weights[i] = int8(math.RoundToEven(w / m.Scale))
	}
	return m
}

// Log-odds from which a text is reported: about one in a hundred harmless texts of an
// origin that was not learned from exceeds the first (see -hold-out).
const (
	threshold = 1.1
	strict    = 0.8
)
