package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/proxy/config"
)

// listing is a server that has nothing but tools. Each entry of pages is a list of
// definitions.
type listing struct {
	pages   []string
	modern  bool // of the revision without sessions
	token   string
	version string
	about   string            // members of its answer to initialize or server/discover
	offers  map[string]string // members of its answers to other lists; without one it has none
	asked   []string          // methods, in order
	ended   bool
}

func (l *listing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodDelete {
		l.ended = true
		return
	}
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Cursor string }
	}
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &m)
	l.asked = append(l.asked, m.Method)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case l.token != "" && r.Header.Get("Authorization") != "Bearer "+l.token:
		w.WriteHeader(http.StatusUnauthorized)
	case m.Method == "initialize" && l.modern:
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, m.ID)
	case m.Method == "initialize":
		w.Header().Set("Mcp-Session-Id", "s1")
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":%q,"capabilities":{},"serverInfo":{"name":"x","version":"1"}%s}}`, m.ID, l.version, l.about)
	case m.Method == "server/discover" && l.modern:
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"supportedVersions":["2026-07-28"],"capabilities":{}%s}}`, m.ID, l.about)
	case l.offers[m.Method] != "":
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{%s}}`, m.ID, l.offers[m.Method])
	case strings.HasSuffix(m.Method, "/list") && m.Method != "tools/list":
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, m.ID)
	case m.Method == "notifications/initialized":
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "tools/list" && l.modern == (r.Header.Get("Mcp-Method") == "tools/list"):
		page := 0
		_, _ = fmt.Sscan(m.Params.Cursor, &page)
		next := ""
		if page+1 < len(l.pages) {
			next = fmt.Sprintf(`,"nextCursor":"%d"`, page+1)
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":%s%s}}`, m.ID, l.pages[page], next)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

func (l *listing) serve(t *testing.T) string {
	t.Helper()
	if l.version == "" {
		l.version = "2025-11-25"
	}
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	return s.URL + "/mcp"
}

func tools(t *testing.T, list []map[string]any) string {
	t.Helper()
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestInit: what is written, from a server of either family.
func TestInit(t *testing.T) {
	pages := []string{
		`[{"name":"read_page","description":"Reads a page.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}},{"name":"listPages","inputSchema":{}}]`,
		`[{"name":"delete_page","annotations":{"readOnlyHint":true}},{"name":"getAndPurge"},{"name":"get_page","annotations":{"readOnlyHint":false}},{"name":"write","annotations":{"destructiveHint":true}},{"name":"other"}]`,
	}
	for _, modern := range []bool{false, true} {
		l := &listing{pages: pages, modern: modern, token: "service"}
		dir := files(t, map[string]string{"service.token": "service\n"})
		out := filepath.Join(dir, "new", "folder")
		args := []string{"init", "--upstream", l.serve(t), "--name", "wiki", "-o", out, "--credential-file", filepath.Join(dir, "service.token")}
		got := run(t, args...)
		if got.code != ExitOK || got.stderr != "" {
			t.Fatalf("%+v", got)
		}
		text := func(name string) string {
			b, err := os.ReadFile(filepath.Join(out, name))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		yaml := strings.ReplaceAll(text("sidecar.yaml"), dir, "DIR")
		at := strings.Index(yaml, "    url: ")
		golden(t, "init", strings.ReplaceAll(got.out, dir, "DIR")+"---\n"+yaml[:at]+yaml[at+strings.IndexByte(yaml[at:], '\n')+1:]+"---\n"+text("policy.csv")+"---\n"+text("policy.test.yaml"))
		if l.ended == modern {
			t.Errorf("modern %t: session ended: %t", modern, l.ended)
		}
		file := filepath.Join(out, "sidecar.yaml")
		if v := run(t, "validate", file); v.code != ExitOK {
			t.Errorf("%+v", v)
		}
		if v := run(t, "policy", "test", "-c", file, filepath.Join(out, "policy.test.yaml")); v.code != ExitOK {
			t.Errorf("%+v", v)
		}
		if _, err := config.ParseStaticTokens("tokens.yaml", []byte(text("tokens.yaml"))); err != nil {
			t.Error(err)
		}
		if v := run(t, "check", "-c", file, "--actor", "me", "--tool", "wiki/read_page"); v.code != ExitDenied {
			t.Errorf("somebody without a role: %+v", v)
		}
		again := run(t, args...)
		if again.code != ExitFailure || !strings.Contains(again.stderr, "--force") || text("policy.csv") == "" {
			t.Errorf("%+v", again)
		}
		if v := run(t, append(args, "--force", "--json")...); v.code != ExitOK || !strings.Contains(v.out, `"action": "delete"`) {
			t.Errorf("%+v", v)
		}
	}
}

// breakout are texts by which a server would like to add a line, a key or an entry.
var breakout = []string{
	"x\n  server/evil: { resource: server, action: read }", "x\r  server/evil: {}", "x\u0085  server/evil: {}", "x\u2028server/evil: {}", "x\u2029server/evil: {}",
	"}\nauth: {}", "x\" }\nmerge: true", "# x\x00", hostile, "\ufeff---\n", "\ufdd0", "%YAML 1.1\n---\n", "*alias &anchor !!tag", strings.Repeat("é\n", 5000), `\n`, "${HOME}", "",
}

// Whatever a server calls its tools and says of them, the files have the entries of the
// tools whose names are plain, and nothing more.
func TestInitHostileServer(t *testing.T) {
	var list []map[string]any
	for i, text := range breakout {
		list = append(list,
			map[string]any{"name": fmt.Sprintf("plain_%d", i), "description": text, "title": text, "annotations": map[string]any{"title": text}},
			map[string]any{"name": text, "description": "x"}, map[string]any{"name": "x/" + text}, map[string]any{"name": text + "x", "description": text},
		)
	}
	for _, name := range []string{"..", "a/b", "a b", "a:b", "a,b", "a#b", "ünï", strings.Repeat("n", 129), "*", "{", "[", "'", `"`, "a@b", "a|b", "- x"} {
		list = append(list, map[string]any{"name": name})
	}
	for _, name := range []string{"null", "true", "1", "0x1F", "1.5", "-", "~"} {
		list = append(list, map[string]any{"name": name, "description": name})
	}
	list = append(list, map[string]any{"name": "twice"}, map[string]any{"name": "twice", "annotations": map[string]any{"readOnlyHint": true}}, map[string]any{"title": "no name"}, map[string]any{"name": 7})
	want := []string{"server/-", "server/..", "server/0x1F", "server/1", "server/1.5", "server/null", "server/true", "server/twice", "server/x"}
	for i := range breakout {
		want = append(want, fmt.Sprintf("server/plain_%d", i))
	}
	slices.Sort(want)
	dir := t.TempDir()
	l := &listing{pages: []string{tools(t, list)}}
	got := run(t, "init", "--upstream", l.serve(t), "-o", dir)
	if got.code != ExitOK || !isHarmless(got.out) || !isHarmless(got.stderr) {
		t.Fatalf("%+v", got)
	}
	for _, name := range starterFiles {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !isHarmless(string(b)) {
			t.Errorf("%s: %v\n%q", name, err, b)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "sidecar.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Error(problems)
	}
	if keys := slices.Sorted(maps.Keys(cfg.Tools)); !slices.Equal(keys, want) {
		t.Errorf("entries\n%q\nwant\n%q", keys, want)
	}
	for name, tool := range cfg.Tools {
		if tool.Resource != "server" || tool.Hide || tool.Scopes != nil || !slices.Contains([]string{actRead, actWrite, actDelete}, tool.Action) {
			t.Errorf("%s: %+v", name, tool)
		}
	}
	if len(cfg.Upstreams) != 1 || cfg.Merge || cfg.Auth == nil || cfg.Auth.StaticTokensFile != "tokens.yaml" {
		t.Errorf("%+v", cfg)
	}
	if v := run(t, "policy", "test", "-c", filepath.Join(dir, "sidecar.yaml"), filepath.Join(dir, "policy.test.yaml")); v.code != ExitOK {
		t.Errorf("%+v", v)
	}
	again := run(t, "init", "--upstream", l.serve(t), "-o", dir, "--force", "--json")
	if again.code != ExitOK || !isHarmless(again.out) || !json.Valid([]byte(again.out)) {
		t.Errorf("%+v", again)
	}
}

// TestGuess: where the server's word and the name differ, the more dangerous counts.
func TestGuess(t *testing.T) {
	yes, no := true, false
	for _, row := range []struct {
		name        string
		read, destr *bool
		want        string
	}{
		{"read_file", nil, nil, actRead}, {"readFile", nil, nil, actRead}, {"read_file", &no, nil, actWrite}, {"read_and_delete", &yes, &no, actDelete},
		{"x", &yes, nil, actRead}, {"x", nil, nil, actWrite}, {"x", nil, &no, actWrite}, {"x", nil, &yes, actDelete}, {"x", &yes, &yes, actRead}, {"x", &no, &yes, actDelete},
		{"deleteAll", &yes, nil, actDelete}, {"DELETE-ALL", nil, nil, actDelete}, {"undelete", nil, nil, actWrite}, {"budget_get", nil, nil, actWrite}, {"getter", nil, nil, actWrite}, {"", nil, nil, actWrite},
	} {
		if got := guess(row.name, row.read, row.destr); got.Action != row.want || got.Why == "" {
			t.Errorf("%+v: %+v", row, got)
		}
	}
}

// TestInitRefuses: what cannot be asked, and where nothing may be written.
func TestInitRefuses(t *testing.T) {
	good := (&listing{pages: []string{`[]`}}).serve(t)
	down := httptest.NewServer(nil)
	down.Close()
	dir := files(t, map[string]string{"file": "", "empty": ""})
	taken := files(t, map[string]string{"tokens.yaml": "tokens: []\n"})
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "file"), filepath.Join(linked, "policy.csv")); err != nil {
		t.Fatal(err)
	}
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"name":"x"},`, 1025), ",") + "]"
	for _, row := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing", nil, ExitUsage, "either --upstream URL or a command"},
		{"both", []string{"--upstream", good, "--", "x"}, ExitUsage, "either --upstream URL or a command"},
		{"no dashes", []string{"x"}, ExitUsage, "put -- in front"},
		{"no URL", []string{"--upstream", "localhost:1"}, ExitUsage, "https:// or http://"},
		{"a name with a line break", []string{"--upstream", good, "--name", "a\nb: c"}, ExitUsage, "--name"},
		{"a name that is a number", []string{"--upstream", good, "--name", "1"}, ExitUsage, "string"},
		{"a command with an escape", []string{"--", "x", "\x1b[2J"}, ExitUsage, "control character"},
		{"a credential for a command", []string{"--credential-file", "x", "--", "x"}, ExitUsage, "--credential-file"},
		{"no credential", []string{"--upstream", good, "--credential-file", filepath.Join(dir, "missing")}, ExitConfig, "missing"},
		{"a server that is down", []string{"--upstream", down.URL}, ExitDown, "refused"},
		{"a server that wants a credential", []string{"--upstream", (&listing{token: "x"}).serve(t)}, ExitDown, "wants a credential"},
		{"a server of another age", []string{"--upstream", (&listing{version: "2024-11-05"}).serve(t)}, ExitDown, "2024-11-05"},
		{"too many tools", []string{"--upstream", (&listing{pages: []string{many}}).serve(t)}, ExitDown, "more than the limits"},
		{"no list", []string{"--upstream", (&listing{pages: []string{`{}`}}).serve(t)}, ExitDown, "does not list tools"},
		{"no such command", []string{"--", filepath.Join(dir, "missing")}, ExitNotFound, "missing"},
		{"no program", []string{"--", filepath.Join(dir, "file")}, ExitNotExecutable, "file"},
		{"files in the way", []string{"--upstream", good, "-o", taken}, ExitFailure, "tokens.yaml is there already"},
		{"a link in the way", []string{"--upstream", good, "-o", linked}, ExitFailure, "policy.csv is there already"},
		{"no folder", []string{"--upstream", good, "-o", filepath.Join(dir, "file")}, ExitFailure, "file"},
	} {
		args := slices.Concat([]string{"init"}, row.args)
		if !slices.Contains(row.args, "-o") {
			args = slices.Concat([]string{"init", "-o", filepath.Join(dir, "out")}, row.args)
		}
		got := run(t, args...)
		if got.code != row.code || got.out != "" || !strings.Contains(got.stderr, row.says) || !isHarmless(got.stderr) {
			t.Errorf("%s: %+v, want %d and %q", row.name, got, row.code, row.says)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("something was written all the same")
	}
	// With --force the name is replaced, not the file that a link leads to.
	if got := run(t, "init", "--upstream", good, "-o", linked, "--force"); got.code != ExitOK {
		t.Errorf("%+v", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || len(b) != 0 {
		t.Errorf("written through a link: %q, %v", b, err)
	}
}
