package sidecar

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"mcp-sidecar/proxy/config"
)

// party is a login provider and a third party in one, which sends everybody back at
// once: the user is logged in there and has consented to the sidecar before.
type party struct {
	*httptest.Server
	user string
	now  func() time.Time
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	nonces map[string]string // by code
	users  map[string]string // by access token
	issued []string          // third party's tokens
	dead   map[string]bool   // access tokens that it has ended
	gone   bool              // nobody's refresh token is good any more
	visits int               // of users at the third party
}

func newParty(t *testing.T, now func() time.Time) *party {
	p := &party{user: "alice", now: now, nonces: map[string]string{}, users: map[string]string{}, dead: map[string]bool{}}
	p.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/login", "token_endpoint": p.URL + "/login/token", "jwks_uri": p.URL + "/jwks"})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		point, _ := p.key.PublicKey.Bytes()
		encode := base64.RawURLEncoding.EncodeToString
		p.answer(w, map[string]any{"keys": []any{map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": encode(point[1:33]), "y": encode(point[33:])}}})
	})
	mux.HandleFunc("GET /login", p.sendBack)
	mux.HandleFunc("GET /third", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.visits++
		p.mu.Unlock()
		p.sendBack(w, r)
	})
	mux.HandleFunc("POST /login/token", p.logIn)
	mux.HandleFunc("POST /third/token", p.grant)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *party) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *party) sendBack(w http.ResponseWriter, r *http.Request) {
	q, code := r.URL.Query(), rand.Text()
	p.mu.Lock()
	p.nonces[code] = q.Get("nonce")
	p.mu.Unlock()
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

func (p *party) logIn(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	defer p.mu.Unlock()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": p.URL, "sub": p.user, "aud": "sidecar", "nonce": p.nonces[r.PostForm.Get("code")], "iat": p.now().Unix(), "exp": p.now().Add(time.Minute).Unix(),
	})
	token.Header["kid"] = "k"
	signed, _ := token.SignedString(p.key)
	p.answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": signed})
}

func (p *party) grant(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone && r.PostForm.Get("grant_type") == "refresh_token" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		p.answer(w, map[string]string{"error": "invalid_grant"})
		return
	}
	access := "3rd-" + rand.Text()
	p.users[access] = p.user
	p.issued = append(p.issued, access)
	p.answer(w, map[string]any{"access_token": access, "refresh_token": rand.Text(), "token_type": "Bearer", "expires_in": 3600})
}

// userOf is whose token an upstream was shown.
func (p *party) userOf(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead[token] {
		return ""
	}
	return p.users[token]
}

func (p *party) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issued[len(p.issued)-1]
}

// brokered is a rig whose only server wants the third party's token.
type brokered struct {
	*rig
	party  *party
	public string // URL of the sidecar, behind a proxy
}

const desktopRedirect = "http://127.0.0.1:7777/callback"

func startBrokered(t *testing.T, upstream http.HandlerFunc, change ...func(*config.Config)) *brokered {
	t.Helper()
	return startBrokeredWith(t, setup{upstream: upstream}, change...)
}

func startBrokeredWith(t *testing.T, s setup, change ...func(*config.Config)) *brokered {
	t.Helper()
	b := &brokered{}
	// A proxy in front gives an address that is known before the sidecar listens.
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(q *httputil.ProxyRequest) {
		target, _ := url.Parse(b.base)
		q.SetURL(target)
		q.Out.Host = q.In.Host
	}})
	t.Cleanup(front.Close)
	b.public = front.URL
	clock := &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	b.party = newParty(t, clock.Now)
	s.now, s.inventory, s.change = clock.Now, demoInventory, func(c *config.Config) {
		key := filepath.Join(filepath.Dir(c.Resolve("x")), "broker.key")
		if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
			t.Fatal(err)
		}
		c.PublicURL, c.Auth = front.URL, nil
		c.Broker = &config.Broker{
			Login: config.BrokerLogin{Issuer: b.party.URL, ClientID: "sidecar", AllowLoopbackHTTP: true}, KeyFile: key,
			Clients: []config.BrokerClient{{ID: "desktop", RedirectURIs: []string{"http://127.0.0.1/callback"}}},
		}
		up := c.Upstreams["docs"]
		up.Credential = config.Credential{}
		up.Broker = &config.Provider{AuthorizeURL: b.party.URL + "/third", TokenURL: b.party.URL + "/third/token", ClientID: "sidecar", AllowLoopbackHTTP: true}
		c.Upstreams["docs"] = up
		for _, f := range change {
			f(c)
		}
	}
	b.rig = start(t, s)
	b.clock = clock
	return b
}

