package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"mcp-sidecar/proxy/config"
)

// starter is the configuration that init writes.
type starter struct {
	name, url, credential string
	command               []string
	tools                 []toolGuess
}

// toolGuess is one tool of the server and what it probably does.
type toolGuess struct {
	Name    string `json:"name"`
	Action  string `json:"action,omitempty"`   // read, write or delete
	Why     string `json:"why,omitempty"`      // what the guess rests on
	LeftOut string `json:"left_out,omitempty"` // why it has no entry
	says    string // the server's description
}

// Actions of the roles that init writes.
const (
	actRead   = "read"
	actWrite  = "write"
	actDelete = "delete"
)

// add guesses about every tool. One whose entry the configuration would not take gets
// none; the policy denies it then.
func (s *starter) add(definitions []json.RawMessage) error {
	seen := map[string]bool{}
	for _, raw := range definitions {
		var d struct {
			Name        string
			Description string
			Annotations struct{ ReadOnlyHint, DestructiveHint *bool }
		}
		if err := json.Unmarshal(raw, &d); err != nil || d.Name == "" {
			s.tools = append(s.tools, toolGuess{Name: "?", LeftOut: "its definition cannot be read"})
			continue
		}
		g := guess(d.Name, d.Annotations.ReadOnlyHint, d.Annotations.DestructiveHint)
		g.says = d.Description
		if g.LeftOut = s.defect(d.Name); seen[d.Name] {
			g.LeftOut = "the server lists it twice"
		}
		seen[d.Name] = true
		s.tools = append(s.tools, g)
	}
	slices.SortStableFunc(s.tools, func(a, b toolGuess) int { return strings.Compare(a.Name, b.Name) })
	if _, err := s.config(); err != nil {
		return exit(ExitFailure, err)
	}
	return nil
}

// defect says why the configuration would not take a tool's name: it is asked.
func (s *starter) defect(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool {
		return r > unicode.MaxASCII || !nameable(string(r)) || r == '/' || r == ':' || r == '@'
	}) {
		return "its name cannot stand in a policy"
	}
	alone := starter{name: s.name, url: s.url, command: s.command, credential: s.credential, tools: []toolGuess{{Name: name, Action: actRead}}}
	if _, err := alone.config(); err != nil {
		return "its name cannot stand in a configuration"
	}
	return ""
}

// Words by which tools are usually called that read, or that delete.
var (
	readWords   = []string{"get", "list", "read", "search", "find", "fetch", "show", "describe", "count", "render", "query", "view", "lookup", "status", "info", "check", "ping", "echo"}
	deleteWords = []string{"delete", "remove", "drop", "destroy", "purge", "kill", "wipe", "truncate", "erase", "revoke", "uninstall", "reset", "clear", "terminate"}
)

// guess says what a tool probably does. Where the server's word and the name differ,
// the more dangerous one counts: a server's word is nothing to rely on.
func guess(name string, readOnly, destructive *bool) toolGuess {
	g := toolGuess{Name: name}
	first := words(name)
	deletes := slices.ContainsFunc(first, func(w string) bool { return slices.Contains(deleteWords, w) })
	reads := len(first) > 0 && slices.Contains(readWords, first[0])
	says := func(hint *bool, want bool) bool { return hint != nil && *hint == want }
	switch {
	case says(destructive, true) && !says(readOnly, true):
		g.Action, g.Why = actDelete, "the server says that it destroys (destructiveHint)"
	case deletes:
		g.Action, g.Why = actDelete, "by its name"
		if says(readOnly, true) {
			g.Why = "by its name, although the server says that it only reads"
		}
	case says(readOnly, true):
		g.Action, g.Why = actRead, "the server says that it only reads (readOnlyHint)"
	case says(readOnly, false):
		g.Action, g.Why = actWrite, "the server says that it does not only read"
	case reads:
		g.Action, g.Why = actRead, "by its name alone; the server does not say that it only reads"
	default:
		g.Action, g.Why = actWrite, "nothing says that it only reads"
	}
	return g
}

