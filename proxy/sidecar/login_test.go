package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/issuer"
)

// redirectURL is where the client of these tests would listen; the browser stops
// before it calls there.
const redirectURL = "http://127.0.0.1:7777/callback"

// loggingIn is a rig that clients reach at an address which is known before the
// sidecar listens, as it is behind a load balancer. Tokens have to be meant for it.
func loggingIn(t *testing.T, s setup) *rig {
	t.Helper()
	var target *url.URL
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host
	}})
	public := "http://" + front.Listener.Addr().String()
	s.extra += fmt.Sprintf("public_url: %q\n", public)
	change := s.change
	s.change = func(c *config.Config) {
		c.Auth.Audience = nil
		if change != nil {
			change(c)
		}
	}
	s.inventory = demoInventory
	r := start(t, s)
	var err error
	if target, err = url.Parse(r.base); err != nil {
		t.Fatal(err)
	}
	front.Start()
	t.Cleanup(front.Close) // before the sidecar's own end
	return r
}

// browser is how a user logs in: it opens what the client wants opened, fills in the
// form and reads where it is sent. It keeps the addresses that it was asked to open.
type browser struct {
	user string

	mu     sync.Mutex
	opened []url.Values
}

// open is an [auth.AuthorizationCodeFetcher].
func (b *browser) open(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
	asked, err := url.Parse(args.URL)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.opened = append(b.opened, asked.Query())
	b.mu.Unlock()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page, err := http.NewRequestWithContext(ctx, http.MethodGet, args.URL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(page)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the login page answers %s", resp.Status)
	}
	form, err := http.NewRequestWithContext(ctx, http.MethodPost, args.URL, strings.NewReader(url.Values{"user": {b.user}}.Encode()))
	if err != nil {
		return nil, err
	}
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if resp, err = client.Do(form); err != nil {
		return nil, err
	}
	resp.Body.Close()
	sent, err := resp.Location()
	if err != nil || !strings.HasPrefix(sent.String(), redirectURL+"?") {
		return nil, fmt.Errorf("the form answers %s, Location %v", resp.Status, sent)
	}
	q := sent.Query()
	return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
}

// scopes are those that each login asked for, sorted.
func (b *browser) scopes() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.opened {
		words := strings.Fields(q.Get("scope"))
		slices.Sort(words)
		all = append(all, strings.Join(words, " "))
	}
	return all
}

// logIn connects the official client in rev with the SDK's own OAuth handler, which
// knows the sidecar's address and nothing else.
func (r *rig) logIn(t *testing.T, rev string, c auth.AuthorizationCodeHandlerConfig) (*mcp.ClientSession, *auth.AuthorizationCodeHandler) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c.Client, c.RedirectURL = &http.Client{Transport: transport}, redirectURL
	handler, err := auth.NewAuthorizationCodeHandler(&c)
	if err != nil {
		t.Fatal(err)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: r.public + "/mcp", HTTPClient: c.Client, OAuthHandler: handler,
	}, &mcp.ClientSessionOptions{ProtocolVersion: rev})
	if err != nil {
		t.Fatal(err)
	}
	return session, handler
}

// keepToken remembers the token that handler has got, for the canary check.
func (r *rig) keepToken(t *testing.T, name string, handler *auth.AuthorizationCodeHandler) {
	t.Helper()
	source, err := handler.TokenSource(t.Context())
	if err != nil || source == nil {
		t.Fatalf("no token source: %v", err)
	}
	token, err := source.Token()
	if err != nil {
		t.Fatal(err)
	}
	r.tokens[name] = token.AccessToken
}

