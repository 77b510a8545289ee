package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/scenarios/canary"
)

// clock stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a broker with everything around it.
type rig struct {
	t      testing.TB
	clock  *clock
	broker *Broker
	server *httptest.Server
	login  *fakeLogin
	third  *fakeThird
	other  *fakeThird // of a second upstream
	docs   *documents
	opts   Options
	// verifier is that of docs, of the broker that runs now.
	verifier *Verifier
	events   []audit.Event
	written  string // the events as they go to the file
	mu       sync.Mutex
	broken   error // of the audit file
	log      *lockedBuffer
	seen     *lockedBuffer // everything that browsers and clients received
	ours     []string      // codes, states and tokens that no log may hold
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const (
	webClient   = "web"   // registered, answered over https
	localClient = "local" // registered, answered on the user's machine
	secretive   = "secretive"
	webRedirect = "https://client.example/callback"
	ownSecret   = "own7secret4of9a2client"
)

// start runs a broker until the test ends.
func start(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	return startOn(t, httptest.NewTLSServer, change...)
}

func startOn(t testing.TB, serve func(http.Handler) *httptest.Server, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, clock: &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}, log: &lockedBuffer{}, seen: &lockedBuffer{}}
	r.login, r.third, r.other, r.docs = newFakeLogin(t, r.clock.Now), newFakeThird(t), newFakeThird(t), newDocuments(t)
	r.server = serve(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.broker.ServeHTTP(w, q) }))
	t.Cleanup(r.server.Close)
	r.opts = r.options(r.server.URL)
	for _, c := range change {
		c(&r.opts)
	}
	r.restart()
	t.Cleanup(r.checkCanaries)
	return r
}

// restart begins anew with what is in the folder.
func (r *rig) restart() {
	r.t.Helper()
	b, err := New(r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	r.broker = b
}

func (r *rig) options(issuer string) Options {
	fetch := func(raw string) *identity.Fetcher {
		f, err := identity.NewFetcher(identity.FetchOptions{URLs: []string{raw}, AllowLoopbackHTTP: true})
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(f.Close)
		return f
	}
	provider := func(p *fakeThird) Provider {
		return Provider{Issuer: p.URL, AuthorizeURL: p.URL + "/authorize", TokenURL: p.URL + "/token", ClientID: "sidecar", ClientSecret: identity.NewSecret("secret-at-sidecar"), Scopes: []string{"files.read", "files.write"}, Fetch: fetch(p.URL)}
	}
	return Options{
		Issuer: issuer,
		Login:  Login{Issuer: r.login.URL, ClientID: "sidecar-login", ClientSecret: identity.NewSecret("secret-at-sidecar-login"), AllowLoopbackHTTP: true, Fetch: fetch(r.login.URL)},
		Upstreams: map[string]Upstream{
			"docs": {Resource: issuer + "/docs/mcp", Scopes: []string{"documents:read", "documents:write"}, Provider: provider(r.third)},
			"mail": {Resource: issuer + "/mail/mcp", Scopes: []string{"mail:read"}, Provider: provider(r.other)},
		},
		Clients: []Client{
			{ID: webClient, Name: "Web App", Redirects: []string{webRedirect, "https://client.example/second?x=1"}},
			{ID: localClient, Name: "Local App", Redirects: []string{"http://127.0.0.1/callback", "http://localhost:7777/callback"}},
			{ID: secretive, Name: "Server", Redirects: []string{webRedirect}, Secret: identity.NewSecret(ownSecret)},
		},
		Documents: r.docs.fetcher(r.t), Register: true,
		Folder: filepath.Join(r.t.TempDir(), "broker"), Key: identity.Hide([]byte(strings.Repeat("k", 32))),
		Record: r.record, Log: slog.New(slog.NewJSONHandler(r.log, nil)), Now: r.clock.Now,
	}
}

// provider changes the third party of an upstream.
func (r *rig) provider(upstream string, change func(*Provider)) {
	u := r.opts.Upstreams[upstream]
	change(&u.Provider)
	r.opts.Upstreams[upstream] = u
}

func (r *rig) record(e audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return r.broken
	}
	line, _ := json.Marshal(e)
	r.events, r.written = append(r.events, e), r.written+string(line)+"\n"
	return nil
}

// last is the last record: its stage, outcome and reason.
func (r *rig) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		return "none"
	}
	e := r.events[len(r.events)-1]
	return strings.TrimSpace(e.Stage + " " + e.Outcome + " " + e.Reason)
}

// parties are those that give the sidecar codes and tokens.
func (r *rig) parties() map[string]*fakeParty {
	return map[string]*fakeParty{"login provider": &r.login.fakeParty, "third party": &r.third.fakeParty, "other third party": &r.other.fakeParty}
}

