package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// entry is a row of the tables in docs/identity.md: what the client reads and why.
type entry struct{ text, reason string }

// told is how it reaches the client over HTTP.
type told struct{ status, challenge string }

// docs/identity.md names every refusal that has to do with who calls, with the
// status, the code and the challenge that clients get, and names no other.
func TestDocumentsNameEveryRefusal(t *testing.T) {
	want := map[entry]told{}
	for _, r := range documented(t) {
		e, how := inTable(t, r)
		want[e] = how
	}
	_, text, _ := strings.Cut(string(mustRead(t, "../../docs/identity.md")), "## Every refusal\n")
	row := regexp.MustCompile("(?m)^\\| (?:\\*\\(no body\\)\\* )?`([^`]+)` \\| `([a-z-]+)` \\| ([^|]+) \\| ([^|]+) \\| [^|]+ \\| [^|]+ \\|$")
	got := map[entry]told{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		e := entry{m[1], m[2]}
		if _, twice := got[e]; twice {
			t.Errorf("%q (%s) is documented twice", e.text, e.reason)
		}
		got[e] = told{m[3], m[4]}
	}
	for e, how := range want {
		if got[e] != how {
			t.Errorf("%q (%s): documented is %q, a client gets %q", e.text, e.reason, got[e], how)
		}
	}
	for e := range got {
		if _, ok := want[e]; !ok {
			t.Errorf("%q (%s) is documented, and nobody says it", e.text, e.reason)
		}
	}
}

// documented are the refusals that have to do with who calls: those of tokens, out
// of the code, and the others by the functions that make them.
func documented(t *testing.T) []*Rejection {
	all := []*Rejection{
		missingScope([]string{"documents:update"}, []string{"documents:update"}),
		roleRefuses("user:carol", []string{"role:viewer"}, "delete", "document", ""),
		roleRefuses("user:dave", nil, "delete", "document", ""),
		unknownTool(),
		malformed(wire.CodeInvalidParams, "unknown-target", "no server offers this"),
		unknownSession(),
		errCredentialInMessage(),
		aCall(t, "tools/call", `{"name":"x","arguments":{"TOKEN":1}}`).ambiguous("token"),
		unavailable("authentication", nil),
		unavailable("credential", nil),
		upstreamFailed("credential", nil),
	}
	for _, got := range [][]string{nil, {"other-service"}} {
		all = append(all, authFailed(foreignAudience(t, got)))
	}
	known := func(l map[string]string) bool { // by its fixed part
		return slices.ContainsFunc(all, func(r *Rejection) bool {
			return l["Description"] != "" && r.Description == l["Description"] || l["Reason"] != "" && r.Reason == l["Reason"]
		})
	}
	for _, l := range literals(t, "Refusal") {
		switch {
		case l["Public"] != "":
			all = append(all, authFailed(&identity.Refusal{Public: l["Public"], Description: l["Description"]}))
		case !known(l):
			t.Errorf("a refusal with %v has a text that changes, and no row above", l)
		}
	}
	for _, l := range literals(t, "Rejection") {
		switch {
		case l["Outcome"] != "NotAuthorized" && l["Outcome"] != "AuthFailed":
		case l["Public"] != "":
			all = append(all, &Rejection{
				Outcome: map[string]Outcome{"NotAuthorized": NotAuthorized, "AuthFailed": AuthFailed}[l["Outcome"]],
				Code:    map[string]int{"CodeAuth": CodeAuth, "CodeRole": CodeRole, "CodeScope": CodeScope}[l["Code"]],
				Reason:  l["Reason"], Public: l["Public"], Description: l["Description"],
			})
		case !known(l):
			t.Errorf("a rejection with %v has a text that changes, and no row above", l)
		}
	}
	return all
}

// foreignAudience is the refusal of a token for audience.
func foreignAudience(t *testing.T, audience []string) *identity.Refusal {
	t.Helper()
	_, err := identity.Audience{Names: []string{"https://sidecar.example/mcp"}, Next: someone(audience)}.Authenticate(t.Context(), identity.Secret{})
	var refusal *identity.Refusal
	if !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	return refusal
}

// someone accepts every token as one for these services.
type someone []string

func (s someone) Authenticate(context.Context, identity.Secret) (identity.Principal, error) {
	return identity.Principal{Audience: s}, nil
}

