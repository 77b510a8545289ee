package sidecar

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/issuer"
)

// answer asks with token and returns the status, and how often an upstream was
// reached.
func (r *rig) answer(token string) (status, touched int) {
	r.t.Helper()
	before := r.touched()
	g := r.do(toolCall(modern, token, "1", "read_document", `{"id":1}`))
	if g.status == http.StatusServiceUnavailable && !strings.Contains(string(g.body), "temporarily unavailable (audit ") {
		r.t.Errorf("503 with %s", g.body)
	}
	return g.status, r.touched() - before
}

// expect asks with token and checks what came of it.
func (r *rig) expect(step, token string, want int) {
	r.t.Helper()
	status, touched := r.answer(token)
	if status != want || (touched > 0) != (want == 200) {
		r.t.Errorf("%s: status %d, upstream reached %d times; want %d", step, status, touched, want)
	}
}

// A key that was taken back ends every token that it signed, within one refresh,
// whether or not the sidecar knows the token already. A new one is found at its
// first token.
func TestRotatedAndRevokedKeys(t *testing.T) {
	t.Parallel()
	s := signing()
	s.inventory, s.upstream = demoInventory, text("done")
	r := start(t, s)
	long := members{"exp": r.clock.Now().Add(20 * time.Hour).Unix()}
	before := r.remembered(r.signed(nil, long))
	r.expect("at first", before, 200)
	old := r.kid()
	r.issuer.Rotate(issuer.RS256)
	after := r.remembered(r.signed(nil, long))
	r.expect("a new key, just after the keys were fetched", after, 401)
	r.clock.advance(30 * time.Second)
	r.expect("a new key", after, 200)
	r.expect("the old key beside it", before, 200)
	r.issuer.Retire(old)
	r.clock.advance(16 * time.Minute)
	r.expect("the old key, taken back", before, 401)
	r.expect("the new key", after, 200)
	r.issuer.Break(issuer.EndpointKeys, issuer.Down)
	r.clock.advance(16 * time.Minute)
	r.expect("the issuer is down", after, 200)
	r.clock.advance(7 * time.Hour)
	r.expect("the issuer is down for hours", after, 200)
	r.issuer.Repair(issuer.EndpointKeys)
	r.issuer.Retire(r.kid())
	r.issuer.Rotate(issuer.EdDSA)
	r.clock.advance(16 * time.Minute)
	r.expect("every key was taken back", r.settled(after, 401), 401)
	r.expect("the key after them", r.remembered(r.signed(nil, nil)), 200)
}

// settled asks with token until the status is want: a refresh may be under way of
// which nobody waits for the end.
func (r *rig) settled(token string, want int) string {
	r.t.Helper()
	for range 500 {
		if status, _ := r.answer(token); status == want {
			return token
		}
	}
	return token
}

// patiently leaves out of short runs what waits for as long as a fetch may take.
func patiently(t *testing.T, fault issuer.Fault) {
	t.Helper()
	if fault == issuer.Slow && testing.Short() {
		t.Skip("waits five seconds and more")
	}
}