// watch is for everything secret, by who gave it.
func (r *rig) watch() *canary.Watch {
	w := &canary.Watch{}
	for name, p := range r.parties() {
		p.mu.Lock()
		for _, s := range p.given {
			w.Add("code of the "+name, s)
		}
		for _, s := range p.tokens {
			w.Add("token of the "+name, s)
		}
		p.mu.Unlock()
	}
	for _, s := range r.ours {
		w.Add("ours", s)
	}
	w.Add("the client's secret", ownSecret)
	w.Add("the sidecar's secret", "secret-at-sidecar")
	return w
}

// leaks says where a piece of something secret is that may not be there.
func (r *rig) leaks() (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watch()
	look := func(where, text string, may ...string) {
		for _, f := range w.Search([]byte(text)) {
			if !slices.Contains(may, f.Name) {
				found = append(found, fmt.Sprintf("%s: a piece of %s, from byte %d on", where, f.Name, f.At))
			}
		}
	}
	look("the log", r.log.String())
	look("a record", r.written)
	browsers := []string{"ours"}
	for name, p := range r.parties() {
		look("the "+name, p.heard.String(), "code of the "+name, "token of the "+name, "the sidecar's secret")
		browsers = append(browsers, "code of the "+name) // in the address that carries it there
	}
	look("a client or browser", r.seen.String(), browsers...)
	return found
}

// checkCanaries: what a provider gave reached no client, no browser and no other
// provider, what we gave reached no provider, and neither is in a log or record.
func (r *rig) checkCanaries() {
	for _, leak := range r.leaks() {
		r.t.Error(leak)
	}
}

// documents is a web server with clients' metadata, reached by the vetted dialer
// under any name.
type documents struct {
	*httptest.Server
	mu     sync.Mutex
	byPath map[string]http.HandlerFunc
	hits   int
	dialed []string
}

