package identity

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// TokenOptions describe a token endpoint and what is asked of it for one upstream.
type TokenOptions struct {
	URL      string // the endpoint (RFC 6749 section 3.2)
	ClientID string
	// Secret proves who asks, by HTTP Basic (RFC 6749 section 2.3.1). Nil where
	// KeyFile does.
	Secret *Stored
	// KeyFile holds the key that signs assertions which prove it (RFC 7523 section
	// 2.2), in PEM. Empty where Secret does.
	KeyFile string
	KeyID   string // of KeyFile, as the endpoint knows it; empty says none

	Scopes   []string
	Resource string // what the token is for, as a URI (RFC 8707); empty asks for none
	Audience string // the same as a name (RFC 8693 section 2.1); empty asks for none

	// Accept is asked about each token before it is used. Nil accepts all.
	Accept  func(token string) error
	Fetcher *Fetcher         // asks URL
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil discards
}

func (o TokenOptions) withDefaults() TokenOptions {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Accept == nil {
		o.Accept = func(string) error { return nil }
	}
	return o
}

// tokenEndpoint asks a token endpoint.
type tokenEndpoint struct {
	opts   TokenOptions
	key    *followed[Hidden[crypto.Signer]] // nil where a secret proves who asks
	health *Health
}

func newTokenEndpoint(o TokenOptions) (*tokenEndpoint, error) {
	e := &tokenEndpoint{opts: o, health: NewHealth(o.Log.With("endpoint", o.URL), "a token endpoint fails; calls that need a new token are refused", "a token endpoint answers again")}
	if o.KeyFile == "" {
		return e, nil
	}
	var err error
	e.key, err = follow(o.KeyFile, parseSigner, o.Now, o.Log)
	return e, err
}

// Lives of what an endpoint issued.
const (
	expiryMargin = 30 * time.Second // it is not used for the last of its life: clocks differ, and calls take time
	unsaidLife   = time.Minute      // where the endpoint says nothing
	maxIssuedFor = time.Hour        // where it says more: what was withdrawn shows after that
)

// issued is a token, and until when it is shown.
type issued struct {
	credential Credential
	until      time.Time
}

// errRefused says that the endpoint answered, and gives no token.
var errRefused = errors.New("the token endpoint refuses")

// grant is what RFC 6749 section 5 and RFC 8693 section 2.2 have in an answer.
type grant struct {
	AccessToken Secret  `json:"access_token"`
	IssuedType  string  `json:"issued_token_type"`
	TokenType   string  `json:"token_type"`
	ExpiresIn   seconds `json:"expires_in"`
	Error       string  `json:"error"`
}

// seconds is a number of them, which some servers write as a string.
type seconds struct {
	n    int64
	said bool
}

func (s *seconds) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 || n > 1e12 {
		return errors.New("no number of seconds")
	}
	s.n, s.said = int64(n), true
	return nil
}

// ask sends form, completed by what o asks for and who asks. A secret that is
// refused may have been replaced a moment ago.
func (e *tokenEndpoint) ask(ctx context.Context, form url.Values, types ...string) (issued, error) {
	begun := e.opts.Now()
	if !e.health.MayTry(begun) {
		return issued{}, fmt.Errorf("%w: the token endpoint has just failed", ErrNoCredential)
	}
	shown, err := e.secret(ctx)
	var g grant
	if err == nil {
		g, err = e.send(ctx, form, shown)
	}
	if g.Error == "invalid_client" && e.opts.Secret != nil {
		if next, ok := e.opts.Secret.Renew(ctx, nil, shown); ok {
			g, err = e.send(ctx, form, next)
		}
	}
	var failure error
	if !errors.Is(err, errRefused) {
		failure = err
	}
	if say := e.health.Note(failure); say != nil {
		say()
	}
	if err == nil {
		err = e.judge(g, form, types)
	}
	if err != nil {
		return issued{}, fmt.Errorf("%w: %w", ErrNoCredential, err)
	}
	return issued{newCredential(g.AccessToken.Reveal()), begun.Add(g.life() - expiryMargin)}, nil
}

