package sidecar

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// denial is one thing that must not pass, and exactly how it is refused.
type denial struct {
	name string
	only string // revision; empty means both
	ask  func(r *rig, rev, id string) ask
	refusal
}

// refusal is everything that is observable about a denial.
type refusal struct {
	status    int // HTTP
	legacy    int // HTTP status in 2025-11-25, when it differs
	code      int // JSON-RPC error code; 0 means a tool result with isError
	text      string
	challenge string // WWW-Authenticate without "Bearer "; empty means that there is none; $META stands for resource_metadata
	outcome   string
	stage     string
	reason    string
	guard     string
	rule      string
	id        string // echoed id; empty means the request's
	retry     string
	allow     string
	data      string // a member that error.data must hold, as JSON
	empty     bool   // no body at all
	path      string // where it was asked; denied fills it in
}

// category is a family of denials that share a cause and a rig.
type category struct {
	name  string
	setup func() setup // nil is the demo with a booby-trapped upstream
	warm  func(r *rig) // before the rows
	rows  []denial
}

// ids are echoed byte for byte; the table runs through them.
var ids = []string{`1`, `"r-7"`, `9007199254740993`, `"\u0061\/b"`, `0`, `-1`, `1.5e3`, `"id with \"quotes\""`, `"日本"`}

func TestDenied(t *testing.T) {
	total := 0
	denials := slices.Concat(protocolDenials, callerDenials, tokenDenials, carrierDenials, featureDenials)
	for _, c := range denials {
		if len(c.rows) < 3 {
			t.Errorf("category %q has %d rows, want at least 3", c.name, len(c.rows))
		}
		total += len(c.rows)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setup{}
			if c.setup != nil {
				s = c.setup()
			}
			r := start(t, s)
			if c.warm != nil {
				c.warm(r)
			}
			for i, d := range c.rows {
				for _, rev := range bothRevisions {
					if d.only != "" && d.only != rev {
						continue
					}
					t.Run(d.name+"/"+rev, func(t *testing.T) { r.denied(t, d, rev, ids[i%len(ids)]) })
				}
			}
		})
	}
	if len(denials) < 14 {
		t.Errorf("%d categories, want at least 14", len(denials))
	}
	t.Logf("%d categories, %d rows", len(denials), total)
}

// At least twenty structurally different ways in which a caller's token is wrong
// are refused: what is wrong makes a class, however many rows show it, and an issuer
// that is down is nothing wrong with a token.
func TestTwentyClassesOfTokens(t *testing.T) {
	t.Parallel()
	classes := map[string]bool{}
	for _, c := range slices.Concat(tokenDenials, carrierDenials) {
		if slices.ContainsFunc(c.rows, func(d denial) bool { return d.code == badToken.code }) && !strings.Contains(c.name, "issuer is down") {
			classes[c.name] = true
		}
	}
	if len(classes) < 20 {
		t.Errorf("%d classes, want at least 20: %q", len(classes), slices.Sorted(maps.Keys(classes)))
	}
	t.Logf("%d classes", len(classes))
}

// denied sends d and checks everything that can be seen of its refusal.
func (r *rig) denied(t *testing.T, d denial, rev, id string) {
	t.Helper()
	a := d.ask(r, rev, id)
	touched := r.touched()
	r.records()
	g := r.do(a)
	if n := r.touched() - touched; n != 0 {
		t.Errorf("an upstream was reached %d times", n)
	}
	want := d.refusal
	want.path, _, _ = strings.Cut(cmp.Or(a.path, "/mcp"), "?")
	if want.legacy != 0 && rev == legacy {
		want.status = want.legacy
	}
	if want.id == "" {
		want.id = id
	}
	auditID := r.checkAnswer(t, g, want)
	r.checkRecord(t, want, auditID)
}

func (r *rig) checkAnswer(t *testing.T, g got, want refusal) (auditID string) {
	t.Helper()
	if g.status != want.status {
		t.Errorf("HTTP status %d, want %d; body %s", g.status, want.status, g.body)
	}
	r.checkHeaders(t, g, want)
	if want.empty {
		if len(g.body) != 0 {
			t.Errorf("body %q, want none", g.body)
		}
		return ""
	}
	if ct := g.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
	if !bytes.HasPrefix(g.body, []byte(`{"jsonrpc":"2.0","id":`+want.id+`,`)) {
		t.Errorf("the id %s is not echoed with the same bytes: %s", want.id, g.body)
	}
	if want.code == 0 {
		return r.checkToolError(t, g, want)
	}
	return r.checkError(t, g, want)
}

