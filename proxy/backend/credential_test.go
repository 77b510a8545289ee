package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// purse is a source that yields one credential after the other.
type purse struct {
	values  []string
	err     error
	renewed int

	mu      sync.Mutex
	callers []*identity.Delegation
}

func (p *purse) Current(ctx context.Context, caller *identity.Delegation) (identity.Credential, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.callers = append(p.callers, caller)
	if p.err != nil || len(p.values) == 0 {
		return identity.Credential{}, p.err
	}
	s, err := identity.NewStored(identity.StoredOptions{Value: identity.NewSecret(p.values[0])})
	if err != nil {
		return identity.Credential{}, err
	}
	return s.Current(ctx, caller)
}

func (p *purse) Renew(ctx context.Context, caller *identity.Delegation, _ identity.Credential) (identity.Credential, bool) {
	p.mu.Lock()
	p.renewed++
	more := len(p.values) > 1
	if more {
		p.values = p.values[1:]
	}
	p.mu.Unlock()
	c, err := p.Current(ctx, caller)
	return c, more && err == nil
}

// A credential that is refused is replaced once, for every kind of exchange, and
// the same bytes are sent again.
func TestRefusedCredential(t *testing.T) {
	for _, row := range []struct {
		name   string
		values string // that the source yields, in order
		takes  string // what the upstream takes
		sent   string // what it is shown
		status int
	}{
		{"taken", "a b", "a", "a", 200},
		{"replaced", "a b", "b", "a b", 200},
		{"replaced in vain", "a b c", "c", "a b", 401},
		{"nothing else", "a", "b", "a", 401},
	} {
		for verb, x := range map[string]wire.Exchange{
			"call":           {Body: []byte(`{"n":1}`), Call: true, Method: "tools/call"},
			"stream":         {Body: []byte(`{"n":1}`), Call: true, Long: true},
			"session's end":  {Verb: wire.End, Session: "s"},
			"session stream": {Verb: wire.Watch, Session: "s", Long: true},
		} {
			t.Run(row.name+"/"+verb, func(t *testing.T) {
				p := &purse{values: strings.Fields(row.values)}
				var sent []string
				u := upstream(t, Options{Credential: Credential{Header: "X-Key", Source: p}}, func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if string(body) != string(x.Body) {
						t.Errorf("the upstream read %q", body)
					}
					key := r.Header.Get("X-Key")
					sent = append(sent, key)
					w.Header().Set("Content-Type", "application/json")
					if key != row.takes {
						w.WriteHeader(http.StatusUnauthorized)
					}
					_, _ = io.WriteString(w, `{}`)
				})
				sink := &taker{}
				if err := u.Do(t.Context(), x, sink); err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(sent, " "); got != row.sent || sink.reply.Status != row.status || sink.replies != 1 || len(sink.events) != 1 {
					t.Errorf("shown %q, want %q; %+v", got, row.sent, sink)
				}
			})
		}
	}
}

// Only 401 is about the credential alone: anything else may have been done.
func TestCredentialIsKept(t *testing.T) {
	for _, status := range []int{200, 202, 400, 403, 404, 407, 500, 503} {
		p := &purse{values: []string{"a", "b"}}
		sent := 0
		u := upstream(t, Options{Credential: Credential{Header: "X-Key", Source: p}}, func(w http.ResponseWriter, _ *http.Request) {
			sent++
			w.WriteHeader(status)
		})
		if err := u.Do(t.Context(), wire.Exchange{Body: []byte("{}")}, &taker{}); err != nil || sent != 1 || p.renewed != 0 {
			t.Errorf("%d: %v, sent %d times, renewed %d times", status, err, sent, p.renewed)
		}
	}
}

// Without a credential nothing is sent: as nobody, an upstream may let more pass.
func TestNoCredential(t *testing.T) {
	for name, p := range map[string]*purse{
		"an error":      {err: identity.ErrNoCredential},
		"an empty one":  {},
		"an empty text": {values: []string{""}},
	} {
		touched := false
		u := upstream(t, Options{Credential: Credential{Header: "X-Key", Source: p}}, func(http.ResponseWriter, *http.Request) { touched = true })
		sink := &taker{}
		if err := u.Do(t.Context(), wire.Exchange{Body: []byte("{}")}, sink); !errors.Is(err, identity.ErrNoCredential) || errors.Is(err, ErrTransport) || touched || sink.replies != 0 {
			t.Errorf("%s: %v, touched %v", name, err, touched)
		}
		if err := u.Ready(t.Context()); err == nil || touched {
			t.Errorf("%s: ready without a credential: %v", name, err)
		}
	}
}

