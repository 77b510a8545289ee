package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/singleflight"
)

// Bounds of asking an issuer.
const (
	positiveLife   = 30 * time.Second // how long a revoked token may still pass
	negativeLife   = 5 * time.Second  // how long a token issued just now may still fail
	maxCached      = 10_000           // entries in each cache
	introspectForm = "application/x-www-form-urlencoded"
)

// IntrospectionOptions describe one issuer's introspection endpoint.
type IntrospectionOptions struct {
	Issuer       string   // what the tokens' issuer is called; an answer that names another is refused
	URL          string   // the endpoint (RFC 7662 section 2)
	ClientID     string   // empty: the endpoint is asked without client authentication
	ClientSecret Secret   //
	Audience     []string // a token must be meant for at least one of these

	Fetcher *Fetcher         // asks URL
	Now     func() time.Time // nil: time.Now
}

// Introspector verifies opaque tokens by asking their issuer (RFC 7662). The
// issuer's word that a token is active is not enough: audience, expiry and
// issuer are checked here as well.
type Introspector struct {
	opts    IntrospectionOptions
	flights singleflight.Group

	mu      sync.Mutex
	known   map[string]verdict // keyed by the full token's SHA-256
	unknown map[string]verdict // separate, so that random tokens evict nobody
}

type verdict struct {
	principal Principal
	until     time.Time
}

// NewIntrospector returns a verifier for the issuer that o describes.
func NewIntrospector(o IntrospectionOptions) *Introspector {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Introspector{opts: o, known: map[string]verdict{}, unknown: map[string]verdict{}}
}

// Authenticate verifies token. Errors are a *Refusal, or wrap ErrUnavailable.
func (v *Introspector) Authenticate(ctx context.Context, token Secret) (Principal, error) {
	sum := sha256.Sum256([]byte(token.Reveal()))
	key := string(sum[:])
	if p, err, ok := v.cached(key); ok {
		return p, err
	}
	flight := v.flights.DoChan(key, func() (any, error) {
		// The question is shared by every caller with this token, so it must not
		// die with the one who happened to ask first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return v.ask(ctx, key, token)
	})
	select {
	case r := <-flight:
		if r.Err != nil {
			return Principal{}, r.Err
		}
		p := r.Val.(Principal)
		return p, v.current(p)
	case <-ctx.Done():
		return Principal{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (v *Introspector) cached(key string) (Principal, error, bool) {
	now := v.opts.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, ok := v.known[key]; ok && now.Before(e.until) {
		return e.principal, v.current(e.principal), true
	}
	if e, ok := v.unknown[key]; ok && now.Before(e.until) {
		return Principal{}, ErrInvalid, true
	}
	return Principal{}, nil, false
}

// current checks what changes with time, on every use of a cached answer too.
func (v *Introspector) current(p Principal) error {
	if p.Expired(v.opts.Now()) {
		return ErrExpired
	}
	return nil
}

func (v *Introspector) ask(ctx context.Context, key string, token Secret) (Principal, error) {
	a, err := v.query(ctx, token)
	if err != nil {
		return Principal{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	now := v.opts.Now()
	p, err := v.judge(a, now)
	var refusal *Refusal
	switch {
	case err == nil:
		v.remember(v.known, key, verdict{p, now.Add(positiveLife)})
	case errors.As(err, &refusal) && refusal == ErrInvalid:
		v.remember(v.unknown, key, verdict{until: now.Add(negativeLife)})
	}
	return p, err
}

func (v *Introspector) remember(cache map[string]verdict, key string, e verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(cache) >= maxCached {
		now := v.opts.Now()
		for k, old := range cache {
			if !now.Before(old.until) {
				delete(cache, k)
			}
		}
	}
	if len(cache) < maxCached {
		cache[key] = e
	}
}

// answer holds the members of RFC 7662 section 2.2 that matter here.
type answer struct {
	Active   bool       `json:"active"`
	Issuer   string     `json:"iss"`
	Subject  string     `json:"sub"`
	ClientID string     `json:"client_id"`
	Scope    string     `json:"scope"`
	Audience stringList `json:"aud"`
	Expiry   *float64   `json:"exp"` // 0 is a time, and long past
	Before   float64    `json:"nbf"`
	Type     string     `json:"token_type"`
	Bound    any        `json:"cnf"` // RFC 7800: usable only with proof of a key
}

// stringList is a JSON string or an array of strings (RFC 7519 section 4.1.3).
type stringList []string

func (l *stringList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = stringList{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

func (v *Introspector) query(ctx context.Context, token Secret) (answer, error) {
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.opts.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, errors.New("introspection request could not be made")
	}
	req.Header.Set("Content-Type", introspectForm)
	req.Header.Set("Accept", "application/json")
	if v.opts.ClientID != "" {
		// RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
		req.SetBasicAuth(url.QueryEscape(v.opts.ClientID), url.QueryEscape(v.opts.ClientSecret.Reveal()))
	}
	reply, err := v.opts.Fetcher.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("introspection endpoint: %w", err)
	}
	return readAnswer(reply)
}

func readAnswer(r Reply) (answer, error) {
	if r.Status != http.StatusOK || r.Media != "application/json" {
		return answer{}, fmt.Errorf("introspection endpoint answered %d with media type %.64q", r.Status, r.Media)
	}
	var a answer
	// This decoder refuses duplicate names and matches case exactly, so an answer
	// has one reading only.
	if err := json.Unmarshal(r.Body, &a); err != nil {
		return answer{}, errors.New("introspection answer is not the JSON it should be")
	}
	return a, nil
}

func (v *Introspector) judge(a answer, now time.Time) (Principal, error) {
	p := Principal{
		Issuer: v.opts.Issuer, Subject: a.Subject, ClientID: a.ClientID,
		Audience: a.Audience, Scopes: strings.Fields(a.Scope),
	}
	if a.Expiry != nil {
		p.Expiry = time.Unix(int64(*a.Expiry), 0)
	}
	switch {
	case strings.ContainsFunc(a.Subject+a.ClientID, unicode.IsControl):
		// A NUL would make two principals one (see Principal.Key).
		return Principal{}, ErrInvalid
	case !a.Active, a.Subject == "", a.Issuer != "" && a.Issuer != v.opts.Issuer:
		return Principal{}, ErrInvalid
	case a.Bound != nil, a.Type != "" && !strings.EqualFold(a.Type, "Bearer") && !strings.EqualFold(a.Type, "access_token"):
		// A sender-constrained token presented as a bare bearer token is what a
		// thief would present; the proof of possession cannot be checked here.
		return Principal{}, ErrInvalid
	case !intersects(a.Audience, v.opts.Audience):
		return Principal{}, wrongAudience(a.Audience, v.opts.Audience)
	case p.Expired(now):
		return Principal{}, ErrExpired
	case a.Before != 0 && now.Before(time.Unix(int64(a.Before), 0)):
		return Principal{}, ErrEarly
	}
	return p, nil
}

// Verifiers asks several verifiers in turn: an opaque token does not say who
// issued it. The first that accepts decides; when none does, a verifier that
// could not be asked outweighs one that did not know the token.
type Verifiers []*Introspector

// Authenticate verifies token. Errors are those of [Introspector.Authenticate].
func (vs Verifiers) Authenticate(ctx context.Context, token Secret) (Principal, error) {
	var result error = ErrInvalid
	for _, v := range vs {
		p, err := v.Authenticate(ctx, token)
		if err == nil {
			return p, nil
		}
		if errors.Is(result, ErrInvalid) || errors.Is(err, ErrUnavailable) {
			result = err
		}
	}
	return Principal{}, result
}