// words splits a name where its writer did: at signs and at capitals.
func words(name string) []string {
	var b strings.Builder
	before := 'A'
	for _, r := range name {
		if unicode.IsUpper(r) && !unicode.IsUpper(before) {
			b.WriteByte(' ')
		}
		before = r
		if !unicode.IsLetter(r) {
			r = ' '
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Fields(b.String())
}

// files are what is written, by name.
func (s *starter) files() map[string]string {
	return map[string]string{"sidecar.yaml": s.yaml(), "policy.csv": s.policy(), "tokens.yaml": tokensFile, "policy.test.yaml": s.tests()}
}

// yaml is the configuration. Everything that the server has said stands behind a # and
// has no line break left.
func (s *starter) yaml() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Written by mcp-sidecar init. Guesses are marked REVIEW; what the server says of its")
	p("# tools stands in comments and may be wrong, or meant to mislead.")
	p("version: 1")
	p("preset: balanced")
	p("listen: 127.0.0.1:8811")
	p("")
	p("# Who may call: tokens.yaml has no token yet. For an identity provider see docs/identity.md.")
	p("auth:")
	p("  audience: [%s]", s.name)
	p("  static_tokens_file: tokens.yaml")
	p("")
	p("upstreams:")
	p("  %s:", s.name)
	if s.url != "" {
		p("    url: %s", quotedYAML(s.url))
	} else {
		p("    command: [%s]", commandYAML(s.command))
		p("    # env_allow: [PATH, HOME]   # what serve passes of its environment; wrap without it passes its own")
	}
	if s.credential != "" {
		p("    credential: { kind: header, header: Authorization, prefix: \"Bearer \", file: %s }", quotedYAML(s.credential))
	}
	p("")
	p("# A tool without an entry, or that no row of policy.csv allows, is denied.")
	p("policy: { file: policy.csv }")
	s.toolEntries(p)
	return b.String()
}

func (s *starter) toolEntries(p func(string, ...any)) {
	if slices.ContainsFunc(s.tools, func(t toolGuess) bool { return t.LeftOut == "" }) {
		p("")
		p("tools:")
	}
	for _, t := range s.tools {
		if t.LeftOut != "" {
			p("  # left out: %s, %s", comment(t.Name), t.LeftOut)
			continue
		}
		if t.says != "" {
			p("  # the server: %s", comment(t.says))
		}
		entry := fmt.Sprintf("resource: %s, action: %s", s.name, t.Action)
		if t.Action == actDelete {
			entry += ", consent: confirm"
		}
		p("  %s/%s: { %s } # REVIEW: %s", s.name, t.Name, entry, t.Why)
	}
}

// maxComment bounds a text of the server's in a comment, in characters.
const maxComment = 100

// comment is one line of visible characters.
func comment(s string) string {
	if utf8.RuneCountInString(s) > maxComment {
		s = string([]rune(s)[:maxComment]) + "…"
	}
	return visible(s)
}

// quotedYAML is s in double quotes; JSON is YAML 1.2.
func quotedYAML(s string) string {
	b, _ := json.Marshal(s) // a string always can be
	return escaped(string(b))
}

func commandYAML(words []string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, quotedYAML(w))
	}
	return strings.Join(quoted, ", ")
}

//nolint:gosec // G101: it holds no token
const tokensFile = `# Tokens for a first try; for more use an identity provider (docs/identity.md).
# Make one, and keep it to yourself:
#   openssl rand -hex 32 | tee me.token | mcp-sidecar token hash
# tokens:
#   - { sha256: THE-HASH, subject: me, audience: [AUDIENCE-OF-SIDECAR.YAML], expires: 2027-12-31T00:00:00Z }
tokens: []
`

func (s *starter) policy() string {
	return fmt.Sprintf(`# Who may what. What no row allows is denied, and deny rows win over all others.
#   p, SUBJECT, RESOURCE, ACTION, EFFECT      g, USER, ROLE
p, role:reader, %[1]s, read, allow
p, role:writer, %[1]s, read, allow
p, role:writer, %[1]s, write, allow
p, role:admin, %[1]s, *, allow

# Nobody has a role yet:
# g, user:me, role:reader
`, s.name)
}

// tests hold the roles to what they are called.
func (s *starter) tests() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# For: mcp-sidecar policy test -c sidecar.yaml policy.test.yaml\nversion: 1\ntests:\n")
	for _, a := range []string{actRead, actWrite, actDelete} {
		for _, role := range []string{"reader", "writer", "admin"} {
			expect := config.ExpectDeny
			if role == "admin" || a == actRead || role == "writer" && a == actWrite {
				expect = config.ExpectAllow
			}
			fmt.Fprintf(&b, "  - { actor: somebody, roles: [%s], resource: %s, action: %s, expect: %s }\n", role, s.name, a, expect)
		}
		for _, name := range s.names(a) {
			fmt.Fprintf(&b, "  - { actor: stranger, tool: %q, expect: deny }\n", s.name+"/"+name)
		}
	}
	return b.String()
}
