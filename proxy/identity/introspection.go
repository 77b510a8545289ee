package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"golang.org/x/time/rate"
)

// Bounds of asking an issuer.
const (
	positiveLife   = 30 * time.Second // how long a revoked token may still pass
	negativeLife   = 5 * time.Second  // how long a token issued just now may still fail
	introspectForm = "application/x-www-form-urlencoded"

	// Tokens that were never accepted here share these; a flood of them leaves the
	// others alone.
	strangersPerSecond = 50
	strangersBurst     = 100
	strangersAtOnce    = 16
)

// IntrospectionOptions describe one issuer's introspection endpoint.
type IntrospectionOptions struct {
	Issuer       string   // what the tokens' issuer is called; an answer that names another is refused
	URL          string   // the endpoint (RFC 7662 section 2)
	ClientID     string   // empty: the endpoint is asked without client authentication
	ClientSecret Secret   //
	Audience     []string // a token must be meant for at least one of these

	SubjectPrefix string // stands before the subject, to tell users of several issuers apart
	Roles         RoleRule

	Fetcher *Fetcher         // asks URL
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: nothing is logged
}

// Introspector verifies opaque tokens by asking their issuer (RFC 7662). The
// issuer's word that a token is active is not enough: audience, expiry and
// issuer are checked here as well.
type Introspector struct {
	opts    IntrospectionOptions
	flights Flights[Principal]
	known   verdicts
	unknown verdicts // separate, so that random tokens evict nobody

	strangers *rate.Limiter
	slots     chan struct{} // one for each question about a stranger
	health    *Health
}

// NewIntrospector returns a verifier for the issuer that o describes.
func NewIntrospector(o IntrospectionOptions) *Introspector {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Introspector{
		opts:      o,
		strangers: rate.NewLimiter(strangersPerSecond, strangersBurst),
		slots:     make(chan struct{}, strangersAtOnce),
		health: NewHealth(o.Log.With("issuer", o.Issuer),
			"an introspection endpoint fails; tokens are believed for 30 seconds after the last answer",
			"an introspection endpoint answers again"),
	}
}

// Close drops idle connections.
func (v *Introspector) Close() { v.opts.Fetcher.Close() }

// Authenticate verifies token. Errors are a *Refusal, or wrap ErrUnavailable.
func (v *Introspector) Authenticate(ctx context.Context, token Secret) (Principal, error) {
	return v.verify(ctx, token, digestOf(token))
}

// recall returns the answer about d that is still believed.
func (v *Introspector) recall(d digest) (Principal, error, bool) {
	now := v.opts.Now()
	known, fresh, _ := v.known.find(d, now)
	if !fresh {
		return Principal{}, nil, false
	}
	return known.principal, current(known.principal, now), true
}

// current checks what changes with time, on every use of an answer.
func current(p Principal, now time.Time) error {
	if p.Expired(now) {
		return ErrExpired
	}
	return nil
}