// literals are the fields of every composite literal of typ in the proxy: texts by
// their value, constants by their name.
func literals(t *testing.T, typ string) (all []map[string]string) {
	t.Helper()
	each(t, func(n ast.Node) {
		if l, ok := n.(*ast.CompositeLit); ok && lastName(l.Type) == typ {
			all = append(all, fields(l))
		}
	}, "../*/*.go")
	if len(all) == 0 {
		t.Fatalf("the code holds no %s: the test looks for the wrong thing", typ)
	}
	return all
}

// lastName is what e is called, without its package.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func fields(l *ast.CompositeLit) map[string]string {
	found := map[string]string{}
	for _, e := range l.Elts {
		field, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch v := field.Value.(type) {
		case *ast.BasicLit:
			text, err := strconv.Unquote(v.Value)
			found[lastName(field.Key)] = cmp.Or(text, map[bool]string{true: v.Value}[err != nil])
		case *ast.Ident, *ast.SelectorExpr:
			if name := lastName(v); ast.IsExported(name) { // else it is no constant
				found[lastName(field.Key)] = name
			}
		}
	}
	return found
}

// aCall is a call over HTTP as it stands when it has been read.
func aCall(t *testing.T, method, params string) *Call {
	t.Helper()
	m, err := wire.Scan([]byte(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`), wire.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return &Call{Transport: HTTP, Era: Modern, Msg: m, Method: method, Args: m.Member(m.Params, "arguments")}
}

// inTable is the row that r should have.
func inTable(t *testing.T, r *Rejection) (entry, told) {
	t.Helper()
	var shapes []string
	var challenge *Challenge
	for _, method := range []string{"tools/call", "tools/list"} {
		c := aCall(t, method, "{}")
		c.refusal = r
		a := refused(c)
		challenge = a.Challenge
		shapes = append(shapes, shape(a))
	}
	how := told{strings.Join(slices.Compact(shapes), "; else "), "–"}
	if challenge != nil && challenge.Error != "" {
		how.challenge = fmt.Sprintf("`%s`, `%s`", challenge.Error, cmp.Or(challenge.Description, strings.Join(challenge.Scope, " ")))
	}
	e := entry{r.Public, r.Reason}
	if r.Outcome == Unavailable || r.Outcome == UpstreamFailed {
		e.text += " (audit …)"
	}
	return e, how
}

func shape(a *Answer) string {
	switch {
	case a.Body == nil:
		return fmt.Sprintf("%d · no body", a.Status)
	case a.Code == 0:
		return "result"
	}
	return fmt.Sprintf("%d · %d", a.Status, a.Code)
}

// docs/identity.md explains every warning and error that identity and broker log,
// and whatever it quotes of the log and of refusals at the start is still said.
func TestDocumentsExplainTheLog(t *testing.T) {
	_, text, _ := strings.Cut(string(mustRead(t, "../../docs/identity.md")), "### At the start, and in the log\n")
	start, log, found := strings.Cut(text, "\nAfterwards the log has")
	if !found {
		t.Fatal("the part about the log is gone: the test looks for the wrong thing")
	}
	lines := warnings(t, "../identity/*.go", "../broker/*.go")
	if len(lines) == 0 {
		t.Fatal("the code logs nothing: the test looks for the wrong thing")
	}
	for _, line := range lines {
		if !strings.Contains(log, "| `"+line+"`") && !strings.Contains(log, ", `"+line+"`") {
			t.Errorf("the log line %q is not documented", line)
		}
	}
	var said []string
	each(t, func(n ast.Node) { said = append(said, texts(n)...) }, "../*/*.go")
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+`) \\|").FindAllStringSubmatch(start+log, -1) {
		for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, quoted[1]) }) {
				t.Errorf("%q is documented, and nobody says it", quoted[1])
			}
		}
	}
}

// warnings are the texts of what the files log as a warning or an error.
func warnings(t *testing.T, patterns ...string) (all []string) {
	t.Helper()
	each(t, func(n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return
		}
		line := call.Args[0]
		switch name := lastName(call.Fun); {
		case name == "NewHealth":
			line = call.Args[1]
		case name != "Warn" && name != "Error", lastName(line) == "fails": // NewHealth has been given it
			return
		}
		if text := texts(line); text != nil {
			all = append(all, text...)
		} else {
			t.Errorf("%s is given a text that is no literal", lastName(call.Fun))
		}
	}, patterns...)
	return all
}

// each calls look with every node of the code in the files.
func each(t *testing.T, look func(ast.Node), patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool { look(n); return true })
		}
	}
}

// texts is the text that n is, if it is one.
func texts(n ast.Node) []string {
	l, ok := n.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return nil
	}
	text, err := strconv.Unquote(l.Value)
	if err != nil {
		return nil
	}
	return []string{text}
}
