package front

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
	"mcp-sidecar/scenarios/canary"
)

// credentials are all that any client of any test of this package shows, and heard is
// what clients, pipelines and upstreams got since the last search.
var (
	credentials canary.Watch
	heard       canary.Record
)

// newToken is the credential of a client of t. At its end everything that was heard is
// searched.
func newToken(t *testing.T) string {
	t.Helper()
	token := rand.Text()
	credentials.Add("a client", token)
	t.Cleanup(func() {
		for _, leak := range heard.Leaks(&credentials) {
			t.Error(leak)
		}
	})
	return token
}

// hearCall hears what a call says beside its body, which is handed on as it is, and
// beside the two fields that are for credentials.
func hearCall(c *pipeline.Call) {
	for _, values := range []identity.Secrets{c.Head.Authorization, c.Head.QueryTokens} {
		for i := range values.Len() {
			credentials.Add("a call", strings.TrimPrefix(values.At(i).Reveal(), "Bearer "))
		}
	}
	heard.Hear("a call", c.Head, c.Verb, c.Transport, c.Refused)
}

// heardWriter is what a client reads.
type heardWriter struct{ w io.Writer }

func (h heardWriter) Write(p []byte) (int, error) {
	heard.Hear("an answer", string(p))
	return h.w.Write(p)
}

// ask sends r to h as a client with a credential does, and returns the answer.
func ask(t *testing.T, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	if r.Header["Authorization"] == nil {
		r.Header.Set("Authorization", "Bearer "+newToken(t))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	heard.Hear("an answer", w.Header(), w.Body.String())
	return w
}

// everything is a pipeline behind an endpoint. All that it records, logs and sends is
// heard.
func everything(t *testing.T) *Handler {
	p := pipeline.New(pipeline.Options{
		Server:        "docs",
		Authenticator: anybody{},
		Policy:        func() (pipeline.Authorizer, error) { return policy.Builtin(), nil },
		Upstream:      told{},
		Recorder:      told{},
		Limits:        pipeline.Limits{RequestBody: 1 << 16, Tools: 10, ToolDefinition: 1000, Sessions: 4, Concurrent: 10},
		Log:           slog.New(slog.NewJSONHandler(told{}, nil)),
	})
	t.Cleanup(p.Close)
	return NewHandler(Options{
		Hosts: []string{"sidecar.example"}, Origins: []string{"https://app.example"}, MaxHeaders: 4 << 10,
		Endpoints: []Endpoint{{Path: Path, Pipeline: p, MetadataURL: "https://sidecar.example" + MetadataPath, Metadata: &oauthex.ProtectedResourceMetadata{Resource: "https://sidecar.example/mcp"}}},
		Pages:     map[string]http.Handler{"/page": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })},
	})
}

// told is everything behind a pipeline.
type told struct{}

func (told) Record(e audit.Event) error {
	text, err := json.Marshal(e)
	heard.Hear("a record", string(text))
	return err
}

func (told) Write(p []byte) (int, error) { heard.Hear("the log", string(p)); return len(p), nil }

func (told) Do(_ context.Context, x wire.Exchange, s wire.Sink) error {
	body := string(x.Body)
	x.Body = nil
	heard.Hear("the upstream", x, body)
	if err := s.Reply(wire.Reply{Status: http.StatusOK}); err != nil {
		return err
	}
	if err := s.Message(wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":1,"result":{}}`)}); !errors.Is(err, wire.ErrDone) {
		return err
	}
	return nil
}

// anybody lets everybody in but those who show nothing.
type anybody struct{}

func (anybody) Authenticate(_ context.Context, token identity.Secret) (identity.Principal, error) {
	if token.Empty() {
		return identity.Principal{}, identity.ErrInvalid
	}
	return identity.Principal{Issuer: "idp", Subject: "alice"}, nil
}