// Whatever is wrong with an issuer: without keys nothing passes, and after the
// repair the next call does, within five seconds.
func TestFaultyIssuerOfKeys(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		endpoint issuer.Endpoint
		fault    issuer.Fault
	}{
		{issuer.EndpointKeys, issuer.Down}, {issuer.EndpointKeys, issuer.Failing}, {issuer.EndpointKeys, issuer.Garbage},
		{issuer.EndpointKeys, issuer.Huge}, {issuer.EndpointKeys, issuer.Elsewhere}, {issuer.EndpointKeys, issuer.Slow},
		{issuer.EndpointMetadata, issuer.Down}, {issuer.EndpointMetadata, issuer.Failing}, {issuer.EndpointMetadata, issuer.Garbage},
		{issuer.EndpointMetadata, issuer.Huge}, {issuer.EndpointMetadata, issuer.Elsewhere}, {issuer.EndpointMetadata, issuer.WrongIssuer},
	} {
		t.Run(fmt.Sprint(row.endpoint, " ", row.fault), func(t *testing.T) {
			t.Parallel()
			patiently(t, row.fault)
			s := signing()
			s.inventory, s.upstream = demoInventory, text("done")
			s.prepare = func(r *rig) { r.issuer.Break(row.endpoint, row.fault) }
			r := start(t, s)
			token := r.remembered(r.signed(nil, nil))
			r.expect("broken", token, 503)
			r.expect("broken, at once again", token, 503)
			r.clock.advance(2 * time.Second)
			r.expect("broken, two seconds later", token, 503)
			r.issuer.Repair(row.endpoint)
			r.clock.advance(2 * time.Second)
			r.expect("repaired", token, 200)
			r.stop()
			if log := r.stderr.String(); !strings.Contains(log, "could not be fetched") || !strings.Contains(log, "can be fetched again") {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// Nothing that an issuer said is believed for longer than 30 seconds when it does
// not say it again.
func TestFaultyIntrospection(t *testing.T) {
	t.Parallel()
	for _, fault := range []issuer.Fault{issuer.Down, issuer.Failing, issuer.Garbage, issuer.Huge, issuer.Elsewhere, issuer.Slow} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			patiently(t, fault)
			r := start(t, setup{inventory: demoInventory, upstream: text("done")})
			token, other := r.token("alice"), r.token("bob")
			r.expect("at first", token, 200)
			r.issuer.Break(issuer.EndpointIntrospect, fault)
			r.clock.advance(29 * time.Second)
			r.expect("within 30 seconds", token, 200)
			r.clock.advance(time.Second)
			r.expect("after 30 seconds", token, 503)
			r.expect("somebody else", other, 503)
			r.issuer.Repair(issuer.EndpointIntrospect)
			r.expect("repaired, but asked a moment ago", token, 503)
			r.clock.advance(2 * time.Second)
			r.expect("two seconds after", token, 200)
			r.expect("somebody else", other, 200)
		})
	}
}

// Where clients log in is published: every issuer, each once.
func TestMetadataNamesAllIssuers(t *testing.T) {
	t.Parallel()
	var own string
	r := start(t, setup{change: func(cfg *config.Config) {
		own = cfg.Auth.Introspection[0].Issuer
		cfg.Auth.JWT = []config.JWT{{Issuer: own, AllowLoopbackHTTP: true}, {Issuer: "https://second.example"}}
		cfg.Auth.SharedSubjects = true
	}})
	g := r.do(ask{method: http.MethodGet, path: "/.well-known/oauth-protected-resource/mcp"})
	var m struct {
		Servers []string `json:"authorization_servers"`
	}
	if err := json.Unmarshal(g.body, &m); err != nil || !slices.Equal(m.Servers, []string{own, "https://second.example"}) {
		t.Errorf("%v: %s", err, g.body)
	}
}

// A static token works, and stops working when its file says so.
func TestStaticTokens(t *testing.T) {
	t.Parallel()
	s := staticOnly()
	s.inventory, s.upstream = demoInventory, text("done")
	r := start(t, s)
	token := r.remembered("static-token-of-alice")
	r.expect("in the file", token, 200)
	r.rewrite(r.sidecar.cfg.Auth.StaticTokensFile, "tokens: []\n")
	r.expect("taken out", token, 401)
	if log := r.stderr.String(); !strings.Contains(log, "a changed file was read") {
		t.Errorf("log: %s", log)
	}
}

// rewrite changes a file that the sidecar follows, and lets it look again.
func (r *rig) rewrite(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.clock.advance(time.Second)
}

// Roles follow from a token only as the configuration says, and those of the
// directory follow its file, whatever is remembered about a token.
func TestRolesFromElsewhere(t *testing.T) {
	t.Parallel()
	s := signing()
	s.inventory, s.upstream = demoInventory, text("done")
	s.change = func(cfg *config.Config) {
		signedOnly(cfg)
		j := &cfg.Auth.JWT[0]
		j.RolesClaim, j.RolesMap = "realm_access.roles", map[string][]string{"writers": {"role:editor"}, "readers": {"role:viewer"}}
		cfg.Auth.RolesFile = filepath.Join(cfg.StateDir, "roles.yaml")
		if err := os.WriteFile(cfg.Auth.RolesFile, []byte("user:frank: [role:viewer]\n"), 0o600); err != nil {
			t.Error(err)
		}
	}
	r := start(t, s)
	directory := r.sidecar.cfg.Auth.RolesFile
	can := func(token, tool string) bool {
		t.Helper()
		g := r.do(toolCall(modern, token, "1", tool, `{"id":1,"confirm":true}`))
		return g.status == 200 && !strings.Contains(string(g.body), `"isError":true`)
	}
	holder := func(sub string, claims members) string {
		return r.remembered(r.signed(nil, changed(members{"sub": sub}, claims)))
	}
	claim := func(words ...string) members { return members{"realm_access": members{"roles": words}} }
	for _, row := range []struct {
		name, token          string
		read, update, remove bool
	}{
		{"none", holder("dave", nil), false, false, false},
		{"mapped", holder("dave", claim("readers")), true, false, false},
		{"several", holder("dave", claim("readers", "writers", "unknown")), true, true, false},
		{"a role's own name", holder("dave", claim("role:admin", "admin")), false, false, false},
		{"claims that nobody named", holder("dave", members{"roles": []string{"role:admin", "writers"}, "groups": "writers"}), false, false, false},
		{"beside those of the policy", holder("carol", claim("writers")), true, true, false},
		{"of the directory", holder("frank", nil), true, false, false},
		{"of the directory and the token", holder("frank", claim("writers")), true, true, false},
		{"of the policy", holder("alice", nil), true, true, true},
	} {
		if a, b, c := can(row.token, "read_document"), can(row.token, "update_document"), can(row.token, "delete_document"); a != row.read || b != row.update || c != row.remove {
			t.Errorf("%s: read %t, update %t, delete %t", row.name, a, b, c)
		}
	}
	frank := holder("frank", nil)
	r.records()
	if !can(frank, "read_document") || !slices.Equal(r.outcome().Roles, []string{"role:viewer"}) {
		t.Error("the record does not name the role of the directory")
	}
	r.rewrite(directory, "user:frank: [role:viewer\n")
	if !can(frank, "read_document") || !strings.Contains(r.stderr.String(), "what it said before stays in force") {
		t.Errorf("a directory that cannot be read: %s", r.stderr)
	}
	r.rewrite(directory, "user:frank: [role:editor]\n")
	if !can(frank, "update_document") {
		t.Error("a role was given")
	}
	r.rewrite(directory, "{}\n")
	if can(frank, "read_document") {
		t.Error("a role was taken")
	}
	r.up.answerWith(toolsResult("", demoInventory))
	list := string(r.do(request(modern, holder("dave", claim("readers")), "1", "tools/list", "")).body)
	if !strings.Contains(list, "read_document") || strings.Contains(list, "update_document") {
		t.Errorf("a list by roles of a token: %s", list)
	}
}

// Two issuers that call somebody alice mean two people.
func TestSubjectsOfSeveralIssuers(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done"), change: func(cfg *config.Config) {
		own := cfg.Auth.Introspection[0]
		cfg.Auth.JWT = []config.JWT{{Issuer: own.Issuer, AllowLoopbackHTTP: true, SubjectPrefix: "partner/"}}
		cfg.Auth.Introspection = []config.Introspection{{Issuer: "https://other.example", URL: own.URL, ClientID: own.ClientID, ClientSecretFile: own.ClientSecretFile, AllowLoopbackHTTP: true, SubjectPrefix: "corp/"}}
	}, policy: "p, user:partner/alice, document, read, allow\n"})
	r.expect("alice of the partner", r.remembered(r.signed(nil, nil)), 200)
	g := r.do(toolCall(modern, r.signed(nil, members{"sub": "corp/alice"}), "1", "read_document", `{"id":1}`))
	if !strings.Contains(string(g.body), `user \"partner/corp/alice\" has no role`) {
		t.Errorf("somebody who calls himself alice of another issuer: %s", g.body)
	}
}
