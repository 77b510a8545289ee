package broker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A client whose id is the address of its metadata goes the same way as others,
// and the page says that nobody vouches for it.
func TestClientDocument(t *testing.T) {
	r := start(t)
	v := r.request()
	id := r.docs.client(webRedirect)
	v.Set("client_id", id)
	b := r.browser()
	p, _ := b.toConsent(v)
	for _, want := range []string{"Published App", id, "client.example", "Nobody here has checked this program"} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	f := r.redemption(b.toCode(v))
	f.Set("client_id", id)
	if a := r.token(f); a.status != 200 {
		t.Errorf("%+v", a)
	}
	if hits, _ := r.docs.counted(); hits != 1 {
		t.Errorf("the document was fetched %d times", hits)
	}
	r.clock.advance(documentLife)
	r.browser().get(r.authorizeURL(v))
	if hits, _ := r.docs.counted(); hits != 2 {
		t.Errorf("after its time the document was fetched %d times", hits)
	}
}

// Documents that describe no client that could be let in.
func TestClientDocumentDenied(t *testing.T) {
	const id = "https://example.com/client.json"
	good := func(change string) string {
		return strings.Replace(`{"client_id":"`+id+`","redirect_uris":["`+webRedirect+`"]}`, "{", "{"+change, 1)
	}
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}
	}
	for name, serve := range map[string]http.HandlerFunc{
		"client_id of another":     text(`{"client_id":"https://example.com/other.json","redirect_uris":["` + webRedirect + `"]}`),
		"client_id absent":         text(`{"redirect_uris":["` + webRedirect + `"]}`),
		"client_id twice":          text(good(`"client_id":"x",`)),
		"no redirect URI":          text(`{"client_id":"` + id + `","redirect_uris":[]}`),
		"redirect URI in the open": text(`{"client_id":"` + id + `","redirect_uris":["` + webRedirect + `","http://client.example/"]}`),
		"script as redirect URI":   text(`{"client_id":"` + id + `","redirect_uris":["` + webRedirect + `","javascript:alert(1)"]}`),
		"many redirect URIs":       text(`{"client_id":"` + id + `","redirect_uris":["` + webRedirect + `"` + strings.Repeat(`,"https://client.example/"`, maxRedirects) + `]}`),
		"a secret":                 text(good(`"client_secret":"x",`)),
		"a secret to show":         text(good(`"token_endpoint_auth_method":"client_secret_basic",`)),
		"a key to show":            text(good(`"token_endpoint_auth_method":"private_key_jwt",`)),
		"no codes":                 text(good(`"grant_types":["client_credentials"],`)),
		"tokens at once":           text(good(`"response_types":["token"],`)),
		"no JSON":                  text("client"),
		"an array":                 text("[" + good("") + "]"),
		"more behind it":           text(good("") + "{}"),
		"large":                    text(good(`"x":"` + strings.Repeat("x", maxDocument) + `",`)),
		"endless": func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for q.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		},
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(good("")))
		},
		"a redirect": func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "https://example.com/other.json", http.StatusFound)
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.docs.put("/other.json", good(""))
			r.docs.handle("/client.json", serve)
			v := r.request()
			v.Set("client_id", id)
			for range 3 {
				r.stopped(r.browser().get(r.authorizeURL(v)), "authorize denied client-document")
			}
			if hits, _ := r.docs.counted(); hits != 1 {
				t.Errorf("the document was fetched %d times", hits)
			}
			r.clock.advance(failureLife)
			r.docs.put("/client.json", good(""))
			r.browser().toConsent(v)
		})
	}
}

