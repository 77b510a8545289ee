package sidecar

import (
	"net/http"
	"strings"
	"testing"
)

const page = "https://app.example"

func pageSetup() setup {
	return setup{inventory: demoInventory, extra: "allowed_origins: [\"" + page + "\", \"http://localhost:6274\"]\n"}
}

// preflight is what a browser asks for a page before its first request. It never
// carries the page's token.
func preflight(origin, method, headers string) ask {
	h := http.Header{"Access-Control-Request-Method": {method}}
	if origin != "" {
		h.Set("Origin", origin)
	}
	if headers != "" {
		h.Set("Access-Control-Request-Headers", headers)
	}
	return ask{method: http.MethodOptions, header: h}
}

// corsHeaders are what an answer says to a browser.
func corsHeaders(h http.Header) map[string]string {
	said := map[string]string{}
	for name, values := range h {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			said[name] = strings.Join(values, " | ")
		}
	}
	return said
}

func sameHeaders(t *testing.T, name string, got, want map[string]string) {
	t.Helper()
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s: %q was not wanted", name, key, got[key])
		}
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s: %s: %q, want %q", name, key, got[key], value)
		}
	}
}

// TestPreflight: pages of an allowed origin learn what they may send, without a
// token and without the server.
func TestPreflight(t *testing.T) {
	t.Parallel()
	r := start(t, setup{extra: pageSetup().extra}) // the upstream is a trap
	const headers = "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, Mcp-Protocol-Version, Mcp-Method, Mcp-Name"
	for _, row := range []struct {
		name, origin, method, asks, headers string
	}{
		{"POST", page, "POST", "", headers},
		{"GET", page, "GET", "mcp-session-id,last-event-id", headers},
		{"DELETE", page, "DELETE", "authorization,mcp-session-id", headers},
		{"another origin", "http://localhost:6274", "POST", "", headers},
		{"mirrored arguments", page, "POST", "mcp-param-region,mcp-param-tier,x-own", headers + ", mcp-param-region, mcp-param-tier"},
		{"a method that is not served", page, "PUT", "", headers},
	} {
		g := r.do(preflight(row.origin, row.method, row.asks))
		if g.status != http.StatusNoContent || len(g.body) != 0 {
			t.Errorf("%s: %d %q, want an empty 204", row.name, g.status, g.body)
		}
		sameHeaders(t, row.name, corsHeaders(g.header), map[string]string{
			"Access-Control-Allow-Origin": row.origin, "Access-Control-Allow-Methods": "GET, POST, DELETE", "Access-Control-Allow-Headers": row.headers,
			"Access-Control-Expose-Headers": "Mcp-Session-Id, WWW-Authenticate, Retry-After", "Access-Control-Max-Age": "600", "Vary": "Origin",
		})
	}
	if n := len(r.records()); n != 0 {
		t.Errorf("%d records of preflights, which are no messages", n)
	}
}

// TestForeignPreflight: what is refused says nothing that a browser could take
// for a yes, and is recorded like any other message.
func TestForeignPreflight(t *testing.T) {
	t.Parallel()
	served := start(t, setup{extra: pageSetup().extra})
	closed := start(t, setup{})
	for _, row := range []struct {
		name string
		rig  *rig
		ask  ask
		want refusal
		vary string
	}{
		{"foreign origin", served, preflight("https://attacker.example", "POST", ""), foreign("origin"), "Origin"},
		{"null origin", served, preflight("null", "POST", ""), foreign("origin"), "Origin"},
		{"longer name", served, preflight(page+".attacker.example", "POST", ""), foreign("origin"), "Origin"},
		{"two origins", served, preflight("", "POST", "").with("Origin", page, "https://attacker.example"), foreign("origin"), "Origin"},
		{"no origin", served, preflight("", "POST", ""), notServed, "Origin"},
		{"not a preflight", served, preflight(page, "POST", "").with("Access-Control-Request-Method"), notServed, "Origin"},
		{"no origin is allowed", closed, preflight(page, "POST", ""), foreign("origin"), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.rig.denied(t, denial{ask: func(*rig, string, string) ask { return row.ask }, refusal: row.want.withID("null")}, legacy, "1")
			want := map[string]string{}
			if row.vary != "" {
				want["Vary"] = row.vary
			}
			if origin := row.ask.header.Values("Origin"); len(origin) == 1 && origin[0] == page && row.rig == served {
				want["Access-Control-Allow-Origin"], want["Access-Control-Expose-Headers"] = page, "Mcp-Session-Id, WWW-Authenticate, Retry-After"
			}
			sameHeaders(t, row.name, corsHeaders(row.rig.do(row.ask).header), want)
		})
	}
	rebound := preflight(page, "POST", "")
	rebound.host = "attacker.example"
	served.denied(t, denial{ask: func(*rig, string, string) ask { return rebound }, refusal: foreign("host").withID("null")}, legacy, "1")
}

