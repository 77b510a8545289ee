package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// endpoint is an introspection endpoint without a network.
type endpoint struct {
	asked  atomic.Int64
	answer func(token string, r *http.Request) (status int, media, body string)
	wait   func(r *http.Request) error // before the answer
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	e.asked.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if e.wait != nil {
		if err := e.wait(r); err != nil {
			return nil, err
		}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	status, media, text := e.answer(form.Get("token"), r)
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func always(body string) func(string, *http.Request) (int, string, string) {
	return func(string, *http.Request) (int, string, string) { return 200, "application/json", body }
}

const activeAlice = `{"active":true,"sub":"alice","client_id":"cli","aud":"doc-server","scope":" a:b  c:d\t"}`

// stopped is a clock that a test moves.
type stopped struct {
	mu  sync.Mutex
	now time.Time
}

func (s *stopped) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stopped) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// fetcherOf asks e for whatever stands at idp.example.
func fetcherOf(e http.RoundTripper) *Fetcher {
	f, err := NewFetcher(FetchOptions{URLs: []string{"https://idp.example"}})
	if err != nil {
		panic(err)
	}
	f.next = e
	return f
}

func verifier(e *endpoint, c *stopped) *Introspector {
	o := IntrospectionOptions{Issuer: "https://idp.example", URL: "https://idp.example/introspect", Audience: []string{"doc-server", "other"}, Fetcher: fetcherOf(e)}
	if c != nil {
		o.Now = c.Now
	}
	return NewIntrospector(o)
}

func TestPrincipalOfAnAnswer(t *testing.T) {
	v := verifier(&endpoint{answer: always(`{"active":true,"sub":"alice","client_id":"cli","aud":["x","other"],"scope":" a:b  c:d\t","exp":4102444800.9,"token_type":"bearer","iss":"https://idp.example","cnf":null,"more":{}}`)}, nil)
	p, err := v.Authenticate(t.Context(), NewSecret("t"))
	if err != nil || p.Issuer != "https://idp.example" || p.Subject != "alice" || p.ClientID != "cli" || !slices.Equal(p.Audience, []string{"x", "other"}) ||
		!slices.Equal(p.Scopes, []string{"a:b", "c:d"}) || !p.Expiry.Equal(time.Unix(4102444800, 0)) || p.Roles != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

// A good answer is believed for 30 seconds: that is how long a revoked token may
// still pass.
func TestPositiveCache(t *testing.T) {
	e, c := &endpoint{answer: always(activeAlice)}, &stopped{now: time.Unix(1000, 0)}
	v := verifier(e, c)
	ask := func() error { _, err := v.Authenticate(t.Context(), NewSecret("t")); return err }
	for _, row := range []struct {
		after time.Duration
		asked int64
	}{{0, 1}, {0, 1}, {30*time.Second - 1, 1}, {1, 2}, {time.Second, 2}} {
		c.advance(row.after)
		if err := ask(); err != nil || e.asked.Load() != row.asked {
			t.Errorf("after %v: %v, asked %d times, want %d", row.after, err, e.asked.Load(), row.asked)
		}
	}
	e.answer = always(`{"active":false}`) // revoked
	c.advance(30 * time.Second)
	if err := ask(); !errors.Is(err, ErrInvalid) {
		t.Errorf("a revoked token after 30 seconds: %v", err)
	}
}

// What was true when the issuer was asked may not be when its answer arrives: the
// 30 seconds begin with the question.
func TestSlowAnswerIsOld(t *testing.T) {
	c := &stopped{now: time.Unix(1000, 0)}
	e := &endpoint{answer: always(activeAlice), wait: func(*http.Request) error { c.advance(4 * time.Second); return nil }}
	v := verifier(e, c)
	for _, row := range []struct {
		after time.Duration
		asked int64
	}{{0, 1}, {26*time.Second - 1, 1}, {1, 2}} {
		c.advance(row.after)
		if _, err := v.Authenticate(t.Context(), NewSecret("t")); err != nil || e.asked.Load() != row.asked {
			t.Errorf("after %v: %v, asked %d times, want %d", row.after, err, e.asked.Load(), row.asked)
		}
	}
}

// A token that expires while its answer is cached is refused at once.
func TestExpiryInsideTheCache(t *testing.T) {
	e, c := &endpoint{answer: always(`{"active":true,"sub":"alice","aud":"doc-server","exp":1010}`)}, &stopped{now: time.Unix(1000, 0)}
	v := verifier(e, c)
	for _, row := range []struct {
		after time.Duration
		want  error
	}{{0, nil}, {10*time.Second - 1, nil}, {1, ErrExpired}, {time.Second, ErrExpired}} {
		c.advance(row.after)
		if _, err := v.Authenticate(t.Context(), NewSecret("t")); !errors.Is(err, row.want) {
			t.Errorf("after %v: %v, want %v", row.after, err, row.want)
		}
	}
	if e.asked.Load() != 1 {
		t.Errorf("asked %d times", e.asked.Load())
	}
}

func TestNegativeCache(t *testing.T) {
	e, c := &endpoint{answer: always(`{"active":false}`)}, &stopped{now: time.Unix(1000, 0)}
	v := verifier(e, c)
	ask := func() error { _, err := v.Authenticate(t.Context(), NewSecret("t")); return err }
	for range 3 {
		if err := ask(); !errors.Is(err, ErrInvalid) || e.asked.Load() != 1 {
			t.Errorf("%v, asked %d times", err, e.asked.Load())
		}
	}
	e.answer = always(activeAlice) // issued a moment later
	c.advance(5*time.Second - 1)
	if err := ask(); !errors.Is(err, ErrInvalid) {
		t.Errorf("within five seconds: %v", err)
	}
	c.advance(1)
	if err := ask(); err != nil {
		t.Errorf("after five seconds: %v", err)
	}
}

// Only "unknown" is remembered: what depends on time or on this service is asked
// again.
func TestWhatIsNotCached(t *testing.T) {
	for name, answer := range map[string]string{
		"expired":   `{"active":true,"sub":"alice","aud":"doc-server","exp":1}`,
		"too early": `{"active":true,"sub":"alice","aud":"doc-server","nbf":2000}`,
		"audience":  `{"active":true,"sub":"alice","aud":"elsewhere"}`,
	} {
		e, c := &endpoint{answer: always(answer)}, &stopped{now: time.Unix(1000, 0)}
		v := verifier(e, c)
		for range 2 {
			if _, err := v.Authenticate(t.Context(), NewSecret("t")); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		if e.asked.Load() != 2 {
			t.Errorf("%s: asked %d times", name, e.asked.Load())
		}
	}
}

// A flood of random tokens reaches the issuer at a bounded rate. Whoever has been
// accepted keeps his place in the cache and, when he has to be asked about again,
// his turn.
func TestRandomTokensHarmNobody(t *testing.T) {
	e, c := &endpoint{}, &stopped{now: time.Unix(1000, 0)}
	e.answer = func(token string, _ *http.Request) (int, string, string) {
		return 200, "application/json", strings.Replace(activeAlice, "true", fmt.Sprint(token == "good"), 1)
	}
	v := verifier(e, c)
	if _, err := v.Authenticate(t.Context(), NewSecret("good")); err != nil {
		t.Fatal(err)
	}
	random := 0
	flood := func(n int) (asked int64) {
		before := e.asked.Load()
		for range n {
			random++
			_, err := v.Authenticate(t.Context(), NewSecret(fmt.Sprint("random-", random)))
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}
		return e.asked.Load() - before
	}
	if n := flood(2000); n != strangersBurst-1 { // the good one was a stranger too
		t.Errorf("asked %d times at once", n)
	}
	c.advance(time.Second)
	if n := flood(2000); n != strangersPerSecond {
		t.Errorf("asked %d times a second", n)
	}
	if v.known.len() != 1 || v.unknown.len() != strangersBurst-1+strangersPerSecond {
		t.Errorf("%d known and %d unknown tokens", v.known.len(), v.unknown.len())
	}
	c.advance(positiveLife - time.Second - 1)
	asked := e.asked.Load()
	if _, err := v.Authenticate(t.Context(), NewSecret("good")); err != nil || e.asked.Load() != asked {
		t.Errorf("the good token was forgotten: %v", err)
	}
	flood(2000)
	c.advance(1)
	asked = e.asked.Load()
	if _, err := v.Authenticate(t.Context(), NewSecret("good")); err != nil || e.asked.Load() != asked+1 {
		t.Errorf("the good token had to wait for strangers: %v", err)
	}
}

// Questions about strangers that take long do not pile up.
func TestStrangersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := &endpoint{answer: always(activeAlice), wait: func(*http.Request) error { <-release; return nil }}
		v := verifier(e, nil)
		results := make(chan error)
		for i := range strangersAtOnce + 5 {
			go func() {
				_, err := v.Authenticate(context.Background(), NewSecret(fmt.Sprint(i)))
				results <- err
			}()
		}
		synctest.Wait()
		for range 5 {
			if err := <-results; !errors.Is(err, ErrUnavailable) {
				t.Errorf("one too many: %v", err)
			}
		}
		close(release)
		for range strangersAtOnce {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if _, err := v.Authenticate(t.Context(), NewSecret("later")); err != nil {
			t.Errorf("a place was not given back: %v", err)
		}
	})
}

// An endpoint that fails is asked once in two seconds; nobody else waits for it,
// and nothing is believed for longer than before.
func TestEndpointThatFails(t *testing.T) {
	refused := errors.New("refused")
	for name, broken := range map[string]*endpoint{
		"down":    {wait: func(*http.Request) error { return refused }},
		"garbage": {answer: always("<html>")},
		"failing": {answer: func(string, *http.Request) (int, string, string) { return 500, "application/json", activeAlice }},
	} {
		t.Run(name, func(t *testing.T) {
			e, c := &endpoint{answer: always(activeAlice)}, &stopped{now: time.Unix(1000, 0)}
			v := verifier(e, c)
			ask := func(token string) error { _, err := v.Authenticate(t.Context(), NewSecret(token)); return err }
			if err := ask("t"); err != nil {
				t.Fatal(err)
			}
			e.answer, e.wait = broken.answer, broken.wait
			c.advance(positiveLife - 1)
			if err := ask("t"); err != nil || e.asked.Load() != 1 {
				t.Errorf("within the cache: %v", err)
			}
			c.advance(1)
			for i, row := range []struct {
				after time.Duration
				asked int64
			}{{0, 2}, {0, 2}, {2*time.Second - 1, 2}, {1, 3}, {0, 3}, {time.Hour, 4}} {
				c.advance(row.after)
				for _, token := range []string{"t", "another"} {
					if err := ask(token); !errors.Is(err, ErrUnavailable) || e.asked.Load() != row.asked {
						t.Errorf("step %d, %s: %v, asked %d times, want %d", i, token, err, e.asked.Load(), row.asked)
					}
				}
			}
			e.answer, e.wait = always(activeAlice), nil
			c.advance(2 * time.Second)
			if err := ask("t"); err != nil {
				t.Errorf("two seconds after the repair: %v", err)
			}
			if err := ask("another"); err != nil {
				t.Errorf("after that: %v", err)
			}
		})
	}
}

// A question that hangs does not put the next one off, neither before nor after its
// end: service is back within five seconds of the repair.
func TestEndpointThatHangs(t *testing.T) {
	for name, pause := range map[string]time.Duration{"before its end": retryEvery, "after its end": fetchTimeout} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &endpoint{answer: always(activeAlice)}
				e.wait = func(r *http.Request) error { <-r.Context().Done(); return r.Context().Err() }
				v := verifier(e, nil)
				if _, err := v.Authenticate(t.Context(), NewSecret("t")); !errors.Is(err, ErrUnavailable) {
					t.Fatal(err)
				}
				time.Sleep(retryEvery)
				go v.Authenticate(context.Background(), NewSecret("hangs")) // from before the repair
				synctest.Wait()
				e.wait = nil
				time.Sleep(pause)
				synctest.Wait()
				if _, err := v.Authenticate(t.Context(), NewSecret("t")); err != nil {
					t.Errorf("%v after the repair: %v", pause, err)
				}
				time.Sleep(fetchTimeout) // the one that hangs
			})
		})
	}
}