// Whoever an exchange is made for reaches the source, and nothing that stands for
// nobody does.
func TestCallerOfCredential(t *testing.T) {
	p := &purse{values: []string{"a"}}
	u := upstream(t, Options{Credential: Credential{Header: "X-Key", Source: p}}, func(http.ResponseWriter, *http.Request) {})
	alice := identity.NewDelegation(identity.Principal{Subject: "alice"}, identity.NewSecret("t"))
	for _, d := range []wire.Delegated{alice, nil, stranger{}} {
		if err := u.Do(t.Context(), wire.Exchange{Body: []byte("{}"), Delegated: d}, &taker{}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(p.callers, []*identity.Delegation{alice, nil, nil}) {
		t.Errorf("asked for %v", p.callers)
	}
}

type stranger struct{}

func (stranger) Delegated() {}

// A probe has no caller: an upstream that wants one answers all the same.
func TestReadyWithoutCaller(t *testing.T) {
	for status, ready := range map[int]bool{200: true, 401: true, 403: true, 404: true, 407: false, 302: false, 500: false} {
		p := &purse{err: identity.ErrNoCredential}
		u := upstream(t, Options{Credential: Credential{Header: "X-Key", Source: p, PerCaller: true}}, func(w http.ResponseWriter, r *http.Request) {
			if _, there := r.Header["X-Key"]; there {
				t.Error("a probe shows a credential that is nobody's")
			}
			w.WriteHeader(status)
		})
		if err := u.Ready(t.Context()); (err == nil) != ready {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// No field of an exchange can hold what clients present.
func TestExchangeHoldsNoClientCredential(t *testing.T) {
	secret, delegated := reflect.TypeFor[identity.Secret](), reflect.TypeFor[wire.Delegated]()
	if secret.Implements(delegated) || reflect.PointerTo(secret).Implements(delegated) {
		t.Error("a client's token can stand for its caller")
	}
	x := reflect.TypeFor[wire.Exchange]()
	for i := range x.NumField() {
		f := x.Field(i)
		if secret.AssignableTo(f.Type) || secret.ConvertibleTo(f.Type) || reflect.PointerTo(secret).AssignableTo(f.Type) {
			t.Errorf("%s can hold a client's token", f.Name)
		}
		if f.Type.Kind() == reflect.Interface && f.Type != delegated {
			t.Errorf("%s can hold anything", f.Name)
		}
	}
}

// A child gets the credential as it is when the child starts. One that is missing
// says nothing of the command, so nobody waits longer each time.
func TestStdioCredential(t *testing.T) {
	var entry string
	var err error
	s := children(t, "server", StdioOptions{Env: []string{"A=1"}, Credential: func(context.Context) (string, error) { return entry, err }})
	read := func(owner string) []string {
		t.Helper()
		got := lists(t, do(t, s, statelessly(owner, request("1", "env", ""))))
		return slices.DeleteFunc(got, func(e string) bool { return e != "A=1" && !strings.HasPrefix(e, "KEY=") })
	}
	entry = "KEY=first"
	if got := read("a"); !slices.Equal(got, []string{"A=1", "KEY=first"}) {
		t.Errorf("%q", got)
	}
	entry = "KEY=second"
	if got := read("a"); !slices.Contains(got, "KEY=first") {
		t.Errorf("a child that runs has %q", got)
	}
	if got := read("b"); !slices.Contains(got, "KEY=second") || slices.Contains(got, "KEY=first") {
		t.Errorf("a new child has %q", got)
	}
	err = identity.ErrNoCredential
	for range 3 {
		if _, got := doErr(t, s, statelessly("c", request("1", "env", ""))); !errors.Is(got, identity.ErrNoCredential) {
			t.Errorf("%v", got)
		}
	}
	err = nil
	read("c")
}

// What the way to a server is made of prints no credential.
func TestBackendPrintsNoCredential(t *testing.T) {
	const canary = "CANARY7OF9A2SECRET"
	o := Options{URL: "https://docs.example/mcp", Credential: Credential{Header: "X-Key", Source: kept(t, canary)}}
	h, err := NewHTTP(o)
	if err != nil {
		t.Fatal(err)
	}
	alice := identity.NewDelegation(identity.Principal{Subject: "alice"}, identity.NewSecret(canary))
	for name, v := range map[string]any{"credential": o.Credential, "options": o, "way": h, "exchange": wire.Exchange{Delegated: alice}, "delegation": alice} {
		text := fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v)
		if b, err := json.Marshal(v); err == nil {
			text += string(b)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		if text += log.String(); strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("%s is printed: %s", name, text)
		}
	}
}
