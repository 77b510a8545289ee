package identity

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// skew is how far the issuer's clock may be off.
const skew = 30 * time.Second

// JWTOptions describe one issuer of signed access tokens.
type JWTOptions struct {
	Issuer     string   // claims and metadata must name exactly this
	Audience   []string // a token must be meant for at least one of these
	Algorithms []string // of Algorithms; nil: all of them

	// Where the issuer's keys are: in KeysFile, or at KeysURL, or where its metadata
	// says. Fetcher asks for them unless they are in a file.
	KeysFile string
	KeysURL  string
	Fetcher  *Fetcher

	RequireType   bool          // accept only tokens whose header says that they are access tokens
	MaxLifetime   time.Duration // of a token from issue to expiry; 0: 24 hours
	MaxStale      time.Duration // how long keys are used that cannot be fetched again; 0: 24 hours
	SubjectPrefix string        // stands before the subject, to tell users of several issuers apart
	Roles         RoleRule

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: nothing is logged
}

// JWT verifies signed access tokens (RFC 9068) of one issuer.
type JWT struct {
	opts  JWTOptions
	keys  *keyring
	known verdicts // about tokens that were accepted; a refusal costs no more than it did the first time
}

// NewJWT returns a verifier for the issuer that o describes. It fetches nothing
// yet. Close it.
func NewJWT(o JWTOptions) (*JWT, error) {
	if o.Algorithms == nil {
		o.Algorithms = Algorithms
	}
	for _, a := range o.Algorithms {
		if !slices.Contains(Algorithms, a) {
			return nil, fmt.Errorf("algorithm %q cannot be allowed", a)
		}
	}
	if o.MaxLifetime == 0 {
		o.MaxLifetime = defaultLongest
	}
	if o.MaxStale == 0 {
		o.MaxStale = defaultStale
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &JWT{opts: o, keys: o.keyring()}, nil
}

func (o *JWTOptions) keyring() *keyring {
	load, p := keysOf(o.Fetcher, o.Issuer), remotePace
	switch {
	case o.KeysFile != "":
		load, p = keysIn(o.KeysFile), filePace
	case o.KeysURL != "":
		load = keysAt(o.Fetcher, o.KeysURL)
	}
	return newKeyring(o.Issuer, load, p, o.MaxStale, o.Now, o.Log)
}

// Close ends what is under way. Nothing is fetched afterwards.
func (v *JWT) Close() {
	v.keys.close()
	if v.opts.Fetcher != nil {
		v.opts.Fetcher.Close()
	}
}

// recall returns what was found out about d before, as long as the keys that it
// was found out with are those of the issuer.
func (v *JWT) recall(ctx context.Context, d digest) (Principal, bool) {
	now := v.opts.Now()
	known, fresh, _ := v.known.find(d, now)
	if !fresh {
		return Principal{}, false
	}
	if set, err := v.keys.current(ctx); err != nil || set != known.keys {
		return Principal{}, false
	}
	return known.principal, true
}

// verify checks s, whose whole token has the digest d.
func (v *JWT) verify(ctx context.Context, s *signed, d digest) (Principal, error) {
	if s.header.loaded() || !slices.Contains(v.opts.Algorithms, s.header.Algorithm) {
		// The algorithm is settled before a key is looked for: none, and HS256 with a
		// public key for a secret, never get that far (RFC 8725 section 3.1).
		return Principal{}, ErrInvalid
	}
	key, set, err := v.keys.key(ctx, s.header.Algorithm, s.header.KeyID)
	if err != nil {
		return Principal{}, err
	}
	if err := jwt.GetSigningMethod(s.header.Algorithm).Verify(s.input.Reveal(), s.signature.Reveal(), key); err != nil {
		return Principal{}, ErrInvalid
	}
	now := v.opts.Now()
	p, err := v.judge(s, now)
	if err == nil {
		v.known.put(d, verdict{principal: p, until: p.Expiry, keys: set}, now)
	}
	return p, err
}

// judge checks what a token says whose signature is good (RFC 9068 section 4).
func (v *JWT) judge(s *signed, now time.Time) (Principal, error) {
	c := &s.claims
	access, certain := isAccessType(s.header.Type)
	switch {
	case !access, v.opts.RequireType && !certain, !certain && c.isOther(), c.Bound != nil:
		// An id token names another audience, or should: that is not relied on. A
		// sender-constrained token presented as a bare bearer token is what a thief
		// would present; the proof of possession cannot be checked here.
		return Principal{}, ErrWrongType
	case !intersects(c.Audience, v.opts.Audience):
		return Principal{}, wrongAudience(c.Audience, v.opts.Audience)
	case c.Subject == "" || c.Expiry == nil:
		return Principal{}, ErrIncomplete
	}
	p := v.principal(s)
	switch {
	case strings.ContainsFunc(p.Subject+p.ClientID, unicode.IsControl):
		return Principal{}, ErrInvalid // see Principal.Key
	case p.Expired(now):
		return Principal{}, ErrExpired
	}
	return p, v.checkTimes(c, now)
}

func (v *JWT) checkTimes(c *claims, now time.Time) error {
	issued := now
	if c.IssuedAt != nil {
		issued = date(*c.IssuedAt)
	}
	switch {
	case issued.After(now.Add(skew)), c.NotBefore != nil && date(*c.NotBefore).After(now.Add(skew)):
		return ErrEarly
	case date(*c.Expiry).Sub(issued) > v.opts.MaxLifetime+skew:
		return ErrLong
	}
	return nil
}

// principal is whom s stands for.
func (v *JWT) principal(s *signed) Principal {
	c := &s.claims
	p := Principal{
		Issuer: v.opts.Issuer, Subject: v.opts.SubjectPrefix + c.Subject, ClientID: c.ClientID,
		Audience: c.Audience, Expiry: date(*c.Expiry).Add(skew), Scopes: splitScope(c.Scope), Roles: v.opts.Roles.of(s.payload.Reveal()),
		TokenID: c.ID, Issued: optionalDate(c.IssuedAt),
	}
	if p.ClientID == "" {
		p.ClientID = c.Party
	}
	if c.Scope == "" {
		p.Scopes = c.Scopes
		if len(c.Scopes) == 1 {
			p.Scopes = splitScope(c.Scopes[0])
		}
	}
	return p
}

// splitScope splits a scope (RFC 6749 section 3.3).
func splitScope(s string) []string {
	return slices.DeleteFunc(strings.Split(s, " "), func(s string) bool { return s == "" })
}

func keysIn(name string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return readTrusted(name, maxTrusted) }
}
