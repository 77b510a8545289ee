package scan

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/injection"
	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/guards/terminal"
	"mcp-sidecar/guards/text"
)

// Severity says how bad it is.
type Severity string

// Severities, as SARIF calls them (SARIF 2.1.0, section 3.27.10).
const (
	Problem Severity = "error"   // the server's texts attack, or leak
	Warning Severity = "warning" // it may do harm, depending on who calls
	Note    Severity = "note"    // worth a bound in the configuration
)

// Severities lists them, worst first.
func Severities() []Severity { return []Severity{Problem, Warning, Note} }

// Server is what a server offers, as it wrote it.
type Server struct {
	Name                                 string
	About                                json.RawMessage // its answer to initialize or server/discover
	Tools, Prompts, Resources, Templates []json.RawMessage
	// Bound says which arguments of a tool the configuration bounds already. Nil means
	// none.
	Bound func(tool, argument string) bool
}

// Report is something in what a server offers. It holds nothing of the texts but names.
type Report struct {
	Rule       string
	Severity   Severity
	Server     string
	Item       string // "tool read_file", "instructions"
	At         string // JSON Pointer (RFC 6901) into the item's definition
	Start, End int    // bytes of the string there; 0 and 0 for all of it
	Text       string
	Cure       string
}

// Rule describes a kind of report.
type Rule struct {
	ID       string
	Severity Severity
	Text     string
}

// Rules of reports.
const (
	RuleInjection    = "prompt-injection"
	RuleSecret       = "secret"
	RuleHidden       = "hidden-characters"
	RuleDuplicate    = "duplicate-name"
	RuleLookAlike    = "look-alike-name"
	RuleOddName      = "unusual-name"
	RuleShadow       = "shadowed-tool"
	RuleCrossTalk    = "cross-reference"
	RuleCommand      = "free-command"
	RuleCredential   = "credential-argument" //nolint:gosec // the name of a rule
	RuleConversation = "conversation-argument"
	RuleReference    = "external-reference"
	RuleSchema       = "no-input-schema"
	RuleUnreadable   = "unreadable-definition"
	RuleURL          = "free-url"
	RulePath         = "free-path"
	RuleLong         = "long-description"
)

var rules = []Rule{
	{RuleInjection, Problem, "A text of the server tries to steer the model that reads it"},
	{RuleSecret, Problem, "A text of the server holds a credential"},
	{RuleHidden, Problem, "A text of the server holds characters that nobody sees"},
	{RuleDuplicate, Problem, "Two of the same kind have one name"},
	{RuleLookAlike, Problem, "Two names differ only in case or in what nobody sees"},
	{RuleReference, Problem, "A schema refers to another host"},
	{RuleUnreadable, Problem, "A definition cannot be read"},
	{RuleOddName, Warning, "A name is hard to tell from others, or cannot stand in a policy"},
	{RuleShadow, Warning, "Two servers have a tool of one name"},
	{RuleCrossTalk, Warning, "A text speaks of another server's tool"},
	{RuleCommand, Warning, "An argument takes any command or code"},
	{RuleCredential, Warning, "An argument wants a credential from the model"},
	{RuleConversation, Warning, "An argument wants the conversation, which no tool needs"},
	{RuleSchema, Warning, "A tool does not say what it takes"},
	{RuleURL, Note, "An argument takes any URL"},
	{RulePath, Note, "An argument takes any path"},
	{RuleLong, Note, "A description is so long that nobody reads it"},
}

// Rules lists all rules of reports.
func Rules() []Rule { return slices.Clone(rules) }

// Servers reads what servers offer. Several are compared with each other, too. Reports
// come in the order of the servers and of what they list.
func Servers(servers []Server) []Report {
	r := &reader{}
	for i := range servers {
		r.server(&servers[i])
	}
	r.between()
	slices.SortStableFunc(r.reports, func(a, b Report) int { return cmp.Compare(r.order[a.Server], r.order[b.Server]) })
	return r.reports
}

type reader struct {
	reports []Report
	order   map[string]int
	tools   []tool
	words   []mention
}

// tool is a tool's name at a server.
type tool struct{ server, name string }

// mention is a text in which names of tools may stand.
type mention struct {
	at   Report // where
	text string
}

func (r *reader) add(at Report, rule, cure, format string, args ...any) {
	i := slices.IndexFunc(rules, func(x Rule) bool { return x.ID == rule })
	at.Rule, at.Severity, at.Text, at.Cure = rule, rules[i].Severity, fmt.Sprintf(format, args...), cure
	r.reports = append(r.reports, at)
}