// consent is a user with a browser: it follows redirects up to the client, and
// allows what it is asked.
func (b *brokered) consent(t testing.TB, authorize string) url.Values {
	t.Helper()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: secureJar{jar}, CheckRedirect: func(q *http.Request, _ []*http.Request) error {
		if q.URL.Host == "127.0.0.1:7777" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := browser.Get(authorize)
	if err != nil {
		t.Fatal(err)
	}
	page := readAll(t, resp)
	form := url.Values{"decision": {"approve"}}
	for _, m := range regexp.MustCompile(`name="(flow|csrf)" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		form.Set(m[1], m[2])
	}
	if b.party.visits != 0 {
		t.Error("the third party was reached before the user was asked")
	}
	if resp, err = browser.PostForm(b.public+"/consent", form); err != nil {
		t.Fatal(err)
	}
	page = readAll(t, resp)
	link := regexp.MustCompile(`<a href="([^"]*)"`).FindStringSubmatch(page)
	if link == nil {
		t.Fatalf("%d %s", resp.StatusCode, page)
	}
	if resp, err = browser.Get(html.UnescapeString(link[1])); err != nil {
		t.Fatal(err)
	}
	_ = readAll(t, resp)
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("%d: %v", resp.StatusCode, err)
	}
	return back.Query()
}

// secureJar sends Secure cookies over plain http to this machine, as Chromium does.
type secureJar struct{ *cookiejar.Jar }

func (j secureJar) Cookies(u *url.URL) []*http.Cookie { return j.Jar.Cookies(overTLS(u)) }

func (j secureJar) SetCookies(u *url.URL, c []*http.Cookie) { j.Jar.SetCookies(overTLS(u), c) }

func overTLS(u *url.URL) *url.URL {
	secure := *u
	secure.Scheme = "https"
	return &secure
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// client is a program that signs in with the official SDK's OAuth handler.
func (b *brokered) client(t *testing.T) *mcp.ClientSession {
	t.Helper()
	handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		PreregisteredClient: &oauthex.ClientCredentials{ClientID: "desktop"}, RedirectURL: desktopRedirect,
		AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			q := b.consent(t, args.URL)
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "desktop", Version: "1"}, nil)
	session, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: b.public + "/mcp", OAuthHandler: handler, DisableStandaloneSSE: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// signIn goes the whole way by hand, for user, and returns the sidecar's token and
// the refresh token.
func (b *brokered) signIn(t *testing.T, user string, scopes ...string) (access, refresh string) {
	t.Helper()
	b.party.user, b.party.visits = user, 0
	const verifier = "a-verifier-of-43-characters-or-more-for-PKCE"
	sum := sha256.Sum256([]byte(verifier))
	q := b.consent(t, b.public+"/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {"desktop"}, "redirect_uri": {desktopRedirect}, "resource": {b.public + "/mcp"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "scope": {strings.Join(scopes, " ")},
	}.Encode())
	return b.redeem(t, url.Values{"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {desktopRedirect}, "client_id": {"desktop"}, "code_verifier": {verifier}})
}

func (b *brokered) redeem(t *testing.T, form url.Values) (access, refresh string) {
	t.Helper()
	resp, err := http.PostForm(b.public+"/token", form)
	if err != nil {
		t.Fatal(err)
	}
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	body := readAll(t, resp)
	if err := json.Unmarshal([]byte(body), &tokens); err != nil || tokens.Access == "" {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	b.tokens[tokens.Access] = tokens.Access // no trace of it may be found anywhere
	return tokens.Access, tokens.Refresh
}

// whose is a server that says whose token it was shown, and refuses nobody's.
func whose(p **party) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user := (*p).userOf(r)
		if user == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		result(`"content":[{"type":"text","text":"read in the name of `+user+`"}]`)(w, r)
	}
}

func startWhose(t *testing.T) *brokered {
	t.Helper()
	var p *party
	b := startBrokered(t, whose(&p))
	p = b.party
	return b
}