func newDocuments(t testing.TB) *documents {
	d := &documents{byPath: map[string]http.HandlerFunc{}}
	d.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		d.hits++
		h := d.byPath[r.URL.Path]
		d.mu.Unlock()
		if h == nil {
			http.NotFound(w, r)
			return
		}
		h(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

// fetcher dials as in production, but for the last step: a public address is the
// test's server.
func (d *documents) fetcher(t testing.TB) *identity.Fetcher {
	roots := x509.NewCertPool()
	roots.AddCert(d.Certificate())
	dialer := &ssrf.Dialer{
		Resolver: ssrf.NewStatic(map[string][]netip.Addr{
			"example.com":        {netip.MustParseAddr("93.184.215.14")},
			"inside.example.com": {netip.MustParseAddr("127.0.0.1")},
			"rebind.example.com": {netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("169.254.169.254")},
		}, nil),
		Connect: func(ctx context.Context, network, address string) (net.Conn, error) {
			d.mu.Lock()
			d.dialed = append(d.dialed, address)
			d.mu.Unlock()
			return new(net.Dialer).DialContext(ctx, network, d.Listener.Addr().String())
		},
	}
	f, err := identity.NewFetcher(identity.FetchOptions{DialContext: dialer.DialContext, TLS: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func (d *documents) put(path, text string) string {
	d.handle(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
	})
	return "https://example.com" + path
}

func (d *documents) handle(path string, h http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byPath[path] = h
}

func (d *documents) counted() (hits int, dialed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hits, len(d.dialed)
}

// browser is a user agent with a cookie jar that follows no redirect by itself.
type browser struct {
	r    *rig
	http *http.Client
}

func (r *rig) browser() *browser {
	jar, _ := cookiejar.New(nil)
	c := *r.server.Client()
	c.Jar = jar
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{r, &c}
}

// page is what a request got.
type page struct {
	status int
	header http.Header
	body   string
	to     string // where it leads: a redirect or the link of the page in between
}

func (b *browser) do(q *http.Request) page {
	b.r.t.Helper()
	resp, err := b.http.Do(q)
	if err != nil {
		b.r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.r.t.Fatal(err)
	}
	p := page{resp.StatusCode, resp.Header, string(body), resp.Header.Get("Location")}
	_, _ = b.r.seen.Write(body)
	_, _ = b.r.seen.Write([]byte(p.to + "\n"))
	if u, err := q.URL.Parse(p.to); err == nil && p.to != "" {
		p.to = u.String()
	}
	if link := regexp.MustCompile(`<a href="([^"]*)"`).FindStringSubmatch(p.body); p.to == "" && link != nil {
		p.to = html.UnescapeString(link[1])
	}
	return p
}

func (b *browser) get(raw string) page {
	b.r.t.Helper()
	q, err := http.NewRequest(http.MethodGet, raw, nil)
	if err != nil {
		b.r.t.Fatal(err)
	}
	return b.do(q)
}

func (b *browser) post(path string, v url.Values, change ...func(*http.Request)) page {
	b.r.t.Helper()
	q, err := http.NewRequest(http.MethodPost, b.r.server.URL+path, strings.NewReader(v.Encode()))
	if err != nil {
		b.r.t.Fatal(err)
	}
	q.Header.Set("Content-Type", formMedia)
	for _, c := range change {
		c(q)
	}
	return b.do(q)
}

const verifier = "a-verifier-of-43-characters-or-more-for-PKCE"

// request is a right authorization request of the web client.
func (r *rig) request() url.Values {
	return url.Values{
		"response_type": {"code"}, "client_id": {webClient}, "redirect_uri": {webRedirect}, "state": {"state of the client"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
		"resource": {r.opts.Upstreams["docs"].Resource}, "scope": {"documents:read"},
	}
}

func (r *rig) authorizeURL(v url.Values) string {
	return r.server.URL + authorizePath + "?" + v.Encode()
}

// toConsent goes from the request to the page, and returns it with its form.
func (b *browser) toConsent(v url.Values) (page, url.Values) {
	b.r.t.Helper()
	p := b.get(b.r.authorizeURL(v))
	if p.status != http.StatusSeeOther || !strings.HasPrefix(p.to, b.r.login.URL) {
		b.r.t.Fatalf("authorize: %d to %q: %s", p.status, p.to, p.body)
	}
	p = b.get(b.get(p.to).to) // the login provider, and back
	if p.status != http.StatusSeeOther || !strings.HasPrefix(p.to, b.r.server.URL+consentPath) {
		b.r.t.Fatalf("login: %d to %q: %s", p.status, p.to, p.body)
	}
	p = b.get(p.to)
	if p.status != http.StatusOK {
		b.r.t.Fatalf("consent: %d: %s", p.status, p.body)
	}
	return p, formOf(p.body)
}

func formOf(body string) url.Values {
	v := url.Values{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`).FindAllStringSubmatch(body, -1) {
		v.Set(m[1], html.UnescapeString(m[2]))
	}
	return v
}

// toThird goes on to the third party's answer, which has not been taken in yet,
// and returns where it leads.
func (b *browser) toThird(v url.Values) string {
	b.r.t.Helper()
	p := b.get(b.get(b.get(b.r.authorizeURL(v)).to).to)
	if strings.HasPrefix(p.to, b.r.server.URL+consentPath) { // else he was asked before
		f := formOf(b.get(p.to).body)
		f.Set("decision", "approve")
		p = b.post(consentPath, f)
	}
	if !strings.Contains(p.to, "code_challenge") {
		b.r.t.Fatalf("approval: %d to %q: %s", p.status, p.to, p.body)
	}
	return b.get(p.to).to
}

// toCode goes all the way and returns the client's code.
func (b *browser) toCode(v url.Values) string {
	b.r.t.Helper()
	p := b.get(b.toThird(v))
	return b.r.codeIn(p)
}

func (r *rig) codeIn(p page) string {
	r.t.Helper()
	u, err := url.Parse(p.to)
	if err != nil || u.Query().Get("code") == "" || u.Query().Get("iss") != r.server.URL {
		r.t.Fatalf("no code: %d to %q: %s", p.status, p.to, p.body)
	}
	code := u.Query().Get("code")
	r.ours = append(r.ours, code)
	return code
}

// redemption is a right token request.
func (r *rig) redemption(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {webRedirect}, "client_id": {webClient}, "code_verifier": {verifier}, "resource": {r.opts.Upstreams["docs"].Resource}}
}

// answer is what the token endpoint says.
type answer struct {
	status  int
	header  http.Header
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	Life    int    `json:"expires_in"`
	Scope   string `json:"scope"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

func (r *rig) token(v url.Values, change ...func(*http.Request)) answer {
	r.t.Helper()
	p := r.browser().post(tokenPath, v, change...)
	a := answer{status: p.status, header: p.header}
	if err := json.Unmarshal([]byte(p.body), &a); err != nil {
		r.t.Fatalf("token: %d %s", p.status, p.body)
	}
	for _, s := range []string{a.Access, a.Refresh} {
		if s != "" {
			r.ours = append(r.ours, s)
		}
	}
	return a
}

// granted goes all the way and returns the client's tokens.
func (r *rig) granted() answer {
	r.t.Helper()
	a := r.token(r.redemption(r.browser().toCode(r.request())))
	if a.status != http.StatusOK {
		r.t.Fatalf("token: %d %s", a.status, a.Error)
	}
	return a
}

func (r *rig) principalOf(token string) (identity.Principal, error) {
	if r.verifier == nil || r.verifier.broker != r.broker {
		r.verifier = r.broker.Verifier("docs") // remembers, as in production
	}
	return r.verifier.Authenticate(r.t.Context(), identity.NewSecret(token))
}

func (r *rig) files(kind string) []string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.opts.Folder, kind+"-*"))
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