func (r *rig) checkHeaders(t *testing.T, g got, want refusal) {
	t.Helper()
	challenge := ""
	if want.challenge != "" {
		metadata := r.public + "/.well-known/oauth-protected-resource" + want.path
		challenge = "Bearer " + strings.ReplaceAll(want.challenge, "$META", `resource_metadata="`+metadata+`"`)
	}
	for name, value := range map[string]string{
		"WWW-Authenticate": challenge, "Retry-After": want.retry, "Allow": want.allow, "Mcp-Session-Id": "",
	} {
		if got := strings.Join(g.header.Values(name), " | "); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

// checkError checks an error of the protocol and returns its audit id.
func (r *rig) checkError(t *testing.T, g got, want refusal) string {
	t.Helper()
	var m struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   struct {
			Code    int                        `json:"code"`
			Message string                     `json:"message"`
			Data    map[string]json.RawMessage `json:"data"`
		} `json:"error"`
	}
	strictly(t, g.body, &m)
	data := func(name string) string {
		var s string
		_ = json.Unmarshal(m.Error.Data[name], &s)
		return s
	}
	auditID := data("audit_id")
	want.text = strings.ReplaceAll(want.text, "$AUDIT", auditID)
	if m.Error.Code != want.code || m.Error.Message != want.text {
		t.Errorf("error %d %q, want %d %q", m.Error.Code, m.Error.Message, want.code, want.text)
	}
	if data("outcome") != want.outcome || data("reason") != want.reason {
		t.Errorf("error.data names outcome %q and reason %q, want %q and %q", data("outcome"), data("reason"), want.outcome, want.reason)
	}
	if want.data != "" && !bytes.Contains(g.body, []byte(want.data)) {
		t.Errorf("error.data lacks %s: %s", want.data, g.body)
	}
	return auditID
}

// checkToolError checks a refusal that a model reads, and returns its audit id.
func (r *rig) checkToolError(t *testing.T, g got, want refusal) string {
	t.Helper()
	var m struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  struct {
			ResultType string              `json:"resultType"`
			IsError    bool                `json:"isError"`
			Content    []map[string]string `json:"content"`
			Meta       map[string]string   `json:"_meta"`
		} `json:"result"`
	}
	strictly(t, g.body, &m)
	res := m.Result
	if !res.IsError || len(res.Content) != 1 || res.Content[0]["type"] != "text" || res.Content[0]["text"] != want.text {
		t.Errorf("result %s, want isError with %q", g.body, want.text)
	}
	for key, value := range map[string]string{"outcome": want.outcome, "guard": want.guard, "rule": want.rule} {
		if key == "rule" && want.guard == "" {
			value = ""
		}
		if got := res.Meta["mcp-sidecar/"+key]; got != value {
			t.Errorf("_meta names %s %q, want %q", key, got, value)
		}
	}
	return res.Meta["mcp-sidecar/audit_id"]
}

// strictly decodes a whole message that may hold nothing but v's fields.
func strictly(t *testing.T, body []byte, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil || d.More() {
		t.Errorf("not the JSON-RPC message that it should be (%v): %s", err, body)
	}
}

func (r *rig) checkRecord(t *testing.T, want refusal, auditID string) {
	t.Helper()
	events := r.records()
	if len(events) != 1 {
		t.Fatalf("%d audit records, want exactly one: %+v", len(events), events)
	}
	e := events[0]
	if e.Phase != "outcome" || e.Outcome != want.outcome || e.Stage != want.stage || e.Reason != want.reason || e.Guard != want.guard {
		t.Errorf("record: %s %q in %q, reason %q, guard %q; want outcome %q in %q, reason %q, guard %q",
			e.Phase, e.Outcome, e.Stage, e.Reason, e.Guard, want.outcome, want.stage, want.reason, want.guard)
	}
	if want.rule != "" && e.Rule != want.rule {
		t.Errorf("record: rule %q, want %q", e.Rule, want.rule)
	}
	if id, err := uuid.Parse(e.ID); err != nil || id.Version() != 7 {
		t.Errorf("record: audit id %q is no UUIDv7", e.ID)
	}
	if !want.empty && e.ID != auditID {
		t.Errorf("the client reads audit id %q, the record has %q", auditID, e.ID)
	}
}
