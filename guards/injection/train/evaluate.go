package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"mcp-sidecar/guards/injection"
)

// evaluate trains without each source in turn, and shows what the model makes of it. Without
// whole origins that is worse than what to expect of texts that nobody has seen, and in
// folds, with texts of the same origins on both sides, better.
func evaluate(examples []example, folds bool, out io.Writer) error {
	bags := make([]*bag, len(examples))
	sources := map[string]bool{}
	for i, e := range examples {
		bags[i] = read(e)
		if g := group(e, folds); g != "" {
			sources[g] = true
		}
	}
	weigh(bags)
	type held struct {
		score float64
		b     *bag
		sign  bool
	}
	var all []held
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan bool, 2)
	for source := range sources {
		wg.Go(func() {
			slots <- true
			defer func() { <-slots }()
			var rest, out []*bag
			for _, b := range bags {
				if group(b.example, folds) == source {
					out = append(out, b)
				} else {
					rest = append(rest, b)
				}
			}
			l := learn(rest)
			mu.Lock()
			defer mu.Unlock()
			for _, b := range out {
				all = append(all, held{l.best(b), b, injection.Score(b.text) == 1})
			}
		})
	}
	wg.Wait()
	var benign []float64
	for _, h := range all {
		if !h.b.attack {
			benign = append(benign, h.score)
		}
	}
	slices.Sort(benign)
	for _, wrong := range []float64{0.002, 0.005, 0.01, 0.02} {
		threshold := benign[len(benign)-1-int(wrong*float64(len(benign)))]
		type tally struct{ n, model, both int }
		per := map[string]*tally{}
		for _, h := range all {
			key := h.b.source
			if !h.b.attack {
				key = "(harmless) " + key
			}
			if per[key] == nil {
				per[key] = &tally{}
			}
			t := per[key]
			t.n++
			if h.score > threshold {
				t.model++
			}
			if h.score > threshold || h.sign {
				t.both++
			}
		}
		var line []string
		sum, model, both, mean, k := 0, 0, 0, 0.0, 0
		for _, s := range slices.Sorted(maps.Keys(per)) {
			t := per[s]
			line = append(line, fmt.Sprintf("  %-40s %4d  model %5.1f %%  with phrases %5.1f %%", s, t.n, 100*float64(t.model)/float64(t.n), 100*float64(t.both)/float64(t.n)))
			if !strings.HasPrefix(s, "(") {
				sum, model, both, k = sum+t.n, model+t.model, both+t.both, k+1
				mean += float64(t.both) / float64(t.n)
			}
		}
		if wrong == 0.01 {
			fmt.Fprintln(out, strings.Join(line, "\n"))
		}
		fmt.Fprintf(out, "wrong %.1f %%, log-odds %.2f: recall of the model %.1f %%, with phrases %.1f %%, mean %.1f %%\n", 100*wrong, threshold, 100*float64(model)/float64(sum), 100*float64(both)/float64(sum), 100*mean/float64(k))
	}
	// The chance that an attack has a higher score than a harmless text.
	pairs, n := 0.0, 0
	for _, h := range all {
		if h.b.attack {
			at, _ := slices.BinarySearch(benign, h.score)
			pairs += float64(at) / float64(len(benign))
			n++
		}
	}
	_, err := fmt.Fprintf(out, "AUC of the model %.3f\n", pairs/float64(n))
	return err
}

// group says what is left out together: everything of one origin, which is what a source's
// name begins with; or, in folds, a fifth of all texts. What the templates make is left out
// never.
func group(e example, folds bool) string {
	name, _, _ := strings.Cut(e.source, "-")
	switch {
	case name == "template":
		return ""
	case folds:
		h := fnv.New32a()
		_, _ = h.Write([]byte(e.text))
		return fmt.Sprint("fold ", h.Sum32()%5)
	}
	return name
}
