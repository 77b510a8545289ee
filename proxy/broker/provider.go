package broker

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"mcp-sidecar/proxy/identity"
)

const formMedia = "application/x-www-form-urlencoded"

// tokens are a third party's.
type tokens struct {
	Access  identity.Secret `json:"access_token"`
	Refresh identity.Secret `json:"refresh_token,omitzero"`
	Expires time.Time       `json:"expires,omitzero"` // zero: the third party does not say
}

// tokenRequest is a request to a token endpoint (RFC 6749 section 4.1.3).
type tokenRequest struct {
	url      string
	clientID string
	secret   identity.Secret // empty: none is sent
	inForm   bool
	form     identity.Hidden[url.Values]
	fetch    *identity.Fetcher
}

// tokenReply is what counts of the answer (RFC 6749 sections 5.1 and 5.2).
type tokenReply struct {
	Access  identity.Secret `json:"access_token"`
	Type    string          `json:"token_type"`
	Refresh identity.Secret `json:"refresh_token"`
	Life    float64         `json:"expires_in"`
	IDToken identity.Secret `json:"id_token"`
	Error   string          `json:"error"`
}

var (
	errTokenEndpoint = errors.New("the token endpoint cannot be used")
	errRefused       = errors.New("the token endpoint refuses")
	errInvalidGrant  = errors.New("the token endpoint says that the grant is not valid")
)

// maxToken bounds a token of somebody else's, in bytes.
const maxToken = 16 << 10

func (q tokenRequest) send(ctx context.Context) (tokenReply, error) {
	form := q.form.Reveal()
	if q.secret.Empty() || q.inForm {
		form.Set("client_id", q.clientID)
	}
	if q.inForm && !q.secret.Empty() {
		form.Set("client_secret", q.secret.Reveal())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, q.url, strings.NewReader(form.Encode()))
	if err != nil {
		return tokenReply{}, errTokenEndpoint
	}
	r.Header.Set("Content-Type", formMedia)
	r.Header.Set("Accept", "application/json")
	if !q.inForm && !q.secret.Empty() {
		// RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
		r.SetBasicAuth(url.QueryEscape(q.clientID), url.QueryEscape(q.secret.Reveal()))
	}
	reply, err := q.fetch.Do(r)
	if err != nil {
		return tokenReply{}, errors.Join(errTokenEndpoint, err)
	}
	return readTokenReply(reply)
}

func readTokenReply(reply identity.Reply) (tokenReply, error) {
	var t tokenReply
	if reply.Media != "application/json" || json.Unmarshal(reply.Body.Reveal(), &t) != nil {
		return tokenReply{}, errTokenEndpoint
	}
	switch {
	case t.Error == "invalid_grant":
		return tokenReply{}, errInvalidGrant
	case reply.Status != http.StatusOK || t.Error != "": // some answer 200 with an error
		return tokenReply{}, failureOf(reply.Status, t.Error)
	case !strings.EqualFold(t.Type, "Bearer"), !isHeaderValue(t.Access.Reveal()), len(t.Refresh.Reveal()) > maxToken:
		return tokenReply{}, errTokenEndpoint
	}
	return t, nil
}

// failureOf tells an endpoint that refuses one request (RFC 6749 section 5.2) from
// one that fails for everybody.
func failureOf(status int, code string) error {
	switch status {
	case http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized:
		if code != "" {
			return errRefused
		}
	}
	return errTokenEndpoint
}

