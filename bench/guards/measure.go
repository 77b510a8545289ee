package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"mcp-sidecar/bench/corpus"
	"mcp-sidecar/proxy/scan"
)

// figures are what a detector made of some items.
type figures struct {
	Attacks, Caught int
	Benign, Wrong   int
	Bytes           int
	Took            time.Duration
	AUC             float64 // of the scores; 0 without attacks or benign items

	Secrets, Leaked  int // exact secrets, and those that stand in the redacted text
	Around, KeptByte int // bytes beside the secrets, and those of them that are kept
}

func (f figures) recall() float64    { return share(f.Caught, f.Attacks) }
func (f figures) wrong() float64     { return share(f.Wrong, f.Benign) }
func (f figures) precision() float64 { return share(f.Caught, f.Caught+f.Wrong) }
func (f figures) leak() float64      { return share(f.Leaked, f.Secrets) }
func (f figures) kept() float64      { return share(f.KeptByte, f.Around) }

func (f figures) f1() float64 {
	p, r := f.precision(), f.recall()
	if p+r == 0 {
		return 0
	}
	return 2 * p * r / (p + r)
}

// perKB is the time for 1000 bytes, in microseconds.
func (f figures) perKB() float64 {
	return float64(f.Took.Nanoseconds()) / float64(max(f.Bytes, 1))
}

// share is a percentage.
func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// result is what a detector made of a corpus.
type result struct {
	All     figures
	Sources map[string]*figures
	Missed  []corpus.Item // attacks that were not caught
	Wrong   []corpus.Item // benign items that were flagged
}

// mean is the mean over the sources that have attacks of their recall.
func (r *result) mean() float64 {
	sum, n := 0.0, 0
	for _, name := range r.sources() {
		if f := r.Sources[name]; f.Attacks > 0 {
			sum, n = sum+f.recall(), n+1
		}
	}
	return sum / float64(max(n, 1))
}

func (r *result) sources() []string { return slices.Sorted(maps.Keys(r.Sources)) }

// measure shows every item to d. Those that need a resolver are left out: nobody is asked.
func measure(kind string, items []corpus.Item, d detector) *result {
	r := &result{Sources: map[string]*figures{}}
	var scores []scored
	d(items[0].Text) // what is prepared once is not the items' time
	for _, i := range items {
		if i.NeedsDNS {
			continue
		}
		f := r.Sources[i.Source]
		if f == nil {
			f = &figures{}
			r.Sources[i.Source] = f
		}
		began := time.Now()
		v := d(i.Text)
		took := time.Since(began)
		for _, f := range []*figures{f, &r.All} {
			f.Took += took
			f.Bytes += len(i.Text)
			f.count(i, v.Flagged)
			if kind == scan.Secret {
				f.redaction(i, v)
			}
		}
		scores = append(scores, scored{v.Score, i.Attack})
		switch {
		case i.Attack && !v.Flagged:
			r.Missed = append(r.Missed, i)
		case !i.Attack && v.Flagged:
			r.Wrong = append(r.Wrong, i)
		}
	}
	r.All.AUC = auc(scores)
	return r
}

func (f *figures) count(i corpus.Item, flagged bool) {
	if i.Attack {
		f.Attacks++
		if flagged {
			f.Caught++
		}
		return
	}
	f.Benign++
	if flagged {
		f.Wrong++
	}
}

// redaction counts what a redacted text still holds of the secrets, and what it lost beside
// them. Of an attack whose exact secrets nobody wrote down there is nothing to count.
func (f *figures) redaction(i corpus.Item, v scan.Verdict) {
	if i.Attack && len(i.Secrets) == 0 {
		return
	}
	inSecret := make([]bool, len(i.Text))
	for _, s := range i.Secrets {
		f.Secrets++
		if strings.Contains(v.Redacted, s) {
			f.Leaked++
		}
		for at := 0; s != ""; {
			k := strings.Index(i.Text[at:], s)
			if k < 0 {
				break
			}
			for b := at + k; b < at+k+len(s); b++ {
				inSecret[b] = true
			}
			at += k + len(s)
		}
	}
	around := 0
	for _, in := range inSecret {
		if !in {
			around++
		}
	}
	lost := 0
	for _, found := range v.Findings {
		for b := found.Start; b < found.End; b++ {
			if !inSecret[b] {
				lost++
			}
		}
	}
	f.Around, f.KeptByte = f.Around+around, f.KeptByte+around-lost
}

type scored struct {
	score  float64
	attack bool
}

// auc is the chance that an attack has a higher score than a benign item; equal ones count
// half (the Mann-Whitney statistic).
func auc(all []scored) float64 {
	slices.SortFunc(all, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	attacks, benign, below, sum := 0, 0, 0, 0.0
	for from := 0; from < len(all); {
		to, hits := from, 0
		for to < len(all) && all[to].score == all[from].score {
			if all[to].attack {
				hits++
			}
			to++
		}
		others := to - from - hits
		sum += float64(hits) * (float64(below) + float64(others)/2)
		attacks, benign, below = attacks+hits, benign+others, below+others
		from = to
	}
	if attacks == 0 || benign == 0 {
		return 0
	}
	return sum / (float64(attacks) * float64(benign))
}