// Addresses that nothing is fetched from.
func TestClientDocumentAddress(t *testing.T) {
	for id, reason := range map[string]string{
		"http://example.com/client.json":          "client",
		"https://example.com":                     "client",
		"https://example.com/":                    "client",
		"https://example.com/client.json#x":       "client",
		"https://example.com/client.json?x=y":     "client",
		"https://example.com/client.json?":        "client",
		"https://user@example.com/client.json":    "client",
		"https://example.com/x/../client.json":    "client",
		"https://example.com/./client.json":       "client",
		"HTTPS://example.com/client.json":         "client",
		"ftp://example.com/client.json":           "client",
		"file:///etc/passwd":                      "client",
		"https://example.com/client json":         "client",
		"https:/example.com/client.json":          "client",
		"https://127.0.0.1/client.json":           "client-document",
		"https://localhost/client.json":           "client-document",
		"https://169.254.169.254/latest/x":        "client-document",
		"https://[::1]/client.json":               "client-document",
		"https://[::ffff:127.0.0.1]/client.json":  "client-document",
		"https://2130706433/client.json":          "client-document",
		"https://0x7f.1/client.json":              "client-document",
		"https://10.0.0.1/client.json":            "client-document",
		"https://metadata.google.internal/x":      "client-document",
		"https://inside.example.com/client.json":  "client-document",
		"https://rebind.example.com/client.json":  "client-document",
		"https://unknown.example.com/client.json": "client-document",
		"https://example.com:8443/client.json":    "client-document",
		"https://example.com:22/client.json":      "client-document",
	} {
		t.Run(id, func(t *testing.T) {
			r := start(t)
			v := r.request()
			v.Set("client_id", id)
			r.stopped(r.browser().get(r.authorizeURL(v)), "authorize denied "+reason)
			if hits, dialed := r.docs.counted(); hits+dialed != 0 {
				t.Errorf("%d requests, dialed %v", hits, r.docs.dialed)
			}
		})
	}
	t.Run("a host that is not listed", func(t *testing.T) {
		r := start(t, func(o *Options) { o.Hosts = []string{"other.example"} })
		v := r.request()
		v.Set("client_id", r.docs.client(webRedirect))
		r.stopped(r.browser().get(r.authorizeURL(v)), "authorize denied client")
	})
	t.Run("switched off", func(t *testing.T) {
		r := start(t, func(o *Options) { o.Documents = nil })
		v := r.request()
		v.Set("client_id", r.docs.client(webRedirect))
		r.stopped(r.browser().get(r.authorizeURL(v)), "authorize denied client")
	})
}

// Many ids at once cost a bounded number of fetches.
func TestClientDocumentFlood(t *testing.T) {
	r := start(t)
	v := r.request()
	for i := range 40 {
		v.Set("client_id", fmt.Sprintf("https://example.com/%d.json", i))
		r.browser().get(r.authorizeURL(v))
	}
	r.nothingLeft("authorize denied flood")
	if hits, _ := r.docs.counted(); hits != 20 {
		t.Errorf("%d documents were fetched", hits)
	}
	v.Set("client_id", webClient) // the operator's clients are let in all the same
	r.browser().toConsent(v)
}

// Registration gives an id and nothing else; the attack of the confused deputy
// ends on the page that names the attacker's host.
func TestRegistration(t *testing.T) {
	r := start(t)
	b := r.browser()
	b.toCode(r.request()) // the third party and the user know each other by now
	visits := r.third.touched()
	p := r.browser().registration(`{"client_name":"Trusted\u202e App\n","redirect_uris":["https://attacker.example/cb"],"client_id":"web","client_secret":"x","token_endpoint_auth_method":"client_secret_basic","grant_types":["authorization_code"]}`)
	var got struct {
		ID   string `json:"client_id"`
		Auth string `json:"token_endpoint_auth_method"`
		Name string `json:"client_name"`
	}
	if err := json.Unmarshal([]byte(p.body), &got); err != nil || p.status != http.StatusCreated || got.Auth != "none" || got.Name != "Trusted App" || !strings.HasPrefix(got.ID, "dyn-") || strings.Contains(p.body, "secret\"") {
		t.Fatalf("%d %s", p.status, p.body)
	}
	v := r.request()
	v.Set("client_id", got.ID)
	v.Set("redirect_uri", "https://attacker.example/cb")
	page, _ := b.toConsent(v)
	for _, want := range []string{"attacker.example", "Nobody here has checked this program"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if r.third.touched() != visits {
		t.Error("the third party was reached before the user had decided")
	}
	r.clock.advance(registeredLife)
	if p := r.browser().get(r.authorizeURL(v)); p.status != 400 || r.last() != "authorize denied client" {
		t.Errorf("after its time: %d %s", p.status, r.last())
	}
}

func TestRegistrationDenied(t *testing.T) {
	for name, row := range map[string][2]string{
		"no JSON":             {"x", "invalid_client_metadata"},
		"no redirect URI":     {`{}`, "invalid_redirect_uri"},
		"an open redirect":    {`{"redirect_uris":["http://attacker.example/"]}`, "invalid_redirect_uri"},
		"a script":            {`{"redirect_uris":["javascript:alert(1)"]}`, "invalid_redirect_uri"},
		"a fragment":          {`{"redirect_uris":["https://a.example/#x"]}`, "invalid_redirect_uri"},
		"a user":              {`{"redirect_uris":["https://u@a.example/"]}`, "invalid_redirect_uri"},
		"no codes":            {`{"redirect_uris":["https://a.example/"],"grant_types":["implicit"]}`, "invalid_client_metadata"},
		"redirect URIs twice": {`{"redirect_uris":["https://a.example/"],"redirect_uris":["https://b.example/"]}`, "invalid_client_metadata"},
		"too large":           {`{"client_name":"` + strings.Repeat("x", maxForm) + `","redirect_uris":["https://a.example/"]}`, "invalid_client_metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			p := r.browser().registration(row[0])
			if p.status != 400 || !strings.Contains(p.body, row[1]) || strings.Contains(p.body, "dyn-") || len(r.broker.clients.register.items) != 0 {
				t.Errorf("%d %s", p.status, p.body)
			}
		})
	}
	t.Run("as a form", func(t *testing.T) {
		r := start(t)
		p := r.browser().registration(`{"redirect_uris":["https://a.example/"]}`, func(q *http.Request) { q.Header.Set("Content-Type", "text/plain") })
		if p.status != 400 {
			t.Error(p.status) // a page of another site could send this without asking
		}
	})
	t.Run("switched off", func(t *testing.T) {
		r := start(t, func(o *Options) { o.Register = false })
		if p := r.browser().registration(`{"redirect_uris":["https://a.example/"]}`); p.status != 404 {
			t.Error(p.status)
		}
		if p := r.browser().get(r.server.URL + metadataPath); strings.Contains(p.body, "registration_endpoint") {
			t.Error("it is published all the same")
		}
	})
}