// isHeaderValue keeps out what would end a header early, or be none.
func isHeaderValue(s string) bool {
	return s != "" && len(s) <= maxToken && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// exchange asks the third party of upstream for tokens.
func (b *Broker) exchange(ctx context.Context, upstream string, form url.Values) (tokens, error) {
	p := b.opts.Upstreams[upstream].Provider
	if p.Resource != "" {
		form.Set("resource", p.Resource)
	}
	ask := tokenRequest{url: p.TokenURL, clientID: p.ClientID, secret: p.ClientSecret, inForm: p.SecretInForm, form: identity.Hide(form), fetch: p.Fetch}
	reply, err := ask.send(ctx)
	if err != nil {
		return tokens{}, err
	}
	t := tokens{Access: reply.Access, Refresh: reply.Refresh}
	if reply.Life > 0 {
		t.Expires = b.opts.Now().Add(time.Duration(min(reply.Life, float64(sessionLife/time.Second))) * time.Second)
	}
	return t, nil
}

// early is how long before its end a third party's token is renewed: a call takes
// a while.
const early = 30 * time.Second

// Token returns the third party's token with which upstream is called in p's name.
// It is renewed when it is about to end. Errors are [ErrNoGrant], or wrap
// [identity.ErrUnavailable].
func (b *Broker) Token(ctx context.Context, p identity.Principal, upstream string) (identity.Secret, error) {
	return b.show(ctx, p, upstream, "")
}

// Renewed is Token in place of refused, which the upstream did not take: the third
// party may have ended it before its time.
func (b *Broker) Renewed(ctx context.Context, p identity.Principal, upstream string, refused identity.Secret) (identity.Secret, error) {
	return b.show(ctx, p, upstream, refused.Reveal())
}

func (b *Broker) show(ctx context.Context, p identity.Principal, upstream, refused string) (identity.Secret, error) {
	if p.Issuer != b.opts.Issuer {
		return identity.Secret{}, ErrNoGrant // somebody else's subject of the same name
	}
	whose := b.principal(p.Subject, p.ClientID, upstream)
	t, err := b.kept(whose)
	if err == nil && !t.usable(b.opts.Now(), refused) {
		t, err = b.renewal(ctx, whose, refused)
	}
	if err != nil {
		return identity.Secret{}, err
	}
	b.shown.note(b.vault.name(kindGrant, whose.binding()), t.Access.Reveal())
	return t.Access, nil
}

// renewal is what renew returns, once for all who wait.
func (b *Broker) renewal(ctx context.Context, p principal, refused string) (tokens, error) {
	t, err := b.refreshes.Do(ctx, b.vault.name(kindGrant, p.binding()), func(ctx context.Context) (tokens, error) { return b.renew(ctx, p, refused) })
	if err != nil && ctx.Err() != nil {
		err = errors.Join(identity.ErrUnavailable, err)
	}
	return t, err
}

func (t tokens) usable(now time.Time, refused string) bool {
	return t.Access.Reveal() != refused && (t.Expires.IsZero() || now.Before(t.Expires.Add(-early)))
}

// Shown are the third party's tokens with which upstream has been called in p's
// name a moment ago. No answer may repeat them.
func (b *Broker) Shown(p identity.Principal, upstream string) []string {
	return b.shown.of(b.vault.name(kindGrant, b.principal(p.Subject, p.ClientID, upstream).binding()))
}

// shown remembers the last tokens of each grant, in memory. An answer under way may
// hold the one before.
type shown struct {
	mu  sync.Mutex
	all map[string]identity.Hidden[[]string] // never changed in place
}

const maxShown = 2

func (s *shown) note(name, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.all[name].Reveal()
	if slices.Contains(known, token) {
		return
	}
	if s.all == nil || len(s.all) >= maxRecords {
		s.all = map[string]identity.Hidden[[]string]{} // more than there can be grants: those of others have ended
	}
	s.all[name] = identity.Hide(append(slices.Clone(known[max(0, len(known)-maxShown+1):]), token))
}

func (s *shown) of(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[name].Reveal()
}

func (b *Broker) kept(p principal) (tokens, error) {
	var t tokens
	err := b.vault.get(kindGrant, p.binding(), &t)
	switch {
	case errors.Is(err, errNoRecord):
		b.vault.drop(kindGrant, p.binding()) // also where only the file is gone
		return tokens{}, ErrNoGrant
	case errors.Is(err, errRecord): // and stays so: only a new login helps
		b.opts.Log.Error("a grant is damaged", "upstream", p.Upstream, "error", err)
		return tokens{}, b.ended(p)
	case err != nil:
		b.opts.Log.Error("a grant cannot be read", "upstream", p.Upstream, "error", err)
		return tokens{}, errors.Join(identity.ErrUnavailable, err)
	}
	return t, nil
}

// renew exchanges the refresh token. The third party may rotate it, so the new one
// is on disk before the new access token is used.
func (b *Broker) renew(ctx context.Context, p principal, refused string) (tokens, error) {
	t, err := b.kept(p)
	if err != nil || t.usable(b.opts.Now(), refused) {
		return t, err // somebody else was faster
	}
	if t.Refresh.Empty() {
		return tokens{}, b.ended(p)
	}
	next, err := b.refreshed(ctx, p.Upstream, t.Refresh.Reveal())
	switch {
	case errors.Is(err, errInvalidGrant):
		return tokens{}, b.ended(p)
	case err != nil:
		return tokens{}, errors.Join(identity.ErrUnavailable, err)
	}
	if next.Refresh.Empty() {
		next.Refresh = t.Refresh // not rotated (RFC 6749 section 6)
	}
	if err := b.keep(p, next); err != nil {
		b.opts.Log.Error("a renewed grant could not be kept", "upstream", p.Upstream, "error", err)
		return tokens{}, errors.Join(identity.ErrUnavailable, err)
	}
	return next, nil
}

var errJustFailed = errors.New("the token endpoint has just failed")

// refreshed are the tokens for refresh. While the endpoint fails, few calls ask it
// and all others are refused at once. Codes are exchanged apart from that: what a
// user brings back must not stand for the endpoint's health.
func (b *Broker) refreshed(ctx context.Context, upstream, refresh string) (tokens, error) {
	health := b.healths[upstream]
	if !health.MayTry(b.opts.Now()) {
		return tokens{}, errJustFailed
	}
	next, err := b.exchange(ctx, upstream, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	var failure error
	switch {
	case errors.Is(err, errRefused):
		b.opts.Log.Warn("a third party's token was not renewed", "upstream", upstream, "error", err)
	case !errors.Is(err, errInvalidGrant):
		failure = err
	}
	if say := health.Note(failure); say != nil {
		say()
	}
	return next, err
}

func (b *Broker) keep(p principal, t tokens) error {
	return b.vault.put(kindGrant, p.binding(), p.user(), sessionLife, t)
}

// ended forgets a grant that is good for nothing any more. From now on our own
// tokens for it are refused, so that the client asks the user again.
func (b *Broker) ended(p principal) error {
	b.vault.drop(kindGrant, p.binding())
	b.opts.Log.Info("a third party's grant has ended", "upstream", p.Upstream)
	return ErrNoGrant
}
