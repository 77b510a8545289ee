package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// problemsOf is what the validate command shows for a file.
func problemsOf(t *testing.T, file string) Errors {
	t.Helper()
	cfg, err := Load(file)
	if err == nil {
		return cfg.Validate()
	}
	var problems Errors
	if !errors.As(err, &problems) {
		t.Fatalf("Load: %T %v", err, err)
	}
	return problems
}

func badFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("bad files: %d, %v", len(files), err)
	}
	return files
}

// wanted reads the problems that a bad file announces in its first lines.
func wanted(t testing.TB, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		w, ok := strings.CutPrefix(line, "# want: ")
		if !ok {
			break
		}
		want = append(want, strings.TrimSuffix(w, "\n"))
	}
	return want
}

// TestBadFiles wants exactly the announced problems: each with its place, and
// none that only follows from another.
func TestBadFiles(t *testing.T) {
	for _, file := range badFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want := wanted(t, file)
			if len(want) == 0 {
				t.Fatal("the file announces no problem")
			}
			var got []string
			for _, p := range problemsOf(t, file) {
				got = append(got, strings.TrimPrefix(p.String(), filepath.ToSlash(file)+":"))
			}
			if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
				t.Errorf("got:\n%s\nwant:\n%s", g, w)
			}
		})
	}
}

// TestNothingSecretInProblems: an inline password is refused, and the report of
// that may end up in the log of a CI job.
func TestNothingSecretInProblems(t *testing.T) {
	for _, file := range badFiles(t) {
		if report := problemsOf(t, file).Explain(); strings.Contains(report, "hunter2") {
			t.Errorf("%s:\n%s", file, report)
		}
	}
}

func TestUnreadableText(t *testing.T) {
	valid := "version: 1\nupstreams: { docs: { url: https://docs.example/mcp } }\n"
	rows := []struct {
		name, text, want string
	}{
		{"nothing", "", "x.yaml:1:1: the file is empty; it starts with version: 1"},
		{"byte order mark", "\uFEFF" + valid, "x.yaml:1:1: the file starts with a byte order mark; save it as UTF-8 without one"},
		{"UTF-16", "\xFF\xFEv\x00e\x00", "x.yaml:1:1: the file is UTF-16; save it as UTF-8"},
		{"Latin-1", valid + "state_dir: /srv/caf\xE9\n", "x.yaml:3:20: the file is not valid UTF-8 here"},
		{"column in characters", "# é日本\xFF\n", "x.yaml:1:6: the file is not valid UTF-8 here"},
		{"NUL", "version: 1\x00\n", "x.yaml:1:11: control character U+0000; write an escape in double quotes"},
		{"escape sequence", "# \x1B[2J\n", "x.yaml:1:3: control character U+001B; write an escape in double quotes"},
		{"carriage return alone", "version: 1\rpreset: strict\n", "x.yaml:1:11: a carriage return must stand before a line feed"},
		{"second byte order mark", valid + "\uFEFF", "x.yaml:3:1: character U+FEFF does not belong in text"},
		{"noncharacter that stands for a colon", "a\uFDD0b: 1\n", "x.yaml:1:2: character U+FDD0 does not belong in text"},
		{"CVE-2021-42574", valid + "# \u202Eterces\n", "x.yaml:3:3: character U+202E changes the reading direction"},
		{"flow nesting", "a: " + strings.Repeat("[", 100_000), "x.yaml:1:68: nested deeper than 64"},
		{"list nesting", strings.Repeat("- ", 100_000), "x.yaml:1:129: nested deeper than 64"},
		{"one byte too long", strings.Repeat("#", maxFile+1), "x.yaml: the file is larger than 1 MiB"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			cfg, err := Parse("x.yaml", []byte(r.text))
			if cfg != nil || err == nil || err.Error() != r.want {
				t.Errorf("got %v, %v\nwant %s", cfg, err, r.want)
			}
		})
	}
}

