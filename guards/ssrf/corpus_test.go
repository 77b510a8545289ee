package ssrf_test

import (
	"testing"

	"mcp-sidecar/bench/corpus"
	"mcp-sidecar/bench/corpus/corpustest"
	"mcp-sidecar/guards/ssrf"
)

// TestCorpus measures the whole check, with a resolver that knows public addresses only,
// on labelled URLs.
func TestCorpus(t *testing.T) {
	items, err := corpus.Read(corpustest.Dir(t), "ssrf")
	if err != nil {
		t.Fatal(err)
	}
	attacks, missed, benign, wrong, skipped := 0, 0, 0, 0, 0
	for _, item := range items {
		refused := ssrf.Check(t.Context(), public, item.Text, ssrf.Rule{}) != nil
		switch {
		case item.Attack && item.NeedsDNS:
			skipped++
		case item.Attack:
			attacks++
			if !refused {
				missed++
				t.Logf("missed %s", item.ID)
			}
		default:
			benign++
			if refused {
				wrong++
				t.Logf("wrongly refused %s", item.ID)
			}
		}
	}
	if attacks == 0 || benign == 0 {
		t.Fatal("the corpus is empty")
	}
	t.Logf("refused %d of %d attacks (%d more need DNS), %d of %d benign URLs", attacks-missed, attacks, skipped, wrong, benign)
	if missed*1000 > attacks*5 || wrong > 0 {
		t.Error("below 99.5 % recall, or a false positive")
	}
}
