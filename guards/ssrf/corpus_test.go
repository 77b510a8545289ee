package ssrf_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"mcp-sidecar/guards/ssrf"
)

// TestCorpus measures the guard on the development corpus, which is not part of
// this repository: CORPORA_DIR names its folder. REQUIRE_CORPORA=1 turns its
// absence into a failure.
func TestCorpus(t *testing.T) {
	f, err := os.Open(filepath.Join(os.Getenv("CORPORA_DIR"), "ssrf.jsonl"))
	if err != nil {
		if os.Getenv("REQUIRE_CORPORA") == "1" {
			t.Fatal(err)
		}
		t.Skip("no corpus: set CORPORA_DIR")
	}
	defer f.Close()
	attacks, missed, benign, wrong, skipped := 0, 0, 0, 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var item struct {
			ID       string
			Label    int
			Text     string
			NeedsDNS bool `json:"needs_dns"`
		}
		if err := json.Unmarshal(lines.Bytes(), &item); err != nil {
			t.Fatal(err)
		}
		refused := ssrf.Check(t.Context(), public, item.Text, ssrf.Rule{}) != nil
		switch {
		case item.Label == 1 && item.NeedsDNS:
			skipped++
		case item.Label == 1:
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
