package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// What readers copy out of a document must work: each block of YAML is valid, and
// means the same as a whole file when what it leaves out is added.
func TestDocumentsHoldValidYAML(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllSubmatchIndex(text, -1) {
			line := 1 + strings.Count(string(text[:m[2]]), "\n")
			if err := checkBlock(string(text[m[2]:m[3]])); err != nil {
				t.Errorf("%s, block at line %d: %v", filepath.Base(file), line, err)
			}
		}
	}
}

// checkBlock reads a block as what its first line says that it is.
func checkBlock(block string) error {
	var err error
	switch first, _, _ := strings.Cut(block, "\n"); {
	case strings.Contains(block, "\nlivenessProbe:"):
		return nil // a container's
	case first == "# tokens.yaml":
		_, err = ParseStaticTokens("tokens.yaml", []byte(block))
		return err
	case strings.HasSuffix(first, ".test.yaml"):
		_, err = ParseExpectations(first, []byte(block))
		return err
	case first == "# roles.yaml":
		_, err = ParseRoles("roles.yaml", []byte(block))
		return err
	}
	cfg, err := Parse("sidecar.yaml", []byte(completed(block)))
	if err != nil {
		return err
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		return problems
	}
	return nil
}

// completed adds what every file needs, below the block so that line numbers hold.
func completed(block string) string {
	for _, add := range []struct{ key, line string }{
		{"version", "version: 1\n"},
		{"auth", "auth: { static_tokens_file: tokens.yaml }\n"},
		{"upstreams", "upstreams: { docs: { url: http://127.0.0.1:9001/mcp } }\n"},
	} {
		if !strings.HasPrefix(block, add.key+":") && !strings.Contains(block, "\n"+add.key+":") {
			block += add.line
		}
	}
	return block
}