func (r *reader) server(s *Server) {
	if r.order == nil {
		r.order = map[string]int{}
	}
	r.order[s.Name] = len(r.order)
	r.texts(Report{Server: s.Name, Item: "server"}, s.About, guards.Instructions)
	for _, list := range []struct {
		kind, name string
		all        []json.RawMessage
	}{{"tool", "name", s.Tools}, {"prompt", "name", s.Prompts}, {"resource", "uri", s.Resources}, {"template", "uriTemplate", s.Templates}} {
		var names []string
		for i, raw := range list.all {
			var d map[string]json.RawMessage
			var name string
			if json.Unmarshal(raw, &d) != nil || json.Unmarshal(d[list.name], &name) != nil || name == "" {
				r.add(Report{Server: s.Name, Item: fmt.Sprintf("%s number %d", list.kind, i+1)}, RuleUnreadable, "leave it out of the policy", "it has no %s", list.name)
				continue
			}
			at := Report{Server: s.Name, Item: list.kind + " " + name}
			r.named(at, list.name, name, names)
			names = append(names, name)
			r.texts(at, raw, guards.Description)
			if list.kind == "tool" {
				r.tools = append(r.tools, tool{s.Name, name})
				r.schema(s, at, name, d["inputSchema"])
			}
		}
	}
}

// plainName is a name that can stand in a policy and looks like nothing else.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_./:{}?=&%+#~-]{1,200}$`)

func (r *reader) named(at Report, member, name string, before []string) {
	at.At = "/" + member
	if !plainName.MatchString(name) {
		r.add(at, RuleOddName, "rename it, or leave it out of the policy", "the %s is long, or has characters beside letters, digits and _ . / -", member)
	}
	for _, other := range before {
		switch {
		case other == name:
			r.add(at, RuleDuplicate, "a call reaches one of the two: rename one", "it is listed twice")
			return
		case text.IsVariant(name, other):
			r.add(at, RuleLookAlike, "rename one of the two", "it looks like %s", other)
			return
		}
	}
}

// longDescription is more than anybody reads, in bytes.
const longDescription = 4000

// texts looks at every string of a definition, names of members among them.
func (r *reader) texts(at Report, raw json.RawMessage, kind guards.Kind) {
	if raw == nil {
		return
	}
	err := walk(raw, func(pointer, member, value string) {
		at := at
		at.At = pointer
		for _, f := range injection.New().Find(guards.Text{Value: value, Kind: kind}) {
			at.Start, at.End = f.Start, f.End
			r.add(at, RuleInjection, "do not use this server until somebody has read it; the sidecar flags it in every list", "%s", f.Label)
		}
		for _, f := range secrets.Find(value) {
			at.Start, at.End = f.Start, f.End
			r.add(at, RuleSecret, "tell whoever runs the server, and have the credential replaced", "%s", f.Label)
		}
		for _, f := range terminal.Find(value) {
			at.Start, at.End = f.Start, f.End
			r.add(at, RuleHidden, "ask whoever runs the server why they are there; the sidecar makes them visible", "%s", f.Label)
		}
		at.Start, at.End = 0, 0
		if member == "$ref" && !strings.HasPrefix(value, "#") {
			r.add(at, RuleReference, "the sidecar fetches nothing: have the schema stand by itself", "the schema is elsewhere")
		}
		if member == "description" && len(value) > longDescription {
			r.add(at, RuleLong, "read it to its end", "it has %d bytes", len(value))
		}
		if member != "" && member != "name" { // a text, and not what the server calls something
			r.words = append(r.words, mention{at, value})
		}
	})
	if err != nil {
		r.add(at, RuleUnreadable, "leave it out of the policy", "it is no JSON that can be read")
	}
}

// Names of arguments, by what they take. Arguments are compared by their words.
var (
	commandNames      = []string{"command", "cmd", "shell", "script", "code", "exec", "eval", "sql", "bash", "powershell", "commandline"}
	credentialNames   = []string{"password", "passwd", "passphrase", "token", "apikey", "secret", "credential", "credentials", "privatekey", "accesskey"}
	conversationNames = []string{"conversation", "conversationhistory", "chathistory", "systemprompt", "sidenote", "previousmessages", "allmessages", "transcript", "thoughts", "reasoning"}
	urlNames          = []string{"url", "uri", "endpoint", "webhook", "href", "link"}
	pathNames         = []string{"path", "file", "filename", "filepath", "dir", "directory", "folder"}
)