// A thousand requests with one new token are one question; nobody's departure
// ends it for the others.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := &endpoint{answer: always(activeAlice), wait: func(r *http.Request) error {
			select {
			case <-release:
				return nil
			case <-r.Context().Done():
				return r.Context().Err()
			}
		}}
		v := verifier(e, nil)
		first, leave := context.WithCancel(t.Context())
		results := make(chan error, 1001)
		go func() { _, err := v.Authenticate(first, NewSecret("t")); results <- err }()
		synctest.Wait()
		for range 1000 {
			go func() { _, err := v.Authenticate(context.Background(), NewSecret("t")); results <- err }()
		}
		synctest.Wait()
		leave()
		if err := <-results; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("who left: %v", err)
		}
		close(release)
		for range 1000 {
			if err := <-results; err != nil {
				t.Errorf("who stayed: %v", err)
			}
		}
		if e.asked.Load() != 1 {
			t.Errorf("asked %d times", e.asked.Load())
		}
	})
}

// An issuer that never answers holds a call for five seconds, then fails closed.
func TestSlowIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verifier(&endpoint{wait: func(r *http.Request) error { <-r.Context().Done(); return r.Context().Err() }}, nil)
		begun := time.Now()
		_, err := v.Authenticate(t.Context(), NewSecret("t"))
		if took := time.Since(begun); !errors.Is(err, ErrUnavailable) || took != fetchTimeout {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// What the endpoint is asked, and with which credential.
func TestQuestion(t *testing.T) {
	var got *http.Request
	e := &endpoint{answer: func(_ string, r *http.Request) (int, string, string) {
		got = r
		return 200, "application/json", activeAlice
	}}
	v := verifier(e, nil)
	v.opts.ClientID, v.opts.ClientSecret = "the client", NewSecret("p:w+/=")
	if _, err := v.Authenticate(t.Context(), NewSecret("a+b/c==")); err != nil {
		t.Fatal(err)
	}
	id, secret, ok := got.BasicAuth()
	if got.Method != http.MethodPost || got.URL.String() != "https://idp.example/introspect" || got.Header.Get("Content-Type") != introspectForm || !ok || id != "the+client" || secret != "p%3Aw%2B%2F%3D" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	v = verifier(e, nil)
	if _, err := v.Authenticate(t.Context(), NewSecret("t")); err != nil || got.Header.Get("Authorization") != "" {
		t.Errorf("without a client id: %v %v", err, got.Header)
	}
}

// Every way in which an answer can be wrong fails closed.
func TestBadAnswers(t *testing.T) {
	for name, e := range map[string]*endpoint{
		"status 201":    {answer: func(string, *http.Request) (int, string, string) { return 201, "application/json", activeAlice }},
		"status 500":    {answer: func(string, *http.Request) (int, string, string) { return 500, "application/json", activeAlice }},
		"media type":    {answer: func(string, *http.Request) (int, string, string) { return 200, "text/plain", activeAlice }},
		"no media type": {answer: func(string, *http.Request) (int, string, string) { return 200, "", activeAlice }},
		"signed answer": {answer: func(string, *http.Request) (int, string, string) {
			return 200, "application/token-introspection+jwt", "e30.e30.x"
		}},
		"1 MiB and more": {answer: always(activeAlice + strings.Repeat(" ", maxFetched))},
		"trailing text":  {answer: always(activeAlice + "x")},
		"two answers":    {answer: always(activeAlice + activeAlice)},
		"twice":          {answer: always(strings.Replace(activeAlice, `"sub"`, `"active":true,"sub"`, 1))},
		"list":           {answer: always("[" + activeAlice + "]")},
		"null":           {answer: always("null")},
		"number":         {answer: always("1")},
		"other case":     {answer: always(strings.Replace(activeAlice, `"active"`, `"Active"`, 1))},
		"no connection":  {wait: func(*http.Request) error { return errors.New("connection refused") }},
	} {
		if p, err := verifier(e, nil).Authenticate(t.Context(), NewSecret("t")); err == nil || p.Subject != "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := verifier(&endpoint{answer: always(activeAlice + strings.Repeat(" ", maxFetched-len(activeAlice)))}, nil).Authenticate(t.Context(), NewSecret("t")); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
}

func TestVerifiers(t *testing.T) {
	good := verifier(&endpoint{answer: always(activeAlice)}, nil)
	unknown := verifier(&endpoint{answer: always(`{"active":false}`)}, nil)
	expired := verifier(&endpoint{answer: always(`{"active":true,"sub":"alice","aud":"doc-server","exp":1}`)}, nil)
	down := verifier(&endpoint{wait: func(*http.Request) error { return errors.New("refused") }}, nil)
	for _, row := range []struct {
		name string
		vs   []*Introspector
		want error
	}{
		{"none", nil, ErrInvalid},
		{"good", []*Introspector{good}, nil},
		{"second is good", []*Introspector{unknown, good}, nil},
		{"good although another is down", []*Introspector{down, good}, nil},
		{"unknown to all", []*Introspector{unknown, unknown}, ErrInvalid},
		{"down outweighs unknown", []*Introspector{unknown, down}, ErrUnavailable},
		{"down outweighs unknown, first", []*Introspector{down, unknown}, ErrUnavailable},
		{"expired says more than unknown", []*Introspector{unknown, expired}, ErrExpired},
		{"expired says more than unknown, first", []*Introspector{expired, unknown}, ErrExpired},
		{"down outweighs expired", []*Introspector{expired, down}, ErrUnavailable},
	} {
		p, err := (&Verifiers{Introspection: row.vs}).Authenticate(t.Context(), NewSecret("t"))
		if !errors.Is(err, row.want) || (err == nil) != (p.Subject == "alice") {
			t.Errorf("%s: %+v, %v; want %v", row.name, p, err, row.want)
		}
	}
}

// A NUL in a name would make two principals one, and 0 is a time like any other.
func TestAnswersThatLookHarmless(t *testing.T) {
	for _, row := range []struct {
		name, answer string
		want         error
	}{
		{"NUL in the subject", `{"active":true,"sub":"a\u0000b","client_id":"c","aud":"doc-server"}`, ErrInvalid},
		{"line break in the client id", `{"active":true,"sub":"a","client_id":"b\nc","aud":"doc-server"}`, ErrInvalid},
		{"expired in 1970", `{"active":true,"sub":"a","aud":"doc-server","exp":0}`, ErrExpired},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := verifier(&endpoint{answer: always(row.answer)}, nil).Authenticate(t.Context(), NewSecret("t")); !errors.Is(err, row.want) {
				t.Errorf("%v, want %v", err, row.want)
			}
		})
	}
}
