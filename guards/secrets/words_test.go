package secrets

import (
	"slices"
	"strings"
	"testing"
)

// TestWordsAreUnique: each word has one rule.
func TestWordsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, tr := range rules().triggers {
		if seen[tr.word] || tr.word == "" || tr.word != strings.ToLower(tr.word) {
			t.Errorf("word %q is empty, twice, or not lower case", tr.word)
		}
		seen[tr.word] = true
	}
}

func hits(w *words, s string) (found [][2]int) {
	for end := w.next(s, 0); end >= 0; end = w.next(s, end) {
		all := w.candidates(s, end)
		for i := range all {
			if w.endsAt(&all[i], s, end) {
				found = append(found, [2]int{end, all[i].word})
			}
		}
	}
	return found
}

// FuzzWords: one pass finds what a search for each word finds.
func FuzzWords(f *testing.F) {
	f.Add("she sells his hers", "he she his hers")
	f.Add("aaaa", "a aa aaa")
	f.Add("PassWord=", "password pass word s")
	f.Fuzz(func(t *testing.T, s, list string) {
		var words []string
		for _, w := range strings.Fields(list) {
			if w = strings.ToLower(w); isASCII(w) && !slices.Contains(words, w) && len(words) < 20 && len(w) < 20 {
				words = append(words, w)
			}
		}
		var want [][2]int
		for i := range len(s) {
			var ends [][2]int
			for n, w := range words {
				if i+1 >= len(w) && strings.EqualFold(s[i+1-len(w):i+1], w) {
					ends = append(ends, [2]int{i + 1, n})
				}
			}
			slices.SortFunc(ends, func(a, b [2]int) int { return len(words[b[1]]) - len(words[a[1]]) })
			want = append(want, ends...)
		}
		if isASCII(s) && !slices.Equal(hits(newWords(words), s), want) {
			t.Errorf("words %q in %q: %v, want %v", words, s, hits(newWords(words), s), want)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
