package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	sdkauth "github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// loginRedirect is where a client that logs in would listen. The browser below stops
// before it goes there.
const loginRedirect = "http://127.0.0.1:7777/callback"

// loggedIn is a client of the SDK that has found the issuer, registered and logged
// its user in by itself.
type loggedIn struct {
	user    string
	client  *client
	handler *sdkauth.AuthorizationCodeHandler
	tokens  map[string]string // the demo's, to which those of logins are added

	mu     sync.Mutex
	scopes []string // that each login asked for
}

// logIn connects to the MCP endpoint url with the SDK's own OAuth handler. A server
// that asks for no token sees no login.
func logIn(ctx context.Context, url, user string, c *column) (*loggedIn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	l := &loggedIn{user: user, tokens: c.tokens}
	web := &http.Client{Transport: &http.Transport{}}
	var err error
	l.handler, err = sdkauth.NewAuthorizationCodeHandler(&sdkauth.AuthorizationCodeHandlerConfig{
		RedirectURL: loginRedirect, AuthorizationCodeFetcher: l.browse, Client: web,
		DynamicClientRegistrationConfig: &sdkauth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "scenarios", RedirectURIs: []string{loginRedirect}, TokenEndpointAuthMethod: "none",
		}},
	})
	if err != nil {
		return nil, err
	}
	session, err := connectTo(ctx, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: web, OAuthHandler: l.handler}, c.revision)
	if err != nil {
		return nil, fmt.Errorf("logging in to %s: %w", url, err)
	}
	l.client = &client{session: session}
	if err := l.keep(ctx); err != nil {
		l.client.close()
		return nil, err
	}
	return l, nil
}

// browse is the user's browser: it opens the login page as the user and reads the
// code from where it is sent next.
func (l *loggedIn) browse(ctx context.Context, args *sdkauth.AuthorizationArgs) (*sdkauth.AuthorizationResult, error) {
	page, err := url.Parse(args.URL)
	if err != nil {
		return nil, err
	}
	query := page.Query()
	l.note(query.Get("scope"))
	query.Set("login_hint", l.user) // the demo's issuer wants no password
	page.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, page.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r) // follows no redirect
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	sent, err := resp.Location()
	if err != nil || !strings.HasPrefix(sent.String(), loginRedirect+"?") {
		return nil, fmt.Errorf("the login page answers %s", resp.Status)
	}
	back := sent.Query()
	return &sdkauth.AuthorizationResult{Code: back.Get("code"), State: back.Get("state"), Iss: back.Get("iss")}, nil
}

func (l *loggedIn) note(scope string) {
	words := strings.Fields(scope)
	slices.Sort(words)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scopes = append(l.scopes, strings.Join(words, " "))
}

// keep remembers the token of the last login: no trace of it may be left anywhere.
func (l *loggedIn) keep(ctx context.Context) error {
	source, err := l.handler.TokenSource(ctx)
	if err != nil || source == nil {
		return err
	}
	token, err := source.Token()
	if err == nil {
		l.tokens[fmt.Sprintf("of login %d of %s", len(l.scopes), l.user)] = token.AccessToken
	}
	return err
}

// logins is what each login asked for, in order.
func (l *loggedIn) logins() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.scopes) == 0 {
		return "none"
	}
	return strings.Join(l.scopes, ", then ")
}