func TestLargestFile(t *testing.T) {
	text := "version: 1\nupstreams: { docs: { url: https://docs.example/mcp } }\n#"
	text += strings.Repeat("x", maxFile-len(text))
	if _, err := Parse("x.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
}

// TestProblemsAreBounded: one mistake on every line must not fill the terminal,
// and what is left out is said.
func TestProblemsAreBounded(t *testing.T) {
	_, err := Parse("x.yaml", []byte("version: 1\n"+strings.Repeat("preset: strict\n", 5000)))
	var problems Errors
	if !errors.As(err, &problems) || len(problems) != maxProblems+1 {
		t.Fatalf("%d problems", len(problems))
	}
	last := problems[maxProblems].String()
	if last != "x.yaml: 4001 more problems are not listed" {
		t.Error(last)
	}
}

func TestLoadUnreadable(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	var problems Errors
	if _, err := Load(t.TempDir()); err == nil || errors.As(err, &problems) {
		t.Errorf("folder: %v", err)
	}
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("x", 300)
	rows := []struct {
		name, text, want string
	}{
		{"value", "preset: loud\n", "  1 | preset: loud\n    |         ^\n"},
		{"wide characters before", "dns: { hosts: { é日本: 7 } }\n", "  1 | dns: { hosts: { é日本: 7 } }\n    |                      ^\n"},
		{"windows line ends", "a: 1\r\n", "  1 | a: …\n    | ^\n"},
		{"value of an unknown key", "password: hunter2\n", "  1 | password: …\n    | ^\n"},
		{"password in a URL", "preset: http://a:b@c/\n", "  1 | preset: http://***@c/\n    |         ^\n"},
		{"secret in a query", "preset: http://c/?t=abc&n=1\n", "  1 | preset: http://c/?t=***&n=*\n    |         ^\n"},
		{
			"long line", "preset: [" + long + "]\n",
			"  1 | preset: [" + long[:79] + "…\n    |         ^\n",
		},
		{
			"far in a long line", "dns: { hosts: { " + long + ": 7, b.example: [192.0.2.1] } }\n",
			"  1 | …" + long[:78] + ": 7, b.example: [192.0.2.1] } }\n    | " + strings.Repeat(" ", 81) + "^\n",
		},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			_, err := Parse("", []byte(r.text))
			var problems Errors
			if !errors.As(err, &problems) {
				t.Fatalf("no problems: %v", err)
			}
			for _, p := range problems {
				if p.Excerpt() == r.want {
					return
				}
			}
			t.Errorf("got:\n%s\nwant:\n%s", problems.Explain(), r.want)
		})
	}
}

func TestExplain(t *testing.T) {
	problems := Errors{
		{Source: "a.yaml", Path: "listen", Line: 3, Column: 9, Message: "is wrong", text: "listen: x"},
		{Source: "SIDECAR_PRESET", Path: "preset", Message: "is wrong"},
		{Path: "auth", Message: "is missing"},
	}
	const want = "a.yaml:3:9: is wrong (listen)\n  3 | listen: x\n    |         ^\n" +
		"SIDECAR_PRESET: is wrong (preset)\nis missing (auth)\n"
	if got := problems.Explain(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"listen", "preset", "policy", "url", "dns"}
	rows := []struct{ key, want string }{
		{"lisen", "listen"}, {"listten", "listen"}, {"lsiten", "listen"}, {"Listen", "listen"},
		{"prest", "preset"}, {"poilcy", "policy"}, {"uri", "url"}, {"ulr", "url"},
		{"xyz", ""}, {"listening", ""}, {"", ""}, {strings.Repeat("listen", 1000), ""},
	}
	for _, r := range rows {
		if got := nearest(r.key, known); got != r.want {
			t.Errorf("nearest(%.20q) = %q, want %q", r.key, got, r.want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	rows := []struct {
		path string
		want []string
	}{
		{"", nil},
		{"listen", []string{"listen"}},
		{child(child("tools", "docs/a.b"), "args"), []string{"tools", `tools["docs/a.b"]`, `tools["docs/a.b"].args`}},
		{item(child(child("dns", "hosts"), `a"].[b`), 3), []string{"dns", "dns.hosts", `dns.hosts["a\"].[b"]`, `dns.hosts["a\"].[b"][3]`}},
		{child("", "a.b"), []string{`["a.b"]`}},
	}
	for _, r := range rows {
		if got := prefixes(r.path); strings.Join(got, " | ") != strings.Join(r.want, " | ") {
			t.Errorf("prefixes(%s) = %q", r.path, got)
		}
	}
}
