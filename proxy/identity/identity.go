// Package identity turns a presented credential into a [Principal].
//
// It answers the first of three separate questions (who are you?) and carries
// the answer to the second (what did this credential grant?). What the identity
// may do is the policy's business.
package identity

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Secret is a text that must not be printed. Every way of formatting it yields
// "[redacted]"; Reveal is the one way to its value. It stands behind a pointer
// because package fmt calls no method of what an unexported field holds: it would
// print the text, but it prints an address.
type Secret struct {
	unprinted
	value *string
}

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{value: &value} }

// UnmarshalText makes s a copy of text, for what is decoded. Encoding s again does
// not show it.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// Reveal returns the value, for the one line that has to send or compare it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty says whether there is no value.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Secrets are texts like [Secret], in order. The first is mostly the only one, and
// takes no memory but its own.
type Secrets struct {
	unprinted
	first Secret
	more  []Secret
}

// NewSecrets wraps values where they are: they must not change afterwards.
func NewSecrets(values ...string) (s Secrets) {
	for i := range values {
		s.Add(Secret{value: &values[i]})
	}
	return s
}

// Add appends secret. Copies of s do not change.
func (s *Secrets) Add(secret Secret) {
	switch {
	case secret.value == nil:
		s.Add(NewSecret(""))
	case s.first.value == nil:
		s.first = secret
	default:
		s.more = append(s.more[:len(s.more):len(s.more)], secret)
	}
}

// Len is how many there are, empty ones among them.
func (s Secrets) Len() int {
	if s.first.value == nil {
		return 0
	}
	return 1 + len(s.more)
}

// At returns the one at i, counted from 0.
func (s Secrets) At(i int) Secret {
	if i == 0 {
		return s.first
	}
	return s.more[i-1]
}

// Hidden is a value that must not be printed and is more than one text, such as a key
// or a form with secrets in it. It prints like a [Secret]. It stands behind a function
// because package fmt, given a verb that does not fit such as %s, follows a pointer to
// a slice, a map or a struct.
type Hidden[T any] struct {
	unprinted
	value func() T
}

// Hide wraps value.
func Hide[T any](value T) Hidden[T] { return Hidden[T]{value: func() T { return value }} }

// Reveal returns the value, for the one line that has to use it; zero where none was
// wrapped.
func (h Hidden[T]) Reveal() (value T) {
	if h.value != nil {
		value = h.value()
	}
	return value
}

const redacted = "[redacted]"

// unprinted has what embeds it print as "[redacted]". It cannot keep package fmt
// from the other fields where that calls no methods: they must be pointers to texts,
// or functions.
type unprinted struct{}

func (unprinted) String() string               { return redacted }
func (unprinted) GoString() string             { return redacted }
func (unprinted) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (unprinted) MarshalText() ([]byte, error) { return []byte(redacted), nil }

var (
	_ fmt.Stringer   = Secret{}
	_ slog.LogValuer = Secret{}
)

// Principal is who a verified credential stands for, and what it granted.
type Principal struct {
	Issuer   string
	Subject  string // as the issuer names it, without the policy's "user:"; with the issuer's prefix, where one is configured
	ClientID string
	Audience []string
	Expiry   time.Time // zero: the issuer set none
	Issued   time.Time // zero: the issuer did not say when
	TokenID  Secret    // jti, by which the token can be taken back; empty: it has none
	Scopes   []string
	Roles    []string // policy names with their prefix: those that follow from the token or a directory; authorization adds the policy's
}

// Key identifies the principal for sessions, quotas and caches. The subject
// alone is not enough: two issuers may use the same one.
func (p Principal) Key() string {
	return p.Issuer + "\x00" + p.Subject + "\x00" + p.ClientID
}

// Expired says whether the credential's life has ended at now.
func (p Principal) Expired(now time.Time) bool {
	return !p.Expiry.IsZero() && !now.Before(p.Expiry)
}

// Anonymous is everybody, where authentication is switched off.
func Anonymous() Principal { return Principal{Issuer: "none", Subject: "anonymous"} }

// Local is the user of this machine who started the sidecar; uid is the system's
// name for him.
func Local(uid string) Principal { return Principal{Issuer: "none", Subject: "local:" + uid} }

// Refusal says why a credential was not accepted. Both texts are safe to show to
// whoever presented it.
type Refusal struct {
	// Public completes "authentication failed: …". It may name claim values,
	// which is why it exists only behind a successful verification.
	Public string
	// Description is the fixed phrase for error_description in the challenge
	// (RFC 6750 section 3); no claim value ever stands in a header.
	Description string

	foreign  bool     // the token is meant for another audience
	audience []string // which
}

func (r *Refusal) Error() string { return r.Public }

// Refusals without claim values.
var (
	ErrMissing = &Refusal{Public: "no bearer token was sent"} // no description: nothing was sent (RFC 6750 section 3.1)
	ErrInvalid = &Refusal{Public: "unknown or invalid token", Description: "unknown or invalid token"}
	ErrExpired = &Refusal{Public: "token expired", Description: "token expired"}
	ErrEarly   = &Refusal{Public: "token is not valid yet", Description: "token is not valid yet"}
	// The rest is said only of tokens whose signature is good.
	ErrWrongType  = &Refusal{Public: "not an access token that a bearer may use", Description: "not an access token that a bearer may use"}
	ErrIncomplete = &Refusal{Public: "token names no subject or no expiry", Description: "token names no subject or no expiry"}
	ErrLong       = &Refusal{Public: "token lives longer than is accepted here", Description: "token lives longer than is accepted here"}
)

// ErrUnavailable says that the verifier could not be asked; the call must be
// refused, but a new token would not help.
var ErrUnavailable = errors.New("token verification is unavailable")

// Bounds of values in a public text, in bytes: of a claim, and of an audience of ours,
// which is an address.
const (
	maxClaim    = 64
	maxAudience = 256
)

func wrongAudience(got, want []string) *Refusal {
	r := &Refusal{Description: "token audience is not accepted", foreign: true, audience: got}
	if len(got) == 0 {
		r.Public = fmt.Sprintf("token has no audience (expected %s)", quoteEach(want, maxAudience))
		return r
	}
	r.Public = fmt.Sprintf("token audience %s is not accepted (expected %s)", quoteList(got), quoteEach(want, maxAudience))
	return r
}

func quoteList(values []string) string { return quoteEach(values, maxClaim) }

// quoteEach cuts each value at longest.
func quoteEach(values []string, longest int) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		if len(v) > longest {
			v = v[:longest]
		}
		fmt.Fprintf(&b, "%q", v)
		if b.Len() > 4*maxClaim {
			b.WriteString(", …")
			break
		}
	}
	return b.String()
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// maxToken bounds a token, in bytes.
const maxToken = 8 << 10

// ParseBearer reads the values of all Authorization headers of one request (RFC
// 6750 section 2.1). Two headers are refused: which of them counts would be a
// guess, and an upstream could guess differently.
func ParseBearer(headers Secrets) (Secret, error) {
	switch headers.Len() {
	case 0:
		return Secret{}, ErrMissing
	case 1:
	default:
		return Secret{}, ErrInvalid
	}
	scheme, token, ok := strings.Cut(headers.At(0).Reveal(), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return Secret{}, ErrInvalid
	}
	token = strings.TrimLeft(token, " ")
	if !isToken68(token) {
		return Secret{}, ErrInvalid
	}
	return NewSecret(token), nil
}

// isToken68 checks the syntax b64token of RFC 6750 section 2.1.
func isToken68(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	body := strings.TrimRight(s, "=")
	return body != "" && !strings.ContainsFunc(body, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	})
}
