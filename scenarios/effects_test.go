package main

import (
	"encoding/base64"
	"net/http"
	"testing"
)

// heard is a watcher that has heard all of it.
type heard []recorded

func (h heard) mark() int            { return len(h) }
func (h heard) since(int) []recorded { return h }

// TestSensors: each sensor notices what it is there for, on either side.
func TestSensors(t *testing.T) {
	const token, service = "GE3TQMRXGAYTCMRSGAZDENJSGE", "MFRGGZDFMZTWQ2LKNNWG23TPOB"
	call := `{"method":"tools/call","params":{"name":"read_document"}}`
	with := func(name, value string) recorded {
		return recorded{header: http.Header{name: {value}}, body: []byte(call)}
	}
	audited := func(line string) []recorded { return []recorded{{body: []byte(line)}} }
	door := &column{}
	for _, row := range []struct {
		name   string
		effect effect
		c      column
		e      event
		want   string
	}{
		{"the client's credential", shown("", ""), column{}, event{received: heard{with("Authorization", "Bearer "+token)}}, "the client's"},
		{"the sidecar's credential", shown("", ""), column{}, event{received: heard{with("Authorization", "Bearer "+service)}}, "the sidecar's"},
		{"no credential", shown("", ""), column{}, event{received: heard{with("X-Other", token)}}, "none"},
		{"a credential that nobody knows", shown("", ""), column{}, event{received: heard{with("Authorization", "Bearer x")}}, "another"},
		{"no call", shown("", ""), column{}, event{received: heard{{header: http.Header{"Authorization": {"Bearer " + token}}}}}, "none"},

		{"a token long ago", credentialEver("", ""), column{recorder: heard{with("Cookie", "t="+base64.URLEncoding.EncodeToString([]byte(token)))}}, event{}, "yes"},
		{"never a token", credentialEver("", ""), column{recorder: heard{with("Authorization", "Bearer "+service)}}, event{}, "no"},

		{"the header", headerUpstream("X-Forwarded-User", "", ""), column{}, event{received: heard{with("X-Forwarded-User", "bob")}}, "yes"},
		{"the header, spelled another way", headerUpstream("X_Forwarded_User", "", ""), column{}, event{received: heard{with("X-Forwarded-User", "bob")}}, "yes"},
		{"another header", headerUpstream("X-Forwarded-User", "", ""), column{}, event{received: heard{with("X-Forwarded-For", "bob")}}, "no"},

		{"a challenge", challenged("", ""), column{}, event{sent: passenger{status: 403, challenge: `Bearer error="insufficient_scope", scope="a b", resource_metadata="https://x"`}}, `403 insufficient_scope, scope "a b"`},
		{"another challenge", challenged("", ""), column{}, event{sent: passenger{status: 401, challenge: `Bearer error="invalid_token"`}}, `401 invalid_token, scope ""`},
		{"no challenge", challenged("", ""), column{}, event{sent: passenger{status: 200}}, "none"},
		{"two challenges", challenged("", ""), column{}, event{sent: passenger{status: 401, challenge: `Bearer error="a", Basic realm="b"`}}, "cannot be read"},

		{"a finding", finding("identity:overridden created_by", "", ""), column{audit: "audit.jsonl"},
			event{audited: audited(`{"mcp_name":"read_document","findings":["a","identity:overridden created_by"]}`)}, "yes"},
		{"a finding of another call", finding("identity:overridden created_by", "", ""), column{audit: "audit.jsonl"},
			event{audited: audited(`{"mcp_name":"create_document","findings":["identity:overridden created_by"]}`)}, "no"},
		{"no finding", finding("identity:overridden created_by", "", ""), column{audit: "audit.jsonl"},
			event{audited: audited(`{"mcp_name":"read_document"}`)}, "no"},
		{"no sidecar to record anything", finding("x", "", ""), column{door: door}, event{}, "no"},
		{"a sidecar that keeps its records elsewhere", finding("x", "", ""), column{}, event{}, notMeasured},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.c.service, row.c.tokens = service, map[string]string{"alice": token, noToken: noToken}
			if row.c.recorder == nil {
				row.c.recorder = heard{}
			}
			row.e.token, row.e.trial = token, trial{user: "alice", tool: "read_document"}
			if got := row.effect.measure(t.Context(), &row.c, row.e); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// TestSensorsThatAreMissing: what cannot be seen is never said to be well.
func TestSensorsThatAreMissing(t *testing.T) {
	for _, s := range scenarios() {
		for _, tr := range s.trials {
			for _, e := range tr.effects {
				switch e.name {
				case "credential shown to the server", "what the server was shown opens the sidecar", "header seen upstream", "any client's token upstream so far":
					if got := e.measure(t.Context(), &column{}, event{trial: tr}); got != notMeasured {
						t.Errorf("%s/%s: %s: %q", s.name, tr.title(), e.name, got)
					}
				}
			}
		}
	}
}
