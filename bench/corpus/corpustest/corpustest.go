// Package corpustest finds the labelled texts for tests. They are no part of the project.
package corpustest

import (
	"os"
	"testing"
)

// Dir is the folder that CORPORA_DIR names. Without one the test is skipped, or fails
// where REQUIRE_CORPORA=1 wants it to run.
func Dir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CORPORA_DIR")
	switch {
	case dir != "":
	case os.Getenv("REQUIRE_CORPORA") == "1":
		t.Fatal("REQUIRE_CORPORA=1, but CORPORA_DIR does not say where the labelled texts are")
	default:
		t.Skip("the labelled texts are no part of the project: CORPORA_DIR says where they are, and does not")
	}
	return dir
}