func TestRegistrationFlood(t *testing.T) {
	r := start(t)
	const good = `{"redirect_uris":["https://a.example/"]}`
	var statuses []int
	for range 12 {
		statuses = append(statuses, r.browser().registration(good).status)
	}
	if fmt.Sprint(statuses) != "[201 201 201 201 201 201 201 201 201 201 429 429]" {
		t.Error(statuses)
	}
	r.clock.advance(10 * time.Second)
	if got := r.browser().registration(good).status; got != 201 {
		t.Errorf("after a while: %d", got)
	}
	for i := range maxRegistered {
		r.broker.clients.register.put(fmt.Sprint("filler", i), &Client{}, time.Hour)
	}
	r.clock.advance(10 * time.Second)
	if got := r.browser().registration(good).status; got != 503 {
		t.Errorf("when full: %d", got)
	}
}

// Each kind of request has a bound of its own.
func TestRates(t *testing.T) {
	r := start(t)
	b := r.browser()
	var last page
	for range 201 {
		last = b.get(r.authorizeURL(url.Values{}))
	}
	if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" {
		t.Errorf("%d", last.status)
	}
	for range 200 {
		last = b.post(tokenPath, url.Values{"client_id": {webClient}})
	}
	if last.status != http.StatusBadRequest {
		t.Errorf("the bound of pages is that of tokens too: %d", last.status)
	}
	if last = b.post(tokenPath, url.Values{}); last.status != http.StatusTooManyRequests || !strings.Contains(last.body, "temporarily_unavailable") {
		t.Errorf("%d %s", last.status, last.body)
	}
	r.clock.advance(time.Second)
	r.browser().toConsent(r.request())
}

// When there is no room for another flow, nobody in one loses his.
func TestFlowFlood(t *testing.T) {
	r := start(t)
	b := r.browser()
	_, f := b.toConsent(r.request())
	fill := func(s *shelf[flow]) {
		for i := len(s.items); i < maxFlows; i++ {
			s.items[hashOf(fmt.Sprint(i))] = item[flow]{until: r.clock.Now().Add(time.Minute)}
		}
	}
	fill(r.broker.logins)
	if p := r.browser().get(r.authorizeURL(r.request())); p.status != 503 || p.to != "" {
		t.Errorf("%d", p.status)
	}
	fill(r.broker.consents)
	f.Set("decision", "approve")
	if p := b.post(consentPath, f); p.status != 200 {
		t.Errorf("%d", p.status)
	}
}

func TestShownName(t *testing.T) {
	for in, want := range map[string]string{
		"Claude Code":                  "Claude Code",
		"":                             "unnamed program",
		"\u200b\u202e\x00":             "unnamed program",
		" a \n\t b ":                   "a b",
		"a\u202eb":                     "ab",
		strings.Repeat("é", maxName):   strings.Repeat("é", maxName),
		strings.Repeat("é", maxName+1): strings.Repeat("é", maxName) + "…",
		`<script>alert("x")</script>`:  `<script>alert("x")</script>`, // the page escapes it
		"\xff\xfe":                     "\ufffd\ufffd",
	} {
		if got := shownName(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
