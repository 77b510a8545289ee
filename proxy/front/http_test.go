package front

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

func TestIsJSON(t *testing.T) {
	for _, row := range []struct {
		media    []string
		encoding string
		want     bool
	}{
		{[]string{"application/json"}, "", true},
		{[]string{"Application/JSON; charset=UTF-8"}, "", true},
		{[]string{"application/json;charset=utf-8;x=y"}, "", true},
		{nil, "", false},
		{[]string{"text/plain"}, "", false},
		{[]string{"application/json; charset=latin1"}, "", false},
		{[]string{"application/jsonx"}, "", false},
		{[]string{"application/json", "application/json"}, "", false},
		{[]string{"application/json, text/plain"}, "", false},
		{[]string{"application/json"}, "gzip", false},
		{[]string{"application/json"}, "identity", false},
	} {
		r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
		if row.media != nil {
			r.Header["Content-Type"] = row.media
		}
		if row.encoding != "" {
			r.Header.Set("Content-Encoding", row.encoding)
		}
		if got := isJSON(r); got != row.want {
			t.Errorf("%q, %q: %v, want %v", row.media, row.encoding, got, row.want)
		}
	}
}

func TestHead(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/mcp?access_token=x", nil)
	r.Header = http.Header{
		"Mcp-Protocol-Version": {"v"}, "Mcp-Method": {"m", "n"}, "Mcp-Session-Id": {"s"}, "Authorization": {"a", "b"},
		"Mcp-Param-Region": {"eu"}, "Mcp-Parameter": {"x"},
	}
	h := head(r)
	if h.Version != (pipeline.Header{Value: "v", Present: true}) || h.Method != (pipeline.Header{Value: "m", Present: true, Several: true}) || h.Name.Present ||
		h.Session != "s" || h.Authorization.Len() != 2 || h.Authorization.At(1).Reveal() != "b" || h.QueryTokens.Len() != 1 || h.QueryTokens.At(0).Reveal() != "x" || len(h.Params) != 1 || h.Params["Mcp-Param-Region"][0] != "eu" {
		t.Errorf("%+v", h)
	}
	for query, want := range map[string]bool{"": false, "?x=1": false, "?access_token": true, "?a=1&access_token=": true, "?%61ccess_token=x": true, "?xaccess_token=x": false} {
		if got := head(httptest.NewRequest(http.MethodPost, "/mcp"+query, nil)).QueryTokens.Len() > 0; got != want {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

// TestChallenge: the header exactly, for each reason.
func TestChallenge(t *testing.T) {
	const metadata = "https://sidecar.example/.well-known/oauth-protected-resource/mcp"
	for _, row := range []struct {
		name     string
		c        pipeline.Challenge
		metadata string
		want     string
	}{
		{"nothing was sent", pipeline.Challenge{}, metadata, `Bearer resource_metadata="` + metadata + `"`},
		{"invalid", pipeline.Challenge{Error: "invalid_token", Description: "token expired"}, metadata, `Bearer error="invalid_token", error_description="token expired", resource_metadata="` + metadata + `"`},
		{"scope", pipeline.Challenge{Error: "insufficient_scope", Scope: []string{"a:b", "c:d"}}, metadata, `Bearer error="insufficient_scope", scope="a:b c:d", resource_metadata="` + metadata + `"`},
		{"no metadata", pipeline.Challenge{Error: "invalid_token"}, "", `Bearer error="invalid_token"`},
		{"nothing at all", pipeline.Challenge{}, "", `Bearer`},
	} {
		if got := challenge(&row.c, row.metadata); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func newSink() (*sink, *httptest.ResponseRecorder) {
	w := httptest.NewRecorder()
	return &sink{w: w, rc: http.NewResponseController(w), in: &body{read: true}, metadata: "m"}, w
}

// TestSink: how answers become HTTP.
func TestSink(t *testing.T) {
	result := []byte(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	for _, row := range []struct {
		name   string
		drive  func(s *sink)
		status int
		body   string
		header map[string]string
	}{
		{"result", func(s *sink) { s.Answer(&pipeline.Answer{Outcome: pipeline.Allowed, Status: 200, Body: result}) }, 200, string(result),
			map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}},
		{"result of a stream", func(s *sink) {
			s.Answer(&pipeline.Answer{Outcome: pipeline.Allowed, Status: 200, Body: result, Stream: true})
		}, 200, "event: message\ndata: " + string(result) + "\n\n",
			map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}},
		{"refusal before a stream", func(s *sink) {
			s.Answer(&pipeline.Answer{Outcome: pipeline.UpstreamFailed, Status: 502, Body: result, Stream: true})
		}, 502, string(result), map[string]string{"Content-Type": "application/json"}},
		{"refusal on a stream", func(s *sink) {
			_ = s.Event(wire.Event{Data: []byte("{}")})
			s.Answer(&pipeline.Answer{Outcome: pipeline.Unavailable, Status: 503, Body: result, Challenge: &pipeline.Challenge{}})
		}, 200, "event: message\ndata: {}\n\nevent: message\ndata: " + string(result) + "\n\n", map[string]string{"WWW-Authenticate": ""}},
		{"nothing on a stream", func(s *sink) {
			_ = s.Event(wire.Event{Data: []byte("{}")})
			s.Answer(&pipeline.Answer{Outcome: pipeline.Allowed, Status: 200})
		}, 200, "event: message\ndata: {}\n\n", nil},
		{"session", func(s *sink) {
			s.Session("id")
			s.Answer(&pipeline.Answer{Outcome: pipeline.Allowed, Status: 200, Body: result})
		}, 200, string(result), map[string]string{"Mcp-Session-Id": "id"}},
		{"session that ended with its call", func(s *sink) {
			s.Session("id")
			s.Answer(&pipeline.Answer{Outcome: pipeline.Unavailable, Status: 503, Body: result})
		}, 503, string(result), map[string]string{"Mcp-Session-Id": ""}},
		{"no body", func(s *sink) { s.Answer(&pipeline.Answer{Outcome: pipeline.Allowed, Status: 202}) }, 202, "", map[string]string{"Content-Type": ""}},
		{"everything said", func(s *sink) {
			s.Answer(&pipeline.Answer{Status: 429, Body: result, RetryAfter: 3, Allow: "POST", Challenge: &pipeline.Challenge{Error: "e"}})
		}, 429, string(result), map[string]string{"Retry-After": "3", "Allow": "POST", "WWW-Authenticate": `Bearer error="e", resource_metadata="m"`, "Connection": ""}},
		{"body that was not read", func(s *sink) {
			s.in.read = false
			s.Answer(&pipeline.Answer{Status: 401, Body: result})
		}, 401, string(result), map[string]string{"Connection": "close"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, w := newSink()
			row.drive(s)
			if w.Code != row.status || w.Body.String() != row.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, row.status, row.body)
			}
			for k, v := range row.header {
				if got := w.Header().Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
		})
	}
}

func TestPaths(t *testing.T) {
	h := NewHandler(Options{})
	for _, path := range []string{"/", "/mcp/", "/MCP", "/mcp/x", MetadataPath, MetadataPath + "/mcp", "/metrics", "/%6dcpx"} {
		w := ask(t, h, httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}")))
		if w.Code != http.StatusNotFound || !strings.HasPrefix(w.Body.String(), `{"jsonrpc":"2.0","id":null,"error":{`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestPages: what is asked of an endpoint's request is asked of a page's too.
func TestPages(t *testing.T) {
	asked := 0
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++ })
	h := NewHandler(Options{Hosts: []string{"sidecar.example"}, MaxHeaders: 1 << 10, Pages: map[string]http.Handler{"/page": page}})
	for _, row := range []struct {
		name, target, host string
		header             string
		want               int
	}{
		{"served", "/page?x=y", "sidecar.example", "", 200},
		{"rebound name", "/page", "attacker.example", "", 403},
		{"large headers", "/page", "sidecar.example", strings.Repeat("x", 1<<10), 431},
		{"another path", "/page/", "sidecar.example", "", 404},
		{"another spelling", "/%70age", "sidecar.example", "", 404},
	} {
		before := asked
		r := httptest.NewRequest(http.MethodGet, row.target, nil)
		r.Host = row.host
		r.Header.Set("X-Long", row.header)
		w := ask(t, h, r)
		if w.Code != row.want || (asked > before) != (row.want == 200) {
			t.Errorf("%s: %d", row.name, w.Code)
		}
	}
}
