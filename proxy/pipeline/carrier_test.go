package pipeline

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// pipeWorld authenticates "token-of-NAME" as NAME, and answers every initialize.
func pipeWorld(t *testing.T, change func(*Options)) *world {
	return newWorld(t, func(o *Options) {
		o.Authenticator = authenticatorFunc(func(token identity.Secret) (identity.Principal, error) {
			name, ok := strings.CutPrefix(token.Reveal(), "token-of-")
			if !ok {
				return identity.Principal{}, identity.ErrInvalid
			}
			return identity.Principal{Issuer: "idp", Subject: name}, nil
		})
		next := o.Upstream
		o.Upstream = upstreamFunc(func(ctx context.Context, x wire.Exchange, s wire.Sink) error {
			if !bytes.Contains(x.Body, []byte(`"method":"initialize"`)) {
				return next.Do(ctx, x, s)
			}
			if err := s.Reply(wire.Reply{Status: 200, Session: "child"}); err != nil {
				return pass(err)
			}
			return pass(s.Message(wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`)}))
		})
		if change != nil {
			change(o)
		}
	})
}

// line is a message that came over a pipe.
func line(body string) *Call {
	return &Call{Transport: Stdio, Body: Body{Reader: strings.NewReader(body), Size: int64(len(body))}}
}

func lineCall(meta, session string) *Call {
	c := line(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":1},"_meta":{` + meta + `}}}`)
	c.Head.Session = session
	return c
}

const modernMeta = `"` + metaVersion + `":"` + revisionModern + `"`

// A token in _meta says who sent a message of a pipe, and goes no further.
func TestTokenInMeta(t *testing.T) {
	for _, row := range []struct {
		name    string
		meta    string
		env     string
		http    bool
		subject string // empty: refused
		forward string // _meta as the upstream gets it
	}{
		{"first member", `"mcp-sidecar/token":"token-of-alice",` + modernMeta, "", false, "alice", `{` + modernMeta + `}`},
		{"last member", modernMeta + ` , "mcp-sidecar/token" : "token-of-bob"`, "", false, "bob", `{` + modernMeta + ` }`},
		{"escaped", modernMeta + `,"mcp-sidecar\/token":"token-of-\u0062ob"`, "", false, "bob", `{` + modernMeta + `}`},
		{"beside other members", `"a":1,"mcp-sidecar/token":"token-of-bob",` + modernMeta, "", false, "bob", `{"a":1,` + modernMeta + `}`},
		{"from the environment", modernMeta, "token-of-alice", false, "alice", `{` + modernMeta + `}`},
		{"in both", `"mcp-sidecar/token":"token-of-alice",` + modernMeta, "token-of-alice", false, "", ""},
		{"in neither", modernMeta, "", false, "", ""},
		{"invalid", `"mcp-sidecar/token":"forged-token",` + modernMeta, "", false, "", ""},
		{"number", `"mcp-sidecar/token":7,` + modernMeta, "", false, "", ""},
		{"empty", `"mcp-sidecar/token":"",` + modernMeta, "", false, "", ""},
		{"over HTTP", `"mcp-sidecar/token":"token-of-alice",` + modernMeta, "", true, "", ""},
		{"over HTTP beside the header", `"mcp-sidecar/token":"token-of-alice",` + modernMeta, "token-of-alice", true, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := pipeWorld(t, nil)
			c := lineCall(row.meta, "")
			if row.env != "" {
				c.Head.Authorization = identity.NewSecrets("Bearer " + row.env)
			}
			if row.http {
				c.Transport = HTTP
				c.Head.Version = Header{Value: revisionModern, Present: true}
				c.Head.Method, c.Head.Name = Header{Value: "tools/call", Present: true}, Header{Value: "read", Present: true}
			}
			k := w.handle(c)
			records := w.outcomes()
			if row.subject == "" {
				if w.touched() != 0 || k.answer.Outcome != AuthFailed || records[0].Subject != "" {
					t.Errorf("touched %d, %+v, %+v", w.touched(), k.answer, records)
				}
				// Over stdio a model reads why; over HTTP there is a challenge.
				if got := bytes.Contains(k.answer.Body, []byte(`"isError":true`)); got == row.http || (k.answer.Challenge != nil) != row.http {
					t.Errorf("%s, %+v", k.answer.Body, k.answer.Challenge)
				}
				return
			}
			if k.answer.Outcome != Allowed || records[0].Subject != row.subject || w.touched() != 1 {
				t.Fatalf("%+v %s, %+v", k.answer, k.answer.Body, records)
			}
			want := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":1},"_meta":` + row.forward + `}}`
			if got := string(w.calls[0].Body); got != want {
				t.Errorf("forwarded %s\nwant      %s", got, want)
			}
		})
	}
}

// A token in _meta is a credential: it must not stand elsewhere in its message.
func TestTokenInMetaTwice(t *testing.T) {
	w := pipeWorld(t, nil)
	c := line(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":"token-of-alice"},"_meta":{"mcp-sidecar/token":"token-of-alice",` + modernMeta + `}}}`)
	if k := w.handle(c); k.answer.Outcome != Blocked || w.touched() != 0 {
		t.Errorf("%+v", k.answer)
	}
}

// What opens a pipe is passed before anybody is authenticated. The session that it
// opens belongs to the first principal who uses it, or to all where the upstream
// is shared.
func TestPipeSession(t *testing.T) {
	for _, shared := range []bool{false, true} {
		w := pipeWorld(t, func(o *Options) { o.SharedPipe = shared })
		k := w.handle(line(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`))
		if k.answer.Outcome != Allowed || k.session == "" {
			t.Fatalf("%+v %s", k.answer, k.answer.Body)
		}
		in := func(who string) *Call { return lineCall(`"mcp-sidecar/token":"token-of-`+who+`"`, k.session) }
		stranger := lineCall(`"a":1`, k.session)
		if got := w.handle(stranger); got.answer.Outcome != AuthFailed || w.touched() != 0 {
			t.Errorf("a call without a token: %+v", got.answer)
		}
		if got := w.handle(in("alice")); got.answer.Outcome != Allowed {
			t.Errorf("alice: %+v %s", got.answer, got.answer.Body)
		}
		before := w.touched()
		got := w.handle(in("bob"))
		if (got.answer.Outcome == Allowed) != shared || !shared && (w.touched() != before || !bytes.Contains(got.answer.Body, []byte("shared: true"))) {
			t.Errorf("shared %v: bob reads %+v %s", shared, got.answer, got.answer.Body)
		}
		if got := w.handle(in("alice")); got.answer.Outcome != Allowed || w.calls[len(w.calls)-1].Session != "child" || w.calls[len(w.calls)-1].Version != "2025-11-25" {
			t.Errorf("alice again: %+v", got.answer)
		}
		// Opening grants nothing: the list of tools wants a token.
		if list := line(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`); true {
			list.Head.Session = k.session
			if got := w.handle(list); got.answer.Outcome != AuthFailed {
				t.Errorf("tools/list: %+v", got.answer)
			}
		}
	}
}

// Over a pipe the revision stands in the message, and nothing mirrors it.
func TestPipeRevision(t *testing.T) {
	for meta, want := range map[string]Outcome{
		modernMeta:                           Allowed,
		`"` + metaVersion + `":"2027-01-01"`: ProtocolRejected,
		`"` + metaVersion + `":7`:            ProtocolRejected,
		`"other":1`:                          Allowed, // of an older revision
	} {
		w := pipeWorld(t, nil)
		c := lineCall(meta, "")
		c.Head.Authorization = identity.NewSecrets("Bearer token-of-alice")
		if k := w.handle(c); k.answer.Outcome != want || (w.touched() == 1) != (want == Allowed) {
			t.Errorf("%s: %+v %s", meta, k.answer, k.answer.Body)
		}
	}
}

// A guard has no use for the caller's token, and what it is not shown it cannot
// quote.
func TestTokenArgumentIsNotInspected(t *testing.T) {
	var seen []string
	w := pipeWorld(t, func(o *Options) {
		o.Token = Property{Name: "token", Schema: []byte(`{}`)}
		o.Input = []guards.Input{inputFunc(func(c *guards.Call) guards.Decision {
			for _, a := range c.Args {
				seen = append(seen, a.Path)
			}
			return guards.Decision{}
		})}
	})
	k := w.handle(line(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":1,"token":"token-of-alice","y":{"token":"z"}},"_meta":{` + modernMeta + `}}}`))
	if k.answer.Outcome != Allowed || w.outcomes()[0].Subject != "alice" || !slices.Equal(seen, []string{"x", "y", "y.token"}) {
		t.Errorf("%+v, seen %q", k.answer, seen)
	}
}

// An answer that comes once more is inspected with the call as it was: its token is
// still none of the tool's arguments.
func TestTokenArgumentAgain(t *testing.T) {
	m, err := wire.Scan([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"token":"token-of-alice"}}}`), wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c := &Call{Msg: m, carrier: m.At(m.Params, "arguments", "token")}
	if again := c.again(); again.Msg.Text(again.carrier) != "token-of-alice" {
		t.Errorf("the carrier is node %d, was %d", again.carrier, c.carrier)
	}
}

// Whatever else stands in the arguments: a call whose argument token is good reaches
// the upstream without it and with everything else, or not at all.
func FuzzTokenArgument(f *testing.F) {
	for _, args := range []string{`{"x":1}`, `{}`, ` { "a" : [ {"token":"x"} ] , "b":1.0 } `, `{"Token":1}`, `{"t\u006fken":2}`, `{"x":"token-of-alice"}`, `{"":{}}`} {
		f.Add(args, uint8(0))
		f.Add(args, uint8(2))
	}
	f.Fuzz(func(t *testing.T, args string, at uint8) {
		m, err := wire.Scan([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":`+args+`}}`), wire.Limits{})
		if err != nil {
			return
		}
		object := m.At(m.Params, "arguments")
		if object == wire.Absent || m.Nodes[object].Kind != '{' || m.Member(object, "token") != wire.Absent || len(m.Raw) > 1<<16 {
			return
		}
		with, err := wire.Splice(m.Raw, planted(m, object, int(at)))
		if err != nil {
			t.Fatal(err)
		}
		w := pipeWorld(t, func(o *Options) { o.Token = Property{Name: "token", Schema: []byte(`{}`)} })
		defer w.pipe.Close()
		k := w.handle(line(string(with)))
		switch {
		case k.answer.Outcome != Allowed && w.touched() != 0:
			t.Errorf("refused and forwarded: %s", with)
		case k.answer.Outcome != Allowed:
		case canonical(w.calls[0].Body) != canonical(m.Raw):
			t.Errorf("%s\nwas forwarded as %s", with, w.calls[0].Body)
		case w.outcomes()[0].Subject != "alice":
			t.Errorf("%+v", w.outcomes())
		}
	})
}

// planted puts the token in front of the member at, or behind all.
func planted(m *wire.Message, object, at int) []wire.Patch {
	const token = `"token":"token-of-alice"`
	for i := range m.Children(object) {
		if at--; at < 0 {
			n := int(m.Nodes[i].NameStart)
			return []wire.Patch{{Start: n, End: n, New: []byte(token + ",")}}
		}
	}
	return m.Edit(object, nil, wire.Field{Name: "token", Value: []byte(`"token-of-alice"`)})
}