// verify is Authenticate for a token with the digest d.
func (v *Introspector) verify(ctx context.Context, token Secret, d digest) (Principal, error) {
	if p, err, ok := v.recall(d); ok {
		return p, err
	}
	if _, refused, _ := v.unknown.find(d, v.opts.Now()); refused {
		return Principal{}, ErrInvalid
	}
	p, err := v.flights.Do(ctx, string(d[:]), func(ctx context.Context) (Principal, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		return v.ask(ctx, token, d)
	})
	switch {
	case err == nil:
		return p, current(p, v.opts.Now())
	case ctx.Err() != nil:
		return Principal{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return Principal{}, err
}

func (v *Introspector) ask(ctx context.Context, token Secret, d digest) (Principal, error) {
	release, err := v.admit(d)
	if err != nil {
		return Principal{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer release()
	asked := v.opts.Now() // what is said may have become untrue while it was on its way
	body, err := v.query(ctx, token)
	var a answer
	if err == nil {
		a, err = readAnswer(body)
	}
	now := v.opts.Now()
	if change := v.health.Note(err); change != nil {
		change()
	}
	if err != nil {
		return Principal{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	p, err := v.judge(a, now)
	switch {
	case err == nil:
		p.Roles = v.opts.Roles.of(body)
		v.known.put(d, verdict{principal: p, until: asked.Add(positiveLife)}, now)
	case errors.Is(err, ErrInvalid):
		v.known.drop(d)
		v.unknown.put(d, verdict{until: asked.Add(negativeLife)}, now)
	}
	return p, err
}

// admit says whether the issuer may be asked about d now, and returns what ends
// the question.
func (v *Introspector) admit(d digest) (release func(), err error) {
	now := v.opts.Now()
	if !v.health.MayTry(now) {
		return nil, errors.New("the introspection endpoint has just failed")
	}
	if _, _, seen := v.known.find(d, now); seen {
		return func() {}, nil
	}
	if !v.strangers.AllowN(now, 1) {
		return nil, errors.New("too many unknown tokens in a short time")
	}
	select {
	case v.slots <- struct{}{}:
		return func() { <-v.slots }, nil
	default:
		return nil, errors.New("too many unknown tokens at once")
	}
}

// Health keeps callers from waiting for an endpoint that fails: one question
// every two seconds finds out whether it still does. It is safe for concurrent use.
type Health struct {
	log            *slog.Logger
	fails, answers string // what is logged when it begins to

	mu      sync.Mutex
	failing bool
	tried   time.Time
}

// NewHealth returns the health of an endpoint that is thought to answer. Of its
// changes log says fails or answers.
func NewHealth(log *slog.Logger, fails, answers string) *Health {
	return &Health{log: log, fails: fails, answers: answers}
}

// MayTry says whether the endpoint is asked now. Whoever asks it calls Note.
func (h *Health) MayTry(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failing && !passed(h.tried, now, retryEvery) {
		return false
	}
	h.tried = now
	return true
}

// Note takes the end of a question. It returns what to say about it, if anything:
// only changes are logged, and without the lock, since a log can block.
func (h *Health) Note(err error) (change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && !h.failing:
		// The time of the next try counts from when this one began: a question that
		// hangs must not put it off.
		h.failing = true
		return func() {
			h.log.Warn(h.fails, "error", err)
		}
	case err == nil && h.failing:
		h.failing = false
		return func() { h.log.Info(h.answers) }
	}
	return nil
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
	IssuedAt *float64   `json:"iat"`
	ID       Secret     `json:"jti"`
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

func (v *Introspector) query(ctx context.Context, token Secret) ([]byte, error) {
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.opts.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("introspection request could not be made")
	}
	req.Header.Set("Content-Type", introspectForm)
	req.Header.Set("Accept", "application/json")
	if v.opts.ClientID != "" {
		// RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
		req.SetBasicAuth(url.QueryEscape(v.opts.ClientID), url.QueryEscape(v.opts.ClientSecret.Reveal()))
	}
	r, err := v.opts.Fetcher.Do(req)
	switch {
	case err != nil:
		return nil, fmt.Errorf("introspection endpoint: %w", err)
	case r.Status != http.StatusOK || r.Media != "application/json":
		return nil, fmt.Errorf("introspection endpoint answered %d with media type %.64q", r.Status, r.Media)
	}
	return r.Body.Reveal(), nil
}

func readAnswer(body []byte) (answer, error) {
	var a answer
	// This decoder refuses duplicate names and matches case exactly, so an answer
	// has one reading only.
	if err := json.Unmarshal(body, &a); err != nil {
		return answer{}, errors.New("introspection answer is not the JSON it should be")
	}
	return a, nil
}

func (v *Introspector) judge(a answer, now time.Time) (Principal, error) {
	p := Principal{
		Issuer: v.opts.Issuer, Subject: v.opts.SubjectPrefix + a.Subject, ClientID: a.ClientID,
		Audience: a.Audience, Scopes: strings.Fields(a.Scope),
		TokenID: a.ID, Issued: optionalDate(a.IssuedAt),
	}
	if a.Expiry != nil {
		p.Expiry = date(*a.Expiry)
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
	case a.Before != 0 && now.Before(date(a.Before)):
		return Principal{}, ErrEarly
	}
	return p, nil
}
