package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestStaticTokensFile(t *testing.T) {
	hash := strings.Repeat("0123456789abcdef", 4)
	text := `
tokens:
  - sha256: ` + hash + `
    subject: alice
    client_id: dev
    scopes: [documents:read, "documents:*"]
    audience: [doc-server, https://sidecar.example/mcp]
    expires: 2027-01-31T12:00:00Z
  - { sha256: ` + strings.Repeat("1", 64) + `, subject: "7", audience: [a], expires: "2027-01-31T12:00:00+01:00" }
`
	got, err := ParseStaticTokens("tokens.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var first, second Hash
	for i := range first {
		first[i], second[i] = []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}[i%8], 0x11
	}
	noon := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	want := []StaticToken{
		{first, "alice", "dev", []string{"documents:read", "documents:*"}, []string{"doc-server", "https://sidecar.example/mcp"}, Moment(noon)},
		{second, "7", "", nil, []string{"a"}, Moment(noon.Add(-time.Hour))},
	}
	if len(got) != 2 || !time.Time(got[1].Expires).Equal(noon.Add(-time.Hour)) {
		t.Fatalf("%+v", got)
	}
	got[1].Expires = want[1].Expires // the zone is another one
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for name, text := range map[string]string{"no tokens": "tokens: []", "nothing": "{}"} {
		if got, err := ParseStaticTokens("tokens.yaml", []byte(text)); err != nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestBadLists(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	entry := func(change, to string) string {
		return strings.Replace("tokens: [{ sha256: "+hash+", subject: alice, audience: [a], expires: 2027-01-31T12:00:00Z }]", change, to, 1)
	}
	tokens := func(text string) error { _, err := ParseStaticTokens("f", []byte(text)); return err }
	roles := func(text string) error { _, err := ParseRoles("f", []byte(text)); return err }
	rows := []struct {
		name  string
		parse func(string) error
		text  string
		want  string
	}{
		{"a token in the clear", tokens, entry("sha256: "+hash, "token: s3cr3t-canary"), `f:1:12: unknown key "token"`},
		{"short hash", tokens, entry(hash, hash[2:]), "f:1:20: must be a SHA-256 in 64 hexadecimal digits (tokens[0].sha256)"},
		{"long hash", tokens, entry(hash, hash+"ab"), "must be a SHA-256"},
		{"no hexadecimal digits", tokens, entry(hash, strings.Repeat("xy", 32)), "must be a SHA-256"},
		{"hash of zeros", tokens, entry(hash, `"`+zeros+`"`), "is required (tokens[0].sha256)"},
		{"no hash", tokens, entry("sha256: "+hash+", ", ""), "is required (tokens[0].sha256)"},
		{"no subject", tokens, entry("subject: alice, ", ""), "must be a name without space at its ends (tokens[0].subject)"},
		{"client with space at its end", tokens, entry("subject: alice", `subject: alice, client_id: "a "`), "(tokens[0].client_id)"},
		{"no scope token", tokens, entry("subject: alice", `subject: alice, scopes: ["a b"]`), "is not a scope token"},
		{"no audience", tokens, entry(", audience: [a]", ""), "is required: name at least one audience (tokens[0].audience)"},
		{"empty audience", tokens, entry("[a]", `[""]`), "(tokens[0].audience[0])"},
		{"never ends", tokens, entry(", expires: 2027-01-31T12:00:00Z", ""), "is required (tokens[0].expires)"},
		{"a day alone", tokens, entry("2027-01-31T12:00:00Z", "2027-01-31"), "must be a time such as 2027-01-31T00:00:00Z (tokens[0].expires)"},
		{"twice", tokens, "tokens:\n- " + entry("", "")[9:len(entry("", ""))-1] + "\n- " + entry("", "")[9:len(entry("", ""))-1], "f:3:13: is given twice (tokens[1].sha256)"},
		{"list of tokens", tokens, "[]", "f:1:1: must be a mapping"},
		{"empty file", tokens, "# nothing\n", "f:1:1: the file is empty; write {} where nothing is meant"},
		{"key twice", tokens, "tokens: []\ntokens: []", `f:2:1: key "tokens" is given twice, first at 1:1`},

		{"user without prefix", roles, "alice: [role:admin]", "f:1:1: must be user: and a name (alice)"},
		{"role without prefix", roles, "user:alice: [admin]", "f:1:14: must be role: and a name (user:alice[0])"},
		{"user as a role", roles, "user:alice: [user:bob]", "must be role: and a name"},
		{"no role", roles, "user:alice: []", "needs at least one role"},
		{"user twice", roles, "user:alice: [role:a]\nuser:alice: [role:b]", "is given twice"},
		{"list of roles", roles, "[role:admin]", "must be a mapping"},
		{"alias", roles, "user:alice: &a [role:a]\nuser:bob: *a", "f:1:13:"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			err := r.parse(r.text)
			if err == nil || !strings.Contains(err.Error(), r.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%v, want %q", err, r.want)
			}
		})
	}
	got, err := ParseRoles("f", []byte("user:alice: [role:a, role:b]\nuser:bob@example.com: [role:c]\n"))
	if want := map[string][]string{"user:alice": {"role:a", "role:b"}, "user:bob@example.com": {"role:c"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}