// TestCanary: wherever in a request a client puts its token, it is not seen again,
// whatever becomes of the request. That the credential of a call is handed on in the
// two fields for it, TestHead holds.
func TestCanary(t *testing.T) {
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	header := func(name, value string) func(*http.Request, string) {
		return func(r *http.Request, token string) { r.Header.Set(name, strings.ReplaceAll(value, "$TOKEN", token)) }
	}
	body := func(text string) func(*http.Request, string) {
		return func(r *http.Request, token string) {
			text := strings.ReplaceAll(text, "$TOKEN", token)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		}
	}
	target := func(target string) func(*http.Request, string) {
		return func(r *http.Request, token string) {
			u, err := r.URL.Parse(strings.ReplaceAll(target, "$TOKEN", token))
			if err != nil {
				t.Fatal(err)
			}
			r.URL = u
		}
	}
	for name, row := range map[string]struct {
		change func(r *http.Request, token string)
		status int
	}{
		"served":                   {func(*http.Request, string) {}, 200},
		"Host":                     {func(r *http.Request, token string) { r.Host = token + ".example" }, 403},
		"Origin":                   {header("Origin", "https://$TOKEN.example"), 403},
		"Content-Type":             {header("Content-Type", "text/$TOKEN"), 400},
		"media type's parameter":   {header("Content-Type", "application/json; x=$TOKEN"), 200},
		"Content-Encoding":         {header("Content-Encoding", "$TOKEN"), 400},
		"Accept":                   {header("Accept", "$TOKEN"), 200},
		"Cookie":                   {header("Cookie", "x=$TOKEN"), 200},
		"User-Agent":               {header("User-Agent", "$TOKEN"), 200},
		"X-Forwarded-For":          {header("X-Forwarded-For", "$TOKEN"), 200},
		"revision":                 {header("Mcp-Protocol-Version", "$TOKEN"), 400},
		"other scheme":             {header("Authorization", "Basic $TOKEN"), 401},
		"no scheme":                {header("Authorization", "$TOKEN"), 401},
		"empty token":              {header("Authorization", "Bearer "), 401},
		"HTTP method":              {func(r *http.Request, token string) { r.Method = token }, 405},
		"large headers":            {func(r *http.Request, token string) { r.Header.Set("X-Long", strings.Repeat(token, 1<<8)) }, 431},
		"large body":               {body(`{"x":"` + strings.Repeat("$TOKEN", 1<<12) + `"}`), 413},
		"broken body":              {body(`{"jsonrpc":"2.0","id":"$TOKEN",,`), 400},
		"id":                       {body(`{"jsonrpc":"2.0","id":"$TOKEN","method":"ping"}`), 200},
		"method":                   {body(`{"jsonrpc":"2.0","id":1,"method":"$TOKEN"}`), 200},
		"query":                    {target("/mcp?access_token=$TOKEN"), 401},
		"other query":              {target("/mcp?x=$TOKEN"), 200},
		"path":                     {target("/$TOKEN"), 404},
		"path behind the endpoint": {target("/mcp/$TOKEN"), 404},
		"metadata":                 {target(MetadataPath + "?x=$TOKEN"), 405},
		"page":                     {target("/page?access_token=$TOKEN"), 200},
		"session's end": {func(r *http.Request, token string) {
			r.Method = http.MethodDelete
			r.Header.Set("Mcp-Session-Id", token)
		}, 404},
		"session's stream": {func(r *http.Request, token string) {
			r.Method = http.MethodGet
			r.Header.Set("Mcp-Session-Id", token)
			r.Header.Set("Last-Event-Id", token)
		}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			h, token := everything(t), newToken(t)
			r := httptest.NewRequest(http.MethodPost, "http://sidecar.example/mcp", strings.NewReader(ping))
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			row.change(r, token)
			if w := ask(t, h, r); w.Code != row.status {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

// The search turns red wherever a piece of a credential is seen.
func TestCanaryTurnsRed(t *testing.T) {
	token, pieces := canary.Sample()
	var own canary.Watch // the others' stays clean
	own.Add("leaked", token)
	for name, piece := range pieces {
		for where, leak := range map[string]func(){
			"an answer":    func() { _, _ = heardWriter{io.Discard}.Write([]byte(piece)) },
			"a call":       func() { hearCall(&pipeline.Call{Head: pipeline.Head{Session: piece}}) },
			"a record":     func() { _ = told{}.Record(audit.Event{Error: piece}) },
			"the log":      func() { _, _ = told{}.Write([]byte(piece)) },
			"the upstream": func() { _ = told{}.Do(context.Background(), wire.Exchange{Body: []byte(piece)}, refusing{}) },
			"an answer ": func() {
				ask(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", piece) }), httptest.NewRequest(http.MethodGet, "/", nil))
			},
		} {
			leak()
			if found := heard.Leaks(&own); len(found) != 1 || !strings.HasPrefix(found[0], strings.TrimSpace(where)+" holds") {
				t.Errorf("%s, %s: found %q", name, where, found)
			}
		}
	}
}

type refusing struct{}

func (refusing) Reply(wire.Reply) error   { return errors.New("refused") }
func (refusing) Message(wire.Event) error { return nil }
