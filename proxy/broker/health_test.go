package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mcp-sidecar/proxy/identity"
)

// retryPause is how long a login provider or third party that fails is left alone.
const retryPause = 2 * time.Second

// due keeps a grant that has to be renewed for each of n users, and returns what
// makes a call of user i.
func (r *rig) due(n int) (call func(i int) error) {
	r.t.Helper()
	for i := range n {
		t := tokens{Access: identity.NewSecret(fmt.Sprint("third-access-due-", i)), Refresh: identity.NewSecret(fmt.Sprint("third-refresh-due-", i)), Expires: r.clock.Now()}
		if err := r.broker.keep(r.broker.principal(fmt.Sprint("user-", i), webClient, "docs"), t); err != nil {
			r.t.Fatal(err)
		}
	}
	return func(i int) error {
		_, err := r.broker.Token(context.Background(), identity.Principal{Issuer: r.server.URL, Subject: fmt.Sprint("user-", i), ClientID: webClient}, "docs")
		return err
	}
}

// A third party whose token endpoint fails is asked once for all calls, again after
// two seconds, and used as soon as it answers.
func TestThirdPartyFails(t *testing.T) {
	for name, fail := range map[string]func(url.Values, map[string]any) int{
		"down":           func(url.Values, map[string]any) int { return http.StatusInternalServerError },
		"error and down": func(_ url.Values, m map[string]any) int { clear(m); m["error"] = "server_error"; return 503 },
		"garbage":        func(_ url.Values, m map[string]any) int { m["access_token"] = 1; return 200 },
		"no token":       func(_ url.Values, m map[string]any) int { clear(m); return 200 },
		"other type":     func(_ url.Values, m map[string]any) int { m["token_type"] = "mac"; return 200 },
		"no reason":      func(_ url.Values, m map[string]any) int { clear(m); return 400 },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.third.reply = fail
			const users = 6
			call := r.due(users)
			refused := func(asked int) {
				t.Helper()
				for i := range users {
					if err := call(i); !errors.Is(err, identity.ErrUnavailable) || errors.Is(err, ErrNoGrant) {
						t.Errorf("user %d: %v", i, err)
					}
				}
				if n := len(r.third.refreshed()); n != asked {
					t.Errorf("asked %d times, want %d", n, asked)
				}
			}
			refused(1)
			r.clock.advance(retryPause - 1)
			refused(1)
			r.clock.advance(1)
			refused(2)
			r.third.mu.Lock()
			r.third.reply = nil
			r.third.mu.Unlock()
			refused(2)
			r.clock.advance(retryPause)
			for i := range users {
				if err := call(i); err != nil {
					t.Errorf("after the repair, user %d: %v", i, err)
				}
			}
			if n := len(r.third.refreshed()); n != 2+users {
				t.Errorf("after the repair asked %d times", n)
			}
			if log := r.log.String(); strings.Count(log, "token endpoint fails") != 1 || strings.Count(log, "answers again") != 1 {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// What a third party says about one grant is no failure for the others.
func TestThirdPartyRefusesOne(t *testing.T) {
	for name, row := range map[string]struct {
		code   string
		status int
		want   error
	}{
		"refused":                 {"invalid_scope", http.StatusBadRequest, identity.ErrUnavailable},
		"refused, unauthorized":   {"invalid_client", http.StatusUnauthorized, identity.ErrUnavailable},
		"refused in an answer":    {"bad_refresh_token", http.StatusOK, identity.ErrUnavailable},
		"the grant is over":       {"invalid_grant", http.StatusBadRequest, ErrNoGrant},
		"over, said in an answer": {"invalid_grant", http.StatusOK, ErrNoGrant},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.third.reply = func(v url.Values, m map[string]any) int {
				if v.Get("refresh_token") != "third-refresh-due-0" {
					return http.StatusOK
				}
				clear(m)
				m["error"] = row.code
				return row.status
			}
			call := r.due(2)
			if err := call(0); !errors.Is(err, row.want) {
				t.Error(err)
			}
			if err := call(1); err != nil {
				t.Errorf("another user: %v", err)
			}
		})
	}
}

// While one call waits for a third party that hangs and has failed before, the
// others do not wait.
func TestThirdPartyHangs(t *testing.T) {
	asked, hang := make(chan struct{}, 4), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked <- struct{}{}
		if q.FormValue("refresh_token") != "third-refresh-due-0" {
			<-hang
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer server.Close()
	fetch, err := identity.NewFetcher(identity.FetchOptions{URLs: []string{server.URL}, AllowLoopbackHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer fetch.Close()
	r := start(t, func(o *Options) {
		u := o.Upstreams["docs"]
		u.Provider.TokenURL, u.Provider.Fetch = server.URL, fetch
		o.Upstreams["docs"] = u
	})
	call := r.due(6)
	if err := call(0); !errors.Is(err, identity.ErrUnavailable) {
		t.Error(err)
	}
	<-asked
	r.clock.advance(retryPause)
	waiting := make(chan error)
	go func() { waiting <- call(1) }()
	<-asked
	for i := 2; i < 6; i++ {
		if err := call(i); !errors.Is(err, identity.ErrUnavailable) || !errors.Is(err, errJustFailed) {
			t.Errorf("user %d: %v", i, err)
		}
	}
	select {
	case err := <-waiting:
		t.Errorf("the question has ended: %v", err)
	default:
	}
	close(hang)
	if err := <-waiting; !errors.Is(err, identity.ErrUnavailable) || len(asked) != 0 {
		t.Errorf("%v, and %d more questions", err, len(asked))
	}
}

// A login provider that answers, but nothing that can be used, is left alone like one
// that does not answer; two seconds after it is repaired users log in.
func TestLoginProviderAnswersNonsense(t *testing.T) {
	const metadata, keys = "/.well-known/openid-configuration", "/jwks"
	for name, row := range map[string]struct {
		path   string
		status int
		body   string
	}{
		"metadata: down":               {metadata, http.StatusInternalServerError, "{}"},
		"metadata: no JSON":            {metadata, http.StatusOK, "<html>"},
		"metadata: another issuer":     {metadata, http.StatusOK, `{"issuer":"https://other.example"}`},
		"metadata: a wrong type":       {metadata, http.StatusOK, `{"issuer":1}`},
		"metadata: endpoints are none": {metadata, http.StatusOK, `{"issuer":"ISSUER","authorization_endpoint":"ISSUER/authorize","token_endpoint":"","jwks_uri":"ISSUER/jwks"}`},
		"keys: down":                   {keys, http.StatusInternalServerError, "{}"},
		"keys: no JSON":                {keys, http.StatusOK, "<html>"},
		"keys: a wrong type":           {keys, http.StatusOK, `{"keys":1}`},
		"keys: a key that is none":     {keys, http.StatusOK, `{"keys":[{"kty":"EC","crv":"P-256","x":"?","y":"?"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			var asked atomic.Int32
			var repaired atomic.Bool
			good := r.login.Config.Handler
			r.login.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Path == row.path {
					asked.Add(1)
				}
				if q.URL.Path != row.path || repaired.Load() {
					good.ServeHTTP(w, q)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(row.status)
				_, _ = w.Write([]byte(strings.ReplaceAll(row.body, "ISSUER", r.login.URL)))
			})
			login := func() bool {
				b := r.browser()
				p := b.get(r.authorizeURL(r.request()))
				if strings.HasPrefix(p.to, r.login.URL) {
					p = b.get(b.get(p.to).to)
				}
				return strings.HasPrefix(p.to, r.server.URL+consentPath)
			}
			refused := func(want int32) {
				t.Helper()
				for range 3 {
					if login() {
						t.Error("logged in")
					}
				}
				if n := asked.Load(); n != want {
					t.Errorf("asked %d times, want %d", n, want)
				}
			}
			refused(1)
			r.clock.advance(retryPause - 1)
			refused(1)
			r.clock.advance(1)
			refused(2)
			repaired.Store(true)
			refused(2)
			r.clock.advance(retryPause)
			if !login() || asked.Load() != 3 {
				t.Errorf("after the repair no login; asked %d times", asked.Load())
			}
			if n := r.third.touched(); n != 0 {
				t.Errorf("the third party was reached %d times", n)
			}
		})
	}
}

// walk goes all the way with a right request and says how far it comes.
func (r *rig) walk() string {
	r.t.Helper()
	b := r.browser()
	p := b.get(r.authorizeURL(r.request()))
	if !strings.HasPrefix(p.to, r.login.URL) {
		return "authorize"
	}
	p = b.get(b.get(p.to).to)
	if !strings.HasPrefix(p.to, r.server.URL+consentPath) {
		return "login"
	}
	f := formOf(b.get(p.to).body)
	f.Set("decision", "approve")
	p = b.get(b.get(b.post(consentPath, f).to).to)
	u, err := url.Parse(p.to)
	if err != nil || u.Query().Get("code") == "" {
		return "third party"
	}
	return "code"
}

// Answers of the providers are right but for their way or size: a redirect is not
// followed, not even to the same host, and more than 1 MiB is not read.
func TestProvidersRedirectOrFlood(t *testing.T) {
	ways := map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"as it is": func(w http.ResponseWriter, q *http.Request, good http.Handler) { good.ServeHTTP(w, q) },
		"redirect": func(w http.ResponseWriter, q *http.Request, good http.Handler) {
			if q.URL.RawQuery == "again" {
				good.ServeHTTP(w, q)
				return
			}
			http.Redirect(w, q, q.URL.Path+"?again", http.StatusTemporaryRedirect)
		},
		"huge": func(w http.ResponseWriter, q *http.Request, good http.Handler) {
			kept := httptest.NewRecorder() // it reads the request, which must come before any answer
			good.ServeHTTP(kept, q)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(kept.Code)
			_, _ = w.Write([]byte(strings.Repeat(" ", 1<<20) + kept.Body.String()))
		},
	}
	for name, row := range map[string]struct {
		party func(*rig) *fakeParty
		path  string
		stops string
	}{
		"login metadata":    {func(r *rig) *fakeParty { return &r.login.fakeParty }, "/.well-known/openid-configuration", "authorize"},
		"login token":       {func(r *rig) *fakeParty { return &r.login.fakeParty }, "/token", "login"},
		"login keys":        {func(r *rig) *fakeParty { return &r.login.fakeParty }, "/jwks", "login"},
		"third party token": {func(r *rig) *fakeParty { return &r.third.fakeParty }, "/token", "third party"},
	} {
		for way, answer := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				r := start(t)
				p := row.party(r)
				good, again := p.Config.Handler, atomic.Bool{}
				p.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if q.URL.Path != row.path {
						good.ServeHTTP(w, q)
						return
					}
					if q.URL.RawQuery != "" {
						again.Store(true)
					}
					answer(w, q, good)
				})
				want := row.stops
				if way == "as it is" {
					want = "code"
				}
				if got := r.walk(); got != want || again.Load() {
					t.Errorf("came as far as %q, want %q; followed: %v", got, want, again.Load())
				}
				if want != "code" && len(r.files(kindGrant)) != 0 {
					t.Error("a grant is kept")
				}
			})
		}
	}
}
