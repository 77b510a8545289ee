package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
	"mcp-sidecar/scenarios/canary"
)

// credentials are all that any caller of any test of this package shows. None may be
// found in what any world lets out. Pipelines of [inspector] are shown none.
var credentials canary.Watch

// heard is what the worlds of this package have let out since the last search.
var heard canary.Record

// watch lets heard hear all that a pipeline made of o sends, records and logs.
func watch(o *Options) {
	if next := o.Authenticator; next != nil {
		o.Authenticator = authenticatorFunc(func(token identity.Secret) (identity.Principal, error) {
			credentials.Add("a caller", token.Reveal())
			return next.Authenticate(context.Background(), token)
		})
	}
	o.Upstream = watched{o.Upstream}
	record := o.Recorder
	o.Recorder = recorderFunc(func(e audit.Event) error {
		text, err := json.Marshal(e)
		heard.Hear("a record", string(text), err)
		return record.Record(e)
	})
	o.Log = slog.New(slog.NewJSONHandler(logWriter{}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logWriter struct{}

func (logWriter) Write(p []byte) (int, error) { heard.Hear("the log", string(p)); return len(p), nil }

// watched hears every exchange. Delegated is heard as it prints: the token in it is
// for the authorization server that exchanges it, and no upstream is sent one.
type watched struct{ next Upstream }

func (u watched) Do(ctx context.Context, x wire.Exchange, s wire.Sink) error {
	body := string(x.Body)
	x.Body = nil
	heard.Hear("the upstream", x, body)
	x.Body = []byte(body)
	return u.next.Do(ctx, x, s)
}

// watchFor watches for whatever c came with.
func watchFor(c *Call) {
	for i := range c.presented.Len() {
		credentials.Add("a caller", c.presented.At(i).Reveal())
	}
}

// checkCanaries looks for every credential that was ever shown. What fuzz targets
// send may be a piece of one by chance, or on purpose, and nothing else than what it
// seems to be; they are not searched, and benchmarks show none.
func (w *world) checkCanaries(t *testing.T) {
	t.Helper()
	if _, ok := w.pipe.opts.Upstream.(watched); !ok {
		t.Error("the upstream was replaced by one that is not watched")
	}
	for _, leak := range heard.Leaks(&credentials) {
		if !strings.HasPrefix(t.Name(), "Fuzz") {
			t.Error(leak)
		}
	}
}

// The search turns red wherever a world lets a piece of a credential out.
func TestCanaryTurnsRed(t *testing.T) {
	token, pieces := canary.Sample()
	signature := pieces["signature"]
	var own canary.Watch // the others' stays clean
	own.Add("leaked", token)
	for name, piece := range pieces {
		for where, leak := range map[string]func(o Options, k *kept){
			"the log":  func(o Options, _ *kept) { o.Log.Debug("leak", "what", piece) },
			"a record": func(o Options, _ *kept) { _ = o.Recorder.Record(audit.Event{Error: piece}) },
			"the upstream": func(o Options, k *kept) {
				_ = o.Upstream.Do(context.Background(), wire.Exchange{Body: []byte(piece)}, nil)
			},
			"an answer": func(_ Options, k *kept) { k.Answer(&Answer{Body: []byte(piece)}) },
		} {
			w := newWorld(t, func(o *Options) {
				o.Upstream = upstreamFunc(func(context.Context, wire.Exchange, wire.Sink) error { return nil })
			})
			leak(w.pipe.opts, &kept{})
			if found := heard.Leaks(&own); len(found) != 1 || !strings.HasPrefix(found[0], where+" holds") {
				t.Errorf("%s, %s: found %q", name, where, found)
			}
		}
	}
	for where, x := range map[string]wire.Exchange{
		"session": {Session: signature}, "name": {Name: signature}, "header": {Params: []wire.Header{{Name: "Mcp-Param-X", Value: signature}}}, "owner": {Owner: signature}, "owners": {Owners: map[string]string{signature: ""}},
	} {
		w := newWorld(t, nil)
		_ = w.pipe.opts.Upstream.Do(context.Background(), x, &discard{})
		if found := heard.Leaks(&own); len(found) != 1 {
			t.Errorf("%s: found %q", where, found)
		}
	}
	for where, leak := range map[string]func(k *kept){
		"session": func(k *kept) { k.Session(signature) }, "event": func(k *kept) { _ = k.Event(wire.Event{Data: []byte(signature)}) }, "id of an event": func(k *kept) { _ = k.Event(wire.Event{ID: signature}) },
		"challenge": func(k *kept) { k.Answer(&Answer{Challenge: &Challenge{Description: signature}}) }, "methods": func(k *kept) { k.Answer(&Answer{Allow: signature}) },
	} {
		leak(&kept{})
		if found := heard.Leaks(&own); len(found) != 1 {
			t.Errorf("%s: found %q", where, found)
		}
	}
}

// What the upstream starts by itself, and what it says once more when a stream is
// resumed, echoes the token of the call no more than the answer does.
func TestEchoOnStreams(t *testing.T) {
	const token, redacted = "token-of-alice", "[REDACTED:credential]"
	ask := wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":"s1","method":"elicitation/create","params":{"message":"is it ` + token + `?","requestedSchema":{"type":"object","properties":{}}}}`)}
	answer := wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"` + token + `"}]}}`)}
	w, session := resumable(t, func(s wire.Sink) error {
		if err := s.Message(ask); err != nil {
			return err
		}
		return s.Message(answer)
	}, func(s wire.Sink) error { return s.Message(answer) })
	call := message(`{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"read","arguments":{}}}`)
	again := message("")
	again.Verb = wire.Watch
	call.Head.Session, again.Head.Session = session, session
	w.pipe.opts.Output = []guards.Output{secrets.New()}
	w.pipe.sessions.byID[session].capabilities = []string{"elicitation"}
	if k := w.handle(call); !strings.Contains(fmt.Sprint(k.events), "is it "+redacted) || !strings.Contains(string(k.answer.Body), redacted) {
		t.Errorf("%q, %s", k.events, k.answer.Body)
	}
	if k := w.handle(again); !strings.Contains(fmt.Sprint(k.events), redacted) {
		t.Errorf("resumed: %q", k.events)
	}
}
