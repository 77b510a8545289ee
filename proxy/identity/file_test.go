package identity

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged is a log that a test reads.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// take returns what was logged since it was called last.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func writeFile(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func TestTrustedFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, row := range []struct {
		name string
		text string
		mode os.FileMode
		want string
	}{
		{"own", "x", 0o600, ""},
		{"readable by all", "x", 0o644, ""},
		{"largest", strings.Repeat("x", maxTrusted), 0o600, ""},
		{"too large", strings.Repeat("x", maxTrusted+1), 0o600, "larger than 1 MiB"},
		{"group may write", "x", 0o620, "chmod go-w"},
		{"all may write", "x", 0o602, "mode 0602"},
	} {
		writeFile(t, name, row.text, row.mode)
		got, err := readTrusted(name, maxTrusted)
		if !fails(err, row.want) || err == nil && string(got) != row.text {
			t.Errorf("%s: %d bytes, %v", row.name, len(got), err)
		}
	}
	if _, err := readTrusted(dir, maxTrusted); !fails(err, "no regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := readTrusted(filepath.Join(dir, "none"), maxTrusted); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// parseWords is a file format for tests.
func parseWords(text []byte) ([]string, error) {
	if bytes.Contains(text, []byte("bad")) {
		return nil, errors.New("bad words")
	}
	if bytes.Contains(text, []byte("worst")) {
		panic("worst words")
	}
	return strings.Fields(string(text)), nil
}

// A file is followed by its content. What cannot be used changes nothing and is
// said once.
func TestFollowedFile(t *testing.T) {
	c := &stopped{now: begin}
	log := &logged{}
	name := filepath.Join(t.TempDir(), "file")
	writeFile(t, name, "a", 0o600)
	f, err := follow(name, parseWords, c.Now, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		change func()
		after  time.Duration
		want   string
		log    string
	}{
		{"as it was", func() {}, fileEvery, "a", ""},
		{"changed, looked at a moment ago", func() { writeFile(t, name, "b", 0o600) }, fileEvery - 1, "a", ""},
		{"changed", func() {}, 1, "b", "was read"},
		{"written again", func() { writeFile(t, name, "b", 0o600) }, fileEvery, "b", ""},
		{"unusable", func() { writeFile(t, name, "bad", 0o600) }, fileEvery, "b", "bad words"},
		{"still unusable", func() {}, fileEvery, "b", ""},
		{"open to others", func() { writeFile(t, name, "c", 0o666) }, fileEvery, "b", "chmod go-w"},
		{"closed again", func() { writeFile(t, name, "c", 0o600) }, fileEvery, "c", "was read"},
		{"removed", func() { _ = os.Remove(name) }, fileEvery, "c", "no such file"},
		{"still removed", func() {}, fileEvery, "c", ""},
		{"there again", func() { writeFile(t, name, "c", 0o600) }, fileEvery, "c", "was read"},
		{"a panic", func() { writeFile(t, name, "worst", 0o600) }, fileEvery, "c", "panic of type string"},
		{"the clock is set back", func() { writeFile(t, name, "d", 0o600) }, -time.Hour, "d", "was read"},
	} {
		row.change()
		c.advance(row.after)
		if got := f.get(); !slices.Equal(got, strings.Fields(row.want)) {
			t.Errorf("%s: %q, want %s", row.name, got, row.want)
		}
		if got := log.take(); (got == "") != (row.log == "") || !strings.Contains(got, row.log) || strings.Count(got, "\n") > 1 {
			t.Errorf("%s: log %q, want %q", row.name, got, row.log)
		}
	}
	for _, bad := range []string{"bad", ""} {
		name := filepath.Join(t.TempDir(), "file")
		if bad != "" {
			writeFile(t, name, bad, 0o600)
		}
		if _, err := follow(name, parseWords, c.Now, log.logger()); err == nil {
			t.Errorf("the first time %q is used", bad)
		}
	}
}

func TestStaticTokens(t *testing.T) {
	c := &stopped{now: begin}
	name := filepath.Join(t.TempDir(), "tokens")
	writeFile(t, name, "alice", 0o600)
	hash := func(s string) [32]byte { return sha256.Sum256([]byte(s)) }
	parse := func(text []byte) ([]StaticToken, error) {
		var tokens []StaticToken
		for _, who := range strings.Fields(string(text)) {
			tokens = append(tokens,
				StaticToken{SHA256: hash("token of " + who), Subject: who, ClientID: "dev", Scopes: []string{"a:b"}, Audience: []string{"x", "doc-server"}, Expiry: begin.Add(time.Hour)},
				StaticToken{SHA256: hash("other token of " + who), Subject: who, Audience: []string{"other-service"}, Expiry: begin.Add(time.Hour)})
		}
		return tokens, nil
	}
	static, err := NewStatic(StaticOptions{File: name, Parse: parse, Audience: []string{"doc-server"}, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{answer: always(`{"active":false}`)}
	v := &Verifiers{Static: static, Introspection: []*Introspector{verifier(e, c)}}
	ask := func(token string) (Principal, error) { return v.Authenticate(t.Context(), NewSecret(token)) }
	p, err := ask("token of alice")
	if err != nil || p.Issuer != StaticIssuer || p.Subject != "alice" || p.ClientID != "dev" || !slices.Equal(p.Scopes, []string{"a:b"}) || !p.Expiry.Equal(begin.Add(time.Hour)) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := ask("other token of alice"); !fails(err, `token audience "other-service" is not accepted`) {
		t.Errorf("for another service: %v", err)
	}
	if e.asked.Load() != 0 {
		t.Error("the issuer was asked about a static token")
	}
	hashed := hash("token of alice")
	for _, token := range []string{"token of bob", "Token of alice", string(hashed[:])} {
		if _, err := ask(token); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", token, err)
		}
	}
	c.advance(time.Hour - 1)
	if _, err := ask("token of alice"); err != nil {
		t.Error(err)
	}
	c.advance(1)
	if _, err := ask("token of alice"); !errors.Is(err, ErrExpired) {
		t.Errorf("at its end: %v", err)
	}
	c.advance(-time.Hour)
	writeFile(t, name, "bob", 0o600)
	c.advance(fileEvery)
	if _, err := ask("token of bob"); err != nil {
		t.Errorf("added: %v", err)
	}
	if _, err := ask("token of alice"); !errors.Is(err, ErrInvalid) {
		t.Errorf("taken back: %v", err)
	}
}

func TestDirectory(t *testing.T) {
	c := &stopped{now: begin}
	name := filepath.Join(t.TempDir(), "roles")
	writeFile(t, name, "user:alice=role:b user:alice=role:a", 0o600)
	parse := func(text []byte) (map[string][]string, error) {
		roles := map[string][]string{}
		for _, word := range strings.Fields(string(text)) {
			user, role, _ := strings.Cut(word, "=")
			roles[user] = append(roles[user], role)
		}
		return roles, nil
	}
	d, err := NewDirectory(DirectoryOptions{File: name, Parse: parse, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"role:a", "role:z"}
	for _, row := range []struct {
		name string
		d    *Directory
		p    Principal
		want []string
	}{
		{"no directory", nil, Principal{Subject: "alice", Roles: own}, own},
		{"in the directory", d, Principal{Subject: "alice"}, []string{"role:a", "role:b"}},
		{"beside those of the token", d, Principal{Subject: "alice", Roles: own}, []string{"role:a", "role:b", "role:z"}},
		{"not in the directory", d, Principal{Subject: "bob", Roles: own}, own},
		{"a user who calls himself a user", d, Principal{Subject: "user:alice"}, nil},
	} {
		if got := row.d.of(row.p); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	if !slices.Equal(own, []string{"role:a", "role:z"}) {
		t.Errorf("a principal that others share was changed: %q", own)
	}
	// A remembered verdict does not hold on to roles of the directory.
	v := &Verifiers{JWT: []*JWT{signedBy(t, newIDP(ecKey()), c.Now, nil)}, Directory: d}
	token := NewSecret(ecKey().mint(nil, nil))
	for _, roles := range []string{"user:alice=role:x", "user:bob=role:x"} {
		writeFile(t, name, roles, 0o600)
		c.advance(fileEvery)
		p, err := v.Authenticate(t.Context(), token)
		if got := strings.Contains(roles, "alice"); err != nil || (len(p.Roles) == 1) != got {
			t.Errorf("%s: %q, %v", roles, p.Roles, err)
		}
	}
}

func TestRoleRule(t *testing.T) {
	words := map[string][]string{"admins": {"role:admin"}, "writers": {"role:editor", "role:viewer"}, "role:admin": nil, "readers": {"role:viewer"}}
	for _, row := range []struct {
		name, path, object string
		want               []string
	}{
		{"list", "groups", `{"groups":["writers","admins"]}`, []string{"role:admin", "role:editor", "role:viewer"}},
		{"once each", "groups", `{"groups":["writers","readers"]}`, []string{"role:editor", "role:viewer"}},
		{"text", "groups", `{"groups":"admins"}`, []string{"role:admin"}},
		{"further down", "realm_access.roles", `{"realm_access":{"roles":["admins"]}}`, []string{"role:admin"}},
		{"name with dots", `https://idp\.example/roles`, `{"https://idp.example/roles":["admins"]}`, []string{"role:admin"}},
		{"name with dots, further down", `resource_access.my\.app.roles`, `{"resource_access":{"my.app":{"roles":["admins"]}}}`, []string{"role:admin"}},
		{"name with a backslash", `a\\b`, `{"a\\b":["admins"]}`, []string{"role:admin"}},
		{"words that mean nothing", "groups", `{"groups":["Admins","admins ","role:admin","role:editor","*",""]}`, nil},
		{"dots are a path", "realm_access.roles", `{"realm_access.roles":["admins"]}`, nil},
		{"several words in a text", "groups", `{"groups":"admins writers"}`, nil},
		{"missing", "groups", `{}`, nil},
		{"null", "groups", `{"groups":null}`, nil},
		{"object", "groups", `{"groups":{"admins":true}}`, nil},
		{"number in the list", "groups", `{"groups":["admins",1]}`, nil},
		{"list on the way", "a.b", `{"a":[{"b":["admins"]}]}`, nil},
		{"text on the way", "a.b", `{"a":"admins"}`, nil},
		{"name in other case", "groups", `{"Groups":["admins"]}`, nil},
	} {
		rule, err := NewRoleRule(row.path, words)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if got := rule.of([]byte(row.object)); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	if got := (RoleRule{}).of([]byte(`{"roles":["role:admin"],"":["admins"]}`)); got != nil {
		t.Errorf("without a rule: %q", got)
	}
	for _, path := range []string{"", ".", "a.", ".a", "a..b", `a\`} {
		if _, err := NewRoleRule(path, words); err == nil {
			t.Errorf("the path %q", path)
		}
	}
	if _, err := NewRoleRule("", nil); err != nil {
		t.Errorf("no rule: %v", err)
	}
}

// Roles follow from tokens and from answers in the same way.
func TestRolesOfTokens(t *testing.T) {
	c := &stopped{now: begin}
	rule := must(NewRoleRule("groups", map[string][]string{"admins": {"role:admin"}}))
	e := verifier(&endpoint{answer: always(`{"active":true,"sub":"alice","aud":"doc-server","groups":["admins","role:root"]}`)}, c)
	e.opts.Roles = rule
	v := &Verifiers{JWT: []*JWT{signedBy(t, newIDP(ecKey()), c.Now, func(o *JWTOptions) { o.Roles = rule })}, Introspection: []*Introspector{e}}
	for _, token := range []string{"opaque", ecKey().mint(nil, change{"groups": []string{"admins", "role:root"}, "roles": []string{"role:root"}})} {
		for range 2 {
			if p, err := v.Authenticate(t.Context(), NewSecret(token)); err != nil || !slices.Equal(p.Roles, []string{"role:admin"}) {
				t.Errorf("%q, %v", p.Roles, err)
			}
		}
	}
	plain := only(signedBy(t, newIDP(ecKey()), c.Now, nil))
	if p, err := plain.Authenticate(t.Context(), NewSecret(ecKey().mint(nil, change{"roles": []string{"role:admin"}, "groups": "admins"}))); err != nil || p.Roles != nil {
		t.Errorf("a token named its own roles: %q, %v", p.Roles, err)
	}
}
