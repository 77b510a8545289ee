package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/command"
	"mcp-sidecar/guards/consent"
	"mcp-sidecar/guards/injection"
	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// BenchmarkDecision measures one call through the whole pipeline without any
// socket: what the sidecar adds to the cost of HTTP. The audit file is real.
func BenchmarkDecision(b *testing.B) {
	for _, size := range []int{100, 10 << 10, 100 << 10} {
		b.Run(sizeText(size), func(b *testing.B) {
			all, err := exchanges(stateless, size)
			if err != nil {
				b.Fatal(err)
			}
			up := &memoryUpstream{answers: make(map[string][]byte)}
			for v, x := range all {
				up.answers[string(x.body)] = []byte(`{"jsonrpc":"2.0",` + string(x.want) + `}`)
				all[v].want = up.answers[string(x.body)]
			}
			p := newPipeline(b, up)
			b.Cleanup(p.Close)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				x := all[n%len(all)]
				var s keeper
				p.Handle(b.Context(), benchCall(x.body), &s)
				if string(s.answer.Body) != string(x.want) {
					b.Fatalf("answer %.300q", s.answer.Body)
				}
			}
		})
	}
}

func benchCall(body []byte) *pipeline.Call {
	return &pipeline.Call{
		Transport: "http",
		Head: pipeline.Head{
			Version:       pipeline.Header{Value: stateless, Present: true},
			Method:        pipeline.Header{Value: "tools/call", Present: true},
			Name:          pipeline.Header{Value: "echo", Present: true},
			Authorization: identity.NewSecrets("Bearer " + strings.Repeat("example-token-", 2)),
		},
		Body: pipeline.Body{Reader: bytes.NewReader(body), Size: int64(len(body))},
	}
}

// newPipeline builds what sidecar.yaml describes.
func newPipeline(b *testing.B, up pipeline.Upstream) *pipeline.Pipeline {
	b.Helper()
	cfg, err := config.Parse("sidecar.yaml", []byte(sidecarConfig))
	if err != nil {
		b.Fatal(err)
	}
	rules, err := policy.Load(strings.NewReader(string(sidecarPolicy)), "policy.csv", nil)
	if err != nil {
		b.Fatal(err)
	}
	records, err := audit.Open(filepath.Join(b.TempDir(), "audit.jsonl"), audit.Options{Redact: func(s string) string { clean, _ := secrets.Redact(s); return clean }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = records.Close() })
	issuer := httptest.NewServer(http.HandlerFunc(activeToken))
	b.Cleanup(issuer.Close)
	fetcher, err := identity.NewFetcher(identity.FetchOptions{URLs: []string{issuer.URL}, AllowLoopbackHTTP: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(fetcher.Close)
	tool := cfg.Tools["notes/echo"]
	return pipeline.New(pipeline.Options{
		Server: "notes",
		Authenticator: identity.NewIntrospector(identity.IntrospectionOptions{
			URL: issuer.URL, Audience: []string{audience}, Fetcher: fetcher,
		}),
		Policy:  func() (pipeline.Authorizer, error) { return rules, nil },
		Catalog: policy.NewCatalog(map[string]policy.Entry{"notes/echo": {Permission: policy.Permission{Object: tool.Resource, Action: tool.Action}, Scopes: tool.Scopes}}),
		Rules:   map[string]pipeline.ToolRule{"echo": {}},
		Input: []guards.Input{
			command.New(map[string]map[string]command.Rule{"notes/echo": {"format": {Enum: tool.Args["format"].Enum}}}),
			consent.New(func(*guards.Call) consent.Mode { return consent.Off }),
			ssrf.New(ssrf.NewStatic(cfg.DNS.Hosts, nil), map[string]map[string]ssrf.Rule{"notes/echo": {"link": {Hosts: tool.Args["link"].SSRF.Hosts}}}),
		},
		Output:       []guards.Output{secrets.New(), injection.New()},
		Upstream:     up,
		Recorder:     records,
		NeedsConfirm: func(*guards.Call) bool { return false },
		Note:         injection.Note,
		Limits:       pipeline.Limits{RequestBody: maxSize, Tools: 8, ToolDefinition: 64 << 10, Sessions: 1, Concurrent: 8},
	})
}

// activeToken is an issuer that knows every token.
func activeToken(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"active":true,"sub":"`+subject+`","aud":"`+audience+`","scope":"`+scope+`"}`)
}

// memoryUpstream answers from memory.
type memoryUpstream struct{ answers map[string][]byte }

func (u *memoryUpstream) Do(_ context.Context, x wire.Exchange, s wire.Sink) error {
	if err := s.Reply(wire.Reply{Status: http.StatusOK}); err != nil {
		return err
	}
	answer, ok := u.answers[string(x.Body)]
	if !ok {
		answer = []byte(`{"jsonrpc":"2.0","id":"mcp-sidecar/inventory","result":{"tools":[` + echoTool + `]}}`)
	}
	return ignoreDone(s.Message(wire.Event{Data: answer}))
}

func ignoreDone(err error) error {
	if err == wire.ErrDone { //nolint:errorlint // the sink returns it as it is
		return nil
	}
	return err
}

// keeper is a client that keeps the answer.
type keeper struct{ answer *pipeline.Answer }

func (k *keeper) Session(string)            {}
func (k *keeper) Open(bool)                 {}
func (k *keeper) Event(wire.Event) error    { return nil }
func (k *keeper) Answer(a *pipeline.Answer) { k.answer = a }
