package broker

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	errorCode = regexp.MustCompile(`^(access|invalid|request|server|temporarily|unsupported)(_[a-z]+)+$`)
	sentence  = regexp.MustCompile(`^[A-Z][^{}]* [^{}]*(\.|: )$`)

	// names of parameters that look like codes
	noCodes = []string{"access_token", "request_uri"}
	// said where nothing is refused
	noRefusals = []string{"You have allowed access.", "You have denied access."}
)

// docs/identity.md names every error that a program reads and every sentence that a
// user reads, and no code besides.
func TestDocumentsNameEveryRefusal(t *testing.T) {
	text, err := os.ReadFile("../../docs/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(text), "### At the broker\n")
	part, _, _ = strings.Cut(part, "\n### ")
	said := texts(t)
	codes := 0
	for _, s := range said {
		switch {
		case errorCode.MatchString(s) && !slices.Contains(noCodes, s):
			codes++
			if !strings.Contains(part, "`"+s+"`") {
				t.Errorf("the error %s is not documented", s)
			}
		case sentence.MatchString(s) && !slices.Contains(noRefusals, s) && !strings.Contains(part, "*"+s):
			t.Errorf("the sentence %q is not documented", s)
		}
	}
	if codes == 0 {
		t.Error("no error was found: the test looks for the wrong thing")
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[a-z_`, ]+`) \\|").FindAllStringSubmatch(part, -1) {
		for code := range strings.SplitSeq(strings.ReplaceAll(row[1], "`", ""), ", ") {
			if !slices.Contains(said, code) {
				t.Errorf("the error %s is documented, and nobody says it", code)
			}
		}
	}
}

// texts are those in the code of this package.
func texts(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				s, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, s)
			}
			return true
		})
	}
	return all
}