func (e *tokenEndpoint) secret(ctx context.Context) (Credential, error) {
	if e.opts.Secret == nil {
		return Credential{}, nil
	}
	return e.opts.Secret.Current(ctx, nil)
}

// life is how long the token is said to hold.
func (g grant) life() time.Duration {
	if !g.ExpiresIn.said {
		return unsaidLife
	}
	return min(time.Duration(min(g.ExpiresIn.n, int64(maxIssuedFor/time.Second)))*time.Second, maxIssuedFor)
}

// errorCode is what RFC 6749 section 5.2 allows, as far as it is used: nothing else
// of a refusal is repeated, since it may quote what was sent.
var errorCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

// send asks once. An answer that refuses is no failure of the endpoint's.
func (e *tokenEndpoint) send(ctx context.Context, form url.Values, secret Credential) (grant, error) {
	req, err := e.request(ctx, form, secret)
	if err != nil {
		return grant{}, err
	}
	reply, err := e.opts.Fetcher.Do(req)
	if err != nil {
		return grant{}, fmt.Errorf("token endpoint: %w", err)
	}
	var g grant
	// This decoder refuses duplicate names and matches case exactly, so an answer
	// has one reading only.
	readable := reply.Media == "application/json" && json.Unmarshal(reply.Body.Reveal(), &g) == nil
	switch {
	case readable && reply.Status == http.StatusOK && g.Error == "":
		return g, nil
	case readable && (reply.Status == http.StatusBadRequest || reply.Status == http.StatusUnauthorized) && errorCode.MatchString(g.Error):
		return grant{Error: g.Error}, fmt.Errorf("%w (%s)", errRefused, g.Error)
	}
	return grant{}, fmt.Errorf("token endpoint: answered %d with media type %.64q, which is no token", reply.Status, reply.Media)
}

func (e *tokenEndpoint) request(ctx context.Context, form url.Values, secret Credential) (*http.Request, error) {
	all := url.Values{}
	for name, value := range map[string]string{"scope": strings.Join(e.opts.Scopes, " "), "resource": e.opts.Resource, "audience": e.opts.Audience} {
		if value != "" {
			all.Set(name, value)
		}
	}
	for name, values := range form {
		all[name] = values
	}
	if e.key != nil {
		assertion, err := e.assertion()
		if err != nil {
			return nil, err
		}
		all.Set("client_id", e.opts.ClientID)
		all.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		all.Set("client_assertion", assertion)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.opts.URL, strings.NewReader(all.Encode()))
	if err != nil {
		return nil, errors.New("token endpoint: the request could not be made")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if e.key == nil {
		// RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
		req.SetBasicAuth(url.QueryEscape(e.opts.ClientID), url.QueryEscape(secret.Reveal()))
	}
	return req, nil
}

// shortestSubject is the length below which a token is too short to be told from a
// part of another, in bytes.
const shortestSubject = 8

// judge says why the token may not be used, if it may not.
func (e *tokenEndpoint) judge(g grant, form url.Values, types []string) error {
	subject, token := form.Get("subject_token"), g.AccessToken.Reveal()
	switch {
	case token == "" || len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return errors.New("token endpoint: the token is none (RFC 6749 appendix A.12)")
	case !strings.EqualFold(g.TokenType, "Bearer"):
		return errors.New("token endpoint: the token is no bearer token")
	case types != nil && !slices.Contains(types, g.IssuedType):
		return errors.New("token endpoint: the token is of another type than was asked for (RFC 8693 section 2.2.1)")
	case token == subject, len(subject) >= shortestSubject && strings.Contains(token, subject):
		// Handed on, it would be the caller's own token after all.
		return errors.New("token endpoint: the token is the caller's own")
	case g.ExpiresIn.said && g.ExpiresIn.n == 0:
		return errors.New("token endpoint: the token has expired already")
	}
	return e.opts.Accept(token)
}