// schema looks at what a tool takes.
func (r *reader) schema(s *Server, at Report, name string, raw json.RawMessage) {
	at.At = "/inputSchema"
	var schema struct{ Properties map[string]json.RawMessage }
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &schema) != nil {
		r.add(at, RuleSchema, "bound its arguments in the configuration (tools: "+s.Name+"/"+name+": { args: … })", "there is no schema that can be read")
		return
	}
	for _, arg := range slices.Sorted(maps.Keys(schema.Properties)) {
		if s.Bound != nil && s.Bound(name, arg) {
			continue
		}
		var p struct {
			Type    any
			Enum    []any
			Const   any
			Pattern string
			Format  string
		}
		_ = json.Unmarshal(schema.Properties[arg], &p) // what cannot be read bounds nothing
		if len(p.Enum) > 0 || p.Const != nil || p.Type != nil && p.Type != "string" && p.Type != "array" && p.Type != "object" {
			continue
		}
		at := at
		at.At = "/inputSchema/properties/" + escapePointer(arg)
		cure := func(bound string) string {
			return "tools: " + s.Name + "/" + name + ": { args: { " + arg + ": " + bound + " } }"
		}
		switch {
		case is(arg, conversationNames):
			r.add(at, RuleConversation, "do not use the tool, or have the argument removed", "it asks for what was said to the model")
		case is(arg, credentialNames):
			r.add(at, RuleCredential, "give the server a credential of its own (upstreams: "+s.Name+": credential), so that no model sees one", "a model would have to know it")
		case is(arg, commandNames) && p.Pattern == "":
			r.add(at, RuleCommand, cure("{ enum: { … } }")+", or { command: true } where it is free text", "whatever the model writes is run")
		case is(arg, urlNames) || p.Format == "uri":
			r.add(at, RuleURL, cure("{ ssrf: {} }"), "the server fetches or passes on any URL")
		case is(arg, pathNames) && p.Pattern == "":
			r.add(at, RulePath, cure("{ prefix: [/…/] }"), "the server may open any path")
		}
	}
}

// is says whether an argument is called one of names: as a whole, or its last word.
func is(arg string, names []string) bool {
	folded := strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "").Replace(arg))
	last := arg[strings.LastIndexAny(arg, "_-.")+1:]
	for i := len(last) - 1; i > 0; i-- { // camelCase
		if 'A' <= last[i] && last[i] <= 'Z' {
			last = last[i:]
			break
		}
	}
	return slices.Contains(names, folded) || slices.Contains(names, strings.ToLower(last))
}

// between compares servers.
func (r *reader) between() {
	for i, t := range r.tools {
		for _, other := range r.tools[:i] {
			if other.server != t.server && (other.name == t.name || text.IsVariant(t.name, other.name)) {
				r.add(Report{Server: t.server, Item: "tool " + t.name, At: "/name"}, RuleShadow, "give each server a path of its own, or merge them, which adds the server to each name", "%s has a tool of that name", other.server)
				break
			}
		}
	}
	for _, m := range r.words {
		for _, t := range r.tools {
			if t.server == m.at.Server || !telling(t.name) {
				continue
			}
			if at := wordAt(m.text, t.name); at >= 0 {
				m.at.Start, m.at.End = at, at+len(t.name)
				r.add(m.at, RuleCrossTalk, "a server has no reason to know of another's tools: read what it says about it", "it speaks of %s of %s", t.name, t.server)
			}
		}
	}
}

// telling says whether a name is no word of the language.
func telling(name string) bool { return len(name) >= 6 && strings.ContainsAny(name, "_-./") }

// wordAt is where name stands in s by itself, or -1.
func wordAt(s, name string) int {
	part := func(b byte) bool {
		return b == '_' || b == '-' || '0' <= b && b <= '9' || 'a' <= b|0x20 && b|0x20 <= 'z'
	}
	for from := 0; ; {
		k := strings.Index(s[from:], name)
		if k < 0 {
			return -1
		}
		at, end := from+k, from+k+len(name)
		if (at == 0 || !part(s[at-1])) && (end == len(s) || !part(s[end])) {
			return at
		}
		from = end
	}
}

// maxDepth bounds how deep a definition is nested.
const maxDepth = 200

// walk shows every string of raw in order: values with the member that holds them, and
// names of members, which have none.
func walk(raw []byte, see func(pointer, member, value string)) error {
	if !utf8.Valid(raw) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return walkValue(d, "", "", 0, see)
}

func walkValue(d *json.Decoder, pointer, member string, depth int, see func(pointer, member, value string)) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case string:
		see(pointer, member, t)
	case json.Delim:
		if depth == maxDepth {
			return errors.New("nested too deep")
		}
		for n := 0; d.More(); n++ {
			at, name := strconv.Itoa(n), member
			if t == '{' {
				key, err := d.Token()
				if err != nil {
					return err
				}
				name, _ = key.(string)
				at = escapePointer(name)
				see(pointer+"/"+at, "", name)
			}
			if err := walkValue(d, pointer+"/"+at, name, depth+1, see); err != nil {
				return err
			}
		}
		_, err = d.Token()
	}
	return err
}

// escapePointer is a reference token of RFC 6901.
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
