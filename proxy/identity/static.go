package identity

import (
	"crypto/subtle"
	"log/slog"
	"time"
)

// StaticIssuer is the issuer of principals with a static token. No configured
// issuer is called so: theirs are URLs.
const StaticIssuer = "static"

// StaticToken is a token that the operator made, for development and tests. Its
// file holds no more than its hash.
type StaticToken struct {
	SHA256   [32]byte // of the token
	Subject  string
	ClientID string
	Scopes   []string
	Audience []string
	Expiry   time.Time
}

// StaticOptions say where static tokens are.
type StaticOptions struct {
	File     string
	Parse    func(text []byte) ([]StaticToken, error)
	Audience []string         // a token must be meant for at least one of these
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: nothing is logged
}

// Static verifies tokens against a file, which it follows.
type Static struct {
	audience []string
	now      func() time.Time
	tokens   *followed[[]StaticToken]
}

// NewStatic reads the file, which must be usable.
func NewStatic(o StaticOptions) (*Static, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	tokens, err := follow(o.File, o.Parse, o.Now, o.Log)
	if err != nil {
		return nil, err
	}
	return &Static{o.Audience, o.Now, tokens}, nil
}

// Knows says whether token is one of those in the file.
func (v *Static) Knows(token string) bool {
	_, _, found := v.verify(digestOf(NewSecret(token)))
	return found
}

// verify says whose the token with digest d is. Found is false when the file does
// not name it.
func (v *Static) verify(d digest) (p Principal, err error, found bool) {
	var token *StaticToken
	tokens := v.tokens.get()
	for i := range tokens { // all of them, each in constant time: how long it takes says nothing
		if subtle.ConstantTimeCompare(tokens[i].SHA256[:], d[:]) == 1 {
			token = &tokens[i]
		}
	}
	switch {
	case token == nil:
		return Principal{}, nil, false
	case !intersects(token.Audience, v.audience):
		return Principal{}, wrongAudience(token.Audience, v.audience), true
	}
	p = Principal{
		Issuer: StaticIssuer, Subject: token.Subject, ClientID: token.ClientID,
		Audience: token.Audience, Expiry: token.Expiry, Scopes: token.Scopes,
	}
	if p.Expired(v.now()) {
		return Principal{}, ErrExpired, true
	}
	return p, nil, true
}