// The official SDK's client finds its way by itself: 401, metadata, login, consent,
// token, call.
func TestBrokerWithSDK(t *testing.T) {
	var p *party
	server := mcp.NewServer(&mcp.Implementation{Name: "docs", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "read_document"}, func(context.Context, *mcp.CallToolRequest, documentID) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "read document"}}}, nil, nil
	})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})
	b := startBrokered(t, func(w http.ResponseWriter, r *http.Request) {
		if p.userOf(r) != "alice" {
			t.Errorf("the server was shown %q", r.Header.Get("Authorization"))
		}
		handler.ServeHTTP(w, r)
	})
	p = b.party
	session := b.client(t)
	answer, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read_document", Arguments: map[string]any{"id": 1}})
	if err != nil || answer.IsError {
		t.Fatalf("%+v, %v", answer, err)
	}
	if strings.Contains(b.auditText(), b.party.last()) || strings.Contains(b.stderr.String(), b.party.last()) {
		t.Error("the third party's token is in a record or log")
	}
}

func (r *rig) auditText() string {
	text, err := os.ReadFile(r.auditLog)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// Each caller's calls are made with what he has granted, lists included.
func TestBrokerPerCaller(t *testing.T) {
	b := startWhose(t)
	for _, user := range []string{"alice", "bob"} {
		token, _ := b.signIn(t, user, "documents:read")
		for _, rev := range bothRevisions {
			if rev == legacy {
				continue // needs a session, which adds nothing here
			}
			a := b.do(toolCall(rev, token, "1", "read_document", `{"id":1}`))
			if a.status != http.StatusOK || !strings.Contains(string(a.body), "in the name of "+user) {
				t.Errorf("%s: %d %s", user, a.status, a.body)
			}
		}
	}
	shown := map[string]bool{}
	for _, l := range b.up.listings() {
		shown[l.header.Get("Authorization")] = true
	}
	if len(shown) != 2 {
		t.Errorf("tools were listed with %d credentials", len(shown))
	}
}

// What holds for everybody holds for the broker's users: roles come from the
// directory and never from a token, and the operator can take tokens back.
func TestBrokerWithAuth(t *testing.T) {
	revoked := filepath.Join(t.TempDir(), "revoked.txt")
	if err := os.WriteFile(revoked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := startBrokered(t, text("read"), func(c *config.Config) {
		roles := filepath.Join(t.TempDir(), "roles.yaml")
		if err := os.WriteFile(roles, []byte("user:login/zoe: [role:viewer]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.Broker.Login.SubjectPrefix = "login/"
		c.Auth = &config.Auth{RolesFile: roles, RevokedFile: revoked, Introspection: []config.Introspection{{Issuer: "https://idp.example", URL: "https://idp.example/introspect", SubjectPrefix: "idp/"}}}
	})
	for user, want := range map[string]string{"zoe": `"read"`, "alice": "denied"} {
		token, _ := b.signIn(t, user, "documents:read")
		if a := b.do(toolCall(modern, token, "1", "read_document", `{"id":1}`)); !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %d %s", user, a.status, a.body)
		}
	}
	token, _ := b.signIn(t, "zoe", "documents:read")
	if err := os.WriteFile(revoked, []byte("sub:"+b.public+" login/zoe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.sidecar.verifiers.Revoked.Look()
	if a := b.do(toolCall(modern, token, "1", "read_document", `{"id":1}`)); a.status != http.StatusUnauthorized || !strings.Contains(string(a.body), "token revoked") {
		t.Errorf("taken back: %d %s", a.status, a.body)
	}
	if strings.Contains(b.stderr.String(), "not configured") {
		t.Error("the log says that the broker is no issuer")
	}
}

// Without auth there is nothing else to look at, again and again.
func TestBrokerRecheck(t *testing.T) {
	b := startBrokered(t, text("read"))
	b.sidecar.look()
	token, _ := b.signIn(t, "alice", "documents:read")
	if a := b.do(toolCall(modern, token, "1", "read_document", `{"id":1}`)); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Who was not let in by the broker, for this server, reaches nothing.
func TestBrokerDenied(t *testing.T) {
	b := startBrokered(t, nil)
	token, _ := b.signIn(t, "alice", "documents:read")
	for name, presented := range map[string]string{"nothing": "", "opaque": "opaque-token", "the third party's token": b.party.last(), "cut": token[:len(token)-1]} {
		a := b.do(toolCall(modern, presented, "1", "read_document", `{"id":1}`))
		if challenge := a.header.Get("WWW-Authenticate"); a.status != http.StatusUnauthorized || !strings.Contains(challenge, `resource_metadata="`+b.public+`/.well-known/oauth-protected-resource/mcp"`) {
			t.Errorf("%s: %d %s", name, a.status, challenge)
		}
	}
	a := b.do(toolCall(modern, token, "1", "update_document", `{"id":1}`))
	if a.status != http.StatusForbidden || !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="documents:update"`) {
		t.Errorf("scope: %d %v", a.status, a.header)
	}
	b.clock.advance(5 * time.Minute)
	if a := b.do(toolCall(modern, token, "1", "read_document", `{"id":1}`)); a.status != http.StatusUnauthorized {
		t.Errorf("expired: %d", a.status)
	}
	if n := b.touched(); n != 0 {
		t.Errorf("the server was reached %d times", n)
	}
}

// inside is a resolver for which every name is this machine. It notes what it is
// asked.
type inside struct {
	mu    sync.Mutex
	asked []string
}

func (i *inside) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, host)
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// A client chooses the URL that is its id, so what is behind it is fetched from
// public addresses only, wherever its name leads.
func TestBrokerFetchesNothingInside(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var connections atomic.Int32
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	names := &inside{}
	b := startBrokeredWith(t, setup{resolver: names}, func(c *config.Config) {
		c.Broker.ClientHosts = []string{"*"}
		c.DNS.Hosts = map[string][]netip.Addr{"mapped.example.com": {netip.MustParseAddr("127.0.0.1")}}
	})
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "mapped.example.com:" + port, "resolved.example.com:" + port, "mapped.example.com", "resolved.example.com"} {
		t.Run(host, func(t *testing.T) {
			resp, err := b.http.Get(b.public + "/authorize?" + url.Values{"response_type": {"code"}, "client_id": {"https://" + host + "/app"}, "redirect_uri": {desktopRedirect}}.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if page := readAll(t, resp); resp.StatusCode != http.StatusBadRequest || !strings.Contains(page, "whose content cannot be used") {
				t.Errorf("%d %s", resp.StatusCode, page)
			}
			if n := connections.Load(); n != 0 {
				t.Errorf("%d connections reached this machine", n)
			}
		})
	}
	// Judged by its addresses, which the configuration and then the resolver know.
	if want := []string{"resolved.example.com"}; !slices.Equal(names.asked, want) {
		t.Errorf("the resolver was asked for %q, want %q", names.asked, want)
	}
}

// A third party's token that has ended is renewed once the server refuses it. When
// the third party is done with the user, the client reads 401 and can ask him again.
func TestBrokerGrantEnds(t *testing.T) {
	b := startWhose(t)
	token, refresh := b.signIn(t, "alice", "documents:read")
	call := toolCall(modern, token, "1", "read_document", `{"id":1}`)
	if a := b.do(call); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	b.party.dead[b.party.last()] = true
	if a := b.do(call); a.status != http.StatusOK || !strings.Contains(string(a.body), "alice") || len(b.party.issued) != 2 {
		t.Errorf("not renewed: %d %s", a.status, a.body)
	}
	b.party.dead[b.party.last()], b.party.gone = true, true
	if a := b.do(call); a.status == http.StatusOK {
		t.Errorf("allowed without a grant: %d %s", a.status, a.body)
	}
	if a := b.do(call); a.status != http.StatusUnauthorized {
		t.Errorf("the client does not learn of it: %d %s", a.status, a.body)
	}
	resp, err := http.PostForm(b.public+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {"desktop"}})
	if err != nil {
		t.Fatal(err)
	}
	if text := readAll(t, resp); !strings.Contains(text, "invalid_grant") {
		t.Errorf("refreshed without a grant: %s", text)
	}
	b.party.gone = false
	token, _ = b.signIn(t, "alice", "documents:read")
	if a := b.do(toolCall(modern, token, "1", "read_document", `{"id":1}`)); a.status != http.StatusOK {
		t.Errorf("after another consent: %d %s", a.status, a.body)
	}
}

// A server that repeats what it was shown tells the client nothing.
func TestBrokerEcho(t *testing.T) {
	b := startBrokered(t, func(w http.ResponseWriter, r *http.Request) {
		result(`"content":[{"type":"text","text":"it was `+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+` then"}]`)(w, r)
	})
	token, _ := b.signIn(t, "alice", "documents:read")
	a := b.do(toolCall(modern, token, "1", "read_document", `{"id":1}`))
	if a.status != http.StatusOK || strings.Contains(string(a.body), b.party.last()) || !strings.Contains(string(a.body), "REDACTED") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// The broker's pages are asked for under the public name only, and without a broker
// there are none.
func TestBrokerPages(t *testing.T) {
	b := startBrokered(t, nil)
	get := func(r *rig, path, host string) int {
		return r.do(ask{method: http.MethodGet, path: path, host: host}).status
	}
	for _, path := range []string{"/authorize", "/consent", "/callback/docs", "/jwks", "/.well-known/oauth-authorization-server"} {
		if status := get(b.rig, path, "attacker.example"); status != http.StatusForbidden {
			t.Errorf("%s under another name: %d", path, status)
		}
	}
	if status := get(b.rig, "/jwks", ""); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	var metadata struct {
		Servers []string `json:"authorization_servers"`
	}
	if err := json.Unmarshal(b.do(ask{method: http.MethodGet, path: "/.well-known/oauth-protected-resource/mcp"}).body, &metadata); err != nil || len(metadata.Servers) != 1 || metadata.Servers[0] != b.public {
		t.Errorf("%+v, %v", metadata, err)
	}
	var summary strings.Builder
	b.sidecar.Summary(&summary)
	for _, want := range []string{"tokens of the broker", "the caller's token of the third party at " + strings.TrimPrefix(b.party.URL, "http://"), "users log in at " + b.party.URL} {
		if !strings.Contains(summary.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, summary.String())
		}
	}
	plain := start(t, setup{})
	if status := get(plain, "/authorize", ""); status != http.StatusNotFound {
		t.Errorf("without a broker: %d", status)
	}
}

// A server of a third party is offered at its own path only: who calls all servers
// together has granted it nothing.
func TestBrokerIsNotMerged(t *testing.T) {
	t.Parallel()
	s := together(nil, text("from fs"))
	s.change = func(c *config.Config) {
		key := filepath.Join(filepath.Dir(c.Resolve("x")), "broker.key")
		if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
			t.Fatal(err)
		}
		c.PublicURL, c.Auth.SharedSubjects = "https://sidecar.example", true
		c.Broker = &config.Broker{Login: config.BrokerLogin{Issuer: "https://login.example", ClientID: "sidecar"}, KeyFile: key, ClientHosts: []string{"*"}, DynamicRegistration: true}
		up := c.Upstreams["docs"]
		up.Credential = config.Credential{}
		up.Broker = &config.Provider{AuthorizeURL: "https://third.example/", TokenURL: "https://third.example/token", ClientID: "sidecar"}
		c.Upstreams["docs"] = up
	}
	r := start(t, s)
	if g := r.do(toolCall(modern, r.allScopes("alice"), "1", "fs.read", `{"path":"x"}`)); g.status != http.StatusOK || !strings.Contains(string(g.body), "from fs") {
		t.Errorf("%d %s", g.status, g.body)
	}
	if g := r.do(toolCall(modern, r.allScopes("alice"), "1", "docs.read", `{}`)); !strings.Contains(string(g.body), "-32602") {
		t.Errorf("among all servers: %d %s", g.status, g.body)
	}
	if g := r.do(toolCall(modern, r.allScopes("alice"), "1", "read", `{}`).at("docs")); g.status != http.StatusUnauthorized {
		t.Errorf("at its own path: %d %s", g.status, g.body)
	}
	var summary strings.Builder
	r.sidecar.Summary(&summary)
	for _, want := range []string{"clients of any public host may ask users", "anybody may register a client"} {
		if !strings.Contains(summary.String(), want) {
			t.Errorf("the summary does not say %q", want)
		}
	}
}

// Secrets that cannot protect anything stop the start.
func TestBrokerKeys(t *testing.T) {
	b := startBrokered(t, nil)
	b.stop()
	key := b.sidecar.cfg.Broker.KeyFile
	for name, text := range map[string]string{"short": "k", "another": strings.Repeat("x", 32)} {
		if err := os.WriteFile(key, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(b.sidecar.cfg, Options{}); !errors.Is(err, ErrConfig) {
			t.Errorf("%s key: %v", name, err)
		}
	}
}