// TestPagesReadAnswers: every answer to an allowed origin can be read by the
// page, refusals and streams included; nobody else's says so.
func TestPagesReadAnswers(t *testing.T) {
	t.Parallel()
	s := pageSetup()
	s.upstream = text("done")
	r := start(t, s)
	for _, rev := range bothRevisions {
		read := toolCall(rev, r.token("alice"), "1", "update_document", `{"id":1}`)
		for _, row := range []struct {
			name     string
			upstream http.HandlerFunc
			ask      ask
			status   int
		}{
			{"result", text("done"), read, http.StatusOK},
			{"stream", events("data: " + response("$ID", doneResult) + "\n\n"), read, http.StatusOK},
			{"challenge", nil, toolCall(rev, "", "1", "update_document", `{"id":1}`), http.StatusUnauthorized},
			{"scope", nil, toolCall(rev, r.token("alice documents:read"), "1", "update_document", `{"id":1}`), http.StatusForbidden},
			{"malformed", nil, read.with("Content-Type", "text/plain"), http.StatusBadRequest},
			{"notification", result(""), notify(rev, r.token("alice"), "notifications/cancelled", `"requestId":77`), http.StatusAccepted},
		} {
			r.up.answerWith(row.upstream)
			for origin, want := range map[string]map[string]string{
				page: {"Access-Control-Allow-Origin": page, "Access-Control-Expose-Headers": "Mcp-Session-Id, WWW-Authenticate, Retry-After", "Vary": "Origin"},
				"":   {"Vary": "Origin"},
			} {
				a := row.ask
				if origin != "" {
					a = a.with("Origin", origin)
				}
				g := r.do(a)
				if g.status != row.status {
					t.Errorf("%s/%s: %d %s, want %d", row.name, rev, g.status, g.body, row.status)
				}
				sameHeaders(t, row.name+"/"+rev, corsHeaders(g.header), want)
			}
		}
	}
}

// TestMetadataForPages: the documents that tell a client where to log in are
// public, whoever asks, also for clients that name their protocol version.
func TestMetadataForPages(t *testing.T) {
	t.Parallel()
	for _, r := range []*rig{start(t, setup{}), start(t, setup{extra: pageSetup().extra})} {
		for _, origin := range []string{page, "https://elsewhere.example", "null"} {
			for _, path := range []string{"/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"} {
				g := r.do(ask{method: http.MethodGet, path: path, header: http.Header{"Origin": {origin}, "Mcp-Protocol-Version": {modern}}})
				if g.status != http.StatusOK || g.header.Get("Access-Control-Allow-Origin") != "*" || g.header.Get("Access-Control-Allow-Credentials") != "" || g.header.Get("Content-Type") != "application/json" {
					t.Errorf("GET %s %s: %d %v", path, origin, g.status, g.header)
				}
				g = r.do(ask{method: http.MethodOptions, path: path, header: preflight(origin, "GET", "mcp-protocol-version").header})
				if g.status != http.StatusNoContent || len(g.body) != 0 {
					t.Errorf("OPTIONS %s %s: %d %q", path, origin, g.status, g.body)
				}
				sameHeaders(t, path, corsHeaders(g.header), map[string]string{
					"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, OPTIONS", "Access-Control-Allow-Headers": "Content-Type, Mcp-Protocol-Version", "Access-Control-Max-Age": "600",
				})
			}
		}
		if n := len(r.records()); n != 0 {
			t.Errorf("%d records of requests that are no messages", n)
		}
	}
}