// clientDocument serves the document of a client whose id is its address.
func clientDocument(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"client_id":"https://%s/client.json","client_name":"Test","redirect_uris":[%q]}`, r.Host, redirectURL)
	}))
	t.Cleanup(server.Close)
	return server
}

// registrations are the ways in which a client gets an id at the issuer.
var registrations = map[string]func(t *testing.T) (auth.AuthorizationCodeHandlerConfig, func(*issuer.Issuer), *http.Client){
	"pre-registered, public": func(*testing.T) (auth.AuthorizationCodeHandlerConfig, func(*issuer.Issuer), *http.Client) {
		return auth.AuthorizationCodeHandlerConfig{PreregisteredClient: &oauthex.ClientCredentials{ClientID: "app"}},
			func(i *issuer.Issuer) { i.AddClient(issuer.Client{ID: "app", RedirectURIs: []string{redirectURL}}) }, nil
	},
	"pre-registered, with a secret": func(*testing.T) (auth.AuthorizationCodeHandlerConfig, func(*issuer.Issuer), *http.Client) {
		return auth.AuthorizationCodeHandlerConfig{PreregisteredClient: &oauthex.ClientCredentials{ClientID: "app", ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: "s3cret/+"}}},
			func(i *issuer.Issuer) {
				i.AddClient(issuer.Client{ID: "app", Secret: "s3cret/+", RedirectURIs: []string{redirectURL}})
			}, nil
	},
	"metadata document": func(t *testing.T) (auth.AuthorizationCodeHandlerConfig, func(*issuer.Issuer), *http.Client) {
		server := clientDocument(t)
		return auth.AuthorizationCodeHandlerConfig{ClientIDMetadataDocumentConfig: &auth.ClientIDMetadataDocumentConfig{URL: server.URL + "/client.json"}}, nil, server.Client()
	},
	"dynamic": func(*testing.T) (auth.AuthorizationCodeHandlerConfig, func(*issuer.Issuer), *http.Client) {
		return auth.AuthorizationCodeHandlerConfig{DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{ClientName: "Test", RedirectURIs: []string{redirectURL}, TokenEndpointAuthMethod: "none"},
		}}, nil, nil
	},
}

// The official client finds the issuer, registers, logs its user in, calls, is told
// that it needs more, logs in again for that and calls: with the SDK's own code.
func TestOfficialClientLogsIn(t *testing.T) {
	t.Parallel()
	for name, registration := range registrations {
		for verifier, change := range map[string]func(*config.Config){"introspected": nil, "signed": signedOnly} {
			for _, rev := range bothRevisions {
				t.Run(name+"/"+verifier+"/"+rev, func(t *testing.T) {
					c, prepare, documents := registration(t)
					r := loggingIn(t, setup{upstream: sdkServer(t, rev == modern), issuer: func(i *issuer.Config) { i.Documents = documents }, change: change})
					if prepare != nil {
						prepare(r.issuer)
					}
					r.logsInAndStepsUp(t, rev, c)
				})
			}
		}
	}
}

// logsInAndStepsUp plays the client's part with c, and checks what was asked of whom.
func (r *rig) logsInAndStepsUp(t *testing.T, rev string, c auth.AuthorizationCodeHandlerConfig) {
	t.Helper()
	b := &browser{user: "alice"}
	c.AuthorizationCodeFetcher = b.open
	session, handler := r.logIn(t, rev, c)
	if got, want := b.scopes(), []string{"documents:read"}; !slices.Equal(got, want) {
		t.Fatalf("logins ask for %q, want %q", got, want)
	}
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read_document", Arguments: map[string]any{"id": 7}})
	if err != nil || res.IsError || !strings.HasPrefix(textsOf(res)[0], "read document id=7") {
		t.Fatalf("%v %+v", err, res)
	}
	r.keepToken(t, "first", handler)
	res, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "delete_document", Arguments: map[string]any{"id": 7, "confirm": true}})
	if err != nil || res.IsError || textsOf(res)[0] != `arguments {"id":7}` {
		t.Fatalf("after the step up: %v %+v", err, res)
	}
	r.keepToken(t, "second", handler)
	if got, want := b.scopes(), []string{"documents:read", "documents:delete documents:read"}; !slices.Equal(got, want) {
		t.Errorf("logins ask for %q, want %q", got, want)
	}
	for _, q := range b.opened {
		if q.Get("resource") != r.public+"/mcp" || q.Get("code_challenge_method") != "S256" {
			t.Errorf("login %v", q)
		}
	}
	// Nothing is asked again for what was granted already.
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read_document", Arguments: map[string]any{"id": 8}}); err != nil || len(b.scopes()) != 2 {
		t.Errorf("once more: %v, %d logins", err, len(b.scopes()))
	}
	if err := session.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	r.loggedInRecords(t)
}

// loggedInRecords checks that the refusal for lack of scope was recorded, and that
// whatever was allowed has alice's name on it.
func (r *rig) loggedInRecords(t *testing.T) {
	t.Helper()
	missing := 0
	for _, e := range r.records() {
		switch {
		case e.Reason == "scope":
			missing++
		case e.Outcome == "allowed" && (e.Subject != "alice" || e.Issuer != r.issuerURL):
			t.Errorf("record %+v", e)
		}
	}
	if missing != 1 {
		t.Errorf("%d calls were refused for lack of scope, want 1", missing)
	}
}

// What a login cannot change ends in a refusal that the client reads, and not in one
// login after the other.
func TestStepUpInVain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		users  map[string][]string
		user   string
		text   string
		logins []string
	}{
		{"the issuer does not grant it", map[string][]string{"alice": {"documents:read"}}, "alice",
			`denied: token scope is missing "documents:delete"`, []string{"documents:read", "documents:delete documents:read"}},
		{"the role does not allow it", map[string][]string{"carol": {"documents:read", "documents:delete"}}, "carol",
			`denied: role "viewer" may not delete document`, []string{"documents:read", "documents:delete documents:read"}},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				r := loggingIn(t, setup{upstream: sdkServer(t, rev == modern), issuer: func(i *issuer.Config) { i.Users = row.users }})
				r.issuer.AddClient(issuer.Client{ID: "app", RedirectURIs: []string{redirectURL}})
				b := &browser{user: row.user}
				session, handler := r.logIn(t, rev, auth.AuthorizationCodeHandlerConfig{PreregisteredClient: &oauthex.ClientCredentials{ClientID: "app"}, AuthorizationCodeFetcher: b.open})
				res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "delete_document", Arguments: map[string]any{"id": 7, "confirm": true}})
				var refusal *jsonrpc.Error
				text := ""
				switch {
				case errors.As(err, &refusal):
					text = refusal.Message
				case err == nil && res.IsError:
					text = textsOf(res)[0]
				}
				if text != row.text {
					t.Errorf("%v %+v, want %s", err, res, row.text)
				}
				if got := b.scopes(); !slices.Equal(got, row.logins) {
					t.Errorf("logins ask for %q, want %q", got, row.logins)
				}
				r.keepToken(t, "last", handler)
				if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read_document", Arguments: map[string]any{"id": 8}}); err != nil {
					t.Errorf("the session has not survived the refusal: %v", err)
				}
				_ = session.Close()
			})
		}
	}
}
