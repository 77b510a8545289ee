package sidecar

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
)

// listedTools are those of an inventory.
func listedTools(t testing.TB, inventory string) (tools []json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(inventory), &tools); err != nil {
		t.Fatal(err)
	}
	return tools
}

// judged is a judge of the rig's configuration, which it must not need to be running.
func (r *rig) judge(o JudgeOptions) *Judge {
	r.t.Helper()
	j, err := NewJudge(r.sidecar.cfg, o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(j.Close)
	return j
}

// sameDecision compares what a record says of a decision.
func sameDecision(a, b audit.Event) string {
	pick := func(e audit.Event) string {
		b, _ := json.Marshal([]any{e.Stage, e.Outcome, e.Reason, e.Guard, e.Rule, e.Subject, e.Object, e.Action, e.Needed, e.Roles, e.Scopes, e.Policy, e.Would, e.Findings, e.Name, e.Upstream})
		return string(b)
	}
	if x, y := pick(a), pick(b); x != y {
		return x + "\nand\n" + y
	}
	return ""
}

// What the judge says is what the running sidecar does: for every user, tool, kind of
// argument and preset.
func TestJudgeAgreesWithTheSidecar(t *testing.T) {
	t.Parallel()
	for _, preset := range []string{"balanced", "observe", "strict"} {
		s := setup{preset: preset, inventory: demoInventory, upstream: text("done")}
		s.policy = demoPolicy + "p, role:admin, docs/admin_tool, call, allow\np, user:erin, document, update, deny\n"
		s.inventory = strings.TrimSuffix(s.inventory, "\n]") + `,{"name":"admin_tool","inputSchema":{"type":"object","properties":{"page":{"type":"string","format":"uri"}}}}]`
		r := start(t, s)
		j := r.judge(JudgeOptions{Tools: listedTools(t, s.inventory)})
		asked := 0
		for _, who := range []string{"alice", "bob", "carol", "dave", "erin", "alice documents:read", "bob other"} {
			for tool, args := range map[string][]string{
				"create_document": {`{}`, `{"created_by":"eve"}`, `{"Created_By":"eve"}`}, "read_document": {`{"id":1}`, `{"id":"[REDACTED:jwt]"}`},
				"update_document": {`{"id":1}`, `{"id":1,"id":2}`}, "delete_document": {`{"id":1}`, `{"confirm":true}`, `{"confirm":"true"}`},
				"move_document": {``}, "render_document": {`{"format":"words"}`, `{"format":"words; rm -rf ~"}`, `{"format":7}`},
				"import_url":  {`{"url":"https://example.com/"}`, `{"url":"http://169.254.169.254/"}`, `{"url":"https://inside.example.com/"}`},
				"secret_tool": {`{}`}, "admin_tool": {`{}`, `{"page":"http://10.0.0.1/"}`}, "no such tool": {`{}`},
			} {
				for _, a := range args {
					words := strings.Fields(who)
					scopes := words[1:]
					if len(scopes) == 0 {
						scopes = allScopes
					}
					v, err := j.Judge(t.Context(), Question{Actor: words[0], Scopes: scopes, Tool: "docs/" + tool, Args: json.RawMessage(a)})
					if tool == "no such tool" {
						// Only the server knows what it does not have.
						if v.Allowed != (preset == "observe") || err != nil {
							t.Errorf("%s: %+v, %v", tool, v, err)
						}
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					r.records()
					touched := len(r.up.seen())
					r.do(toolCall(modern, r.token(who), "1", tool, a))
					e := r.outcome()
					if diff := sameDecision(v.Record, e); diff != "" {
						t.Errorf("%s: %s, %s %s: the judge and the sidecar say\n%s", preset, who, tool, a, diff)
					}
					if reached := len(r.up.seen()) > touched; reached != v.Allowed {
						t.Errorf("%s: %s, %s %s: allowed %t, the server was reached: %t", preset, who, tool, a, v.Allowed, reached)
					}
					asked++
				}
			}
		}
		t.Logf("%s: %d calls", preset, asked)
	}
}

// The judge reads no secret, opens no audit file and asks nobody.
func TestJudgeNeedsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	write("policy.csv", "p, role:reader, docs/*, call, allow\n")
	write("roles.yaml", "user:carol: [role:reader]\n")
	cfg, err := config.Load(write("sidecar.yaml", `version: 1
auth:
  audience: [doc-server]
  introspection: [{ issuer: "https://idp.example", url: "https://idp.example/introspect", client_id: me, client_secret_file: absent }]
  roles_file: roles.yaml
  roles: { user:bob: [role:reader] }
upstreams: { docs: { command: [no-such-program], credential: { kind: env, variable: TOKEN, file: missing } } }
policy: { file: policy.csv }
tools: { docs/wrapped: { args: { session: { handle: true }, link: { ssrf: {} } } } }
state_dir: state
`))
	if err != nil {
		t.Fatal(err)
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	j, err := NewJudge(cfg, JudgeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, row := range []struct {
		q       Question
		allowed bool
		open    string // among what is not judged
	}{
		{Question{Actor: "carol", Tool: "read"}, true, "the server's own definition"},
		{Question{Actor: "user:bob", Tool: "docs/read"}, true, ""},
		{Question{Actor: "dave", Tool: "read"}, false, ""},
		{Question{Actor: "dave", Tool: "read", Roles: []string{"role:reader"}}, true, ""},
		{Question{Actor: "dave", Tool: "read", Roles: []string{"user:carol"}}, false, ""},
		{Question{Actor: "carol", Tool: "wrapped", Args: json.RawMessage(`{"session":"x"}`)}, true, `the handle in "session"`},
		{Question{Actor: "carol", Tool: "wrapped", Args: json.RawMessage(`{"link":"https://files.example.org/a"}`)}, true, `the addresses of "files.example.org"`},
		{Question{Actor: "carol", Tool: "wrapped", Args: json.RawMessage(`{"link":"https://127.0.0.1/a"}`)}, false, ""},
	} {
		v, err := j.Judge(t.Context(), row.q)
		if err != nil || v.Allowed != row.allowed || !strings.Contains(strings.Join(v.Open, "\n"), row.open) {
			t.Errorf("%+v: %+v, %v", row.q, v, err)
		}
	}
	if d := j.Ask("bob", policy.Permission{Object: "docs/x", Action: "call"}); !d.Allowed {
		t.Errorf("%+v", d)
	}
	if d := j.Ask("eve", policy.Permission{Object: "docs/x", Action: "call"}); d.Allowed {
		t.Errorf("%+v", d)
	}
	for _, q := range []Question{{Actor: "bob"}, {Actor: "bob", Tool: "x", Args: json.RawMessage(`[1]`)}, {Actor: "bob", Tool: "x", Args: json.RawMessage(`{`)}, {Actor: "bob", Tool: "x", Args: json.RawMessage(`{},"method":"ping"`)}} {
		if v, err := j.Judge(t.Context(), q); !errors.Is(err, ErrQuestion) || v.Allowed {
			t.Errorf("%+v: %+v, %v", q, v, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "state")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the judge wrote something: %v", err)
	}
}
