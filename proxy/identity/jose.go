package identity

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// signed is a JWS in compact form (RFC 7515 section 7.1) as it was read. Nothing
// of it is verified.
type signed struct {
	header    header
	claims    claims
	payload   Hidden[[]byte] // JSON text of claims
	input     Secret         // what the signature is over
	signature Hidden[[]byte]
}

// header holds the members of RFC 7515 section 4.1 that matter here. Those that
// stand last are never accepted.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`

	KeySetURL   jsontext.Value `json:"jku"`  // the token would name its own keys,
	CertURL     jsontext.Value `json:"x5u"`  // and have us fetch them
	Key         jsontext.Value `json:"jwk"`  // the token would bring its own key
	Certificate jsontext.Value `json:"x5c"`  //
	Critical    jsontext.Value `json:"crit"` // no extension is understood (RFC 7515 section 4.1.11)
	Unencoded   jsontext.Value `json:"b64"`  // RFC 7797
	Encryption  jsontext.Value `json:"enc"`  // of a JWE
	Compression jsontext.Value `json:"zip"`
}

// loaded says whether the header holds a member that would have the verifier
// believe the token about itself, or that changes how it is to be read.
func (h *header) loaded() bool {
	for _, v := range []jsontext.Value{h.KeySetURL, h.CertURL, h.Key, h.Certificate, h.Critical, h.Unencoded, h.Encryption, h.Compression} {
		if v != nil {
			return true
		}
	}
	return false
}

// claims holds those of RFC 7519 section 4.1 and RFC 9068 section 2.2 that matter
// here, and the ones by which tokens for other purposes can be told.
type claims struct {
	Issuer    string     `json:"iss"`
	Subject   string     `json:"sub"`
	Audience  stringList `json:"aud"`
	Expiry    *float64   `json:"exp"`
	NotBefore *float64   `json:"nbf"`
	IssuedAt  *float64   `json:"iat"`
	ID        Secret     `json:"jti"`
	ClientID  string     `json:"client_id"`
	Party     string     `json:"azp"`
	Scope     string     `json:"scope"`
	Scopes    stringList `json:"scp"`
	Bound     any        `json:"cnf"` // RFC 7800: usable only with proof of a key

	Type   any            `json:"typ"`       // Keycloak: Bearer, ID, Refresh, Logout …
	Use    any            `json:"token_use"` // Cognito: access, id
	Nonce  jsontext.Value `json:"nonce"`     // OpenID Connect Core section 2
	Hash   jsontext.Value `json:"at_hash"`   // OpenID Connect Core section 3.1.3.6
	Code   jsontext.Value `json:"c_hash"`    // OpenID Connect Core section 3.3.2.11
	Events jsontext.Value `json:"events"`    // RFC 8417: logout tokens and other events
}

// errOpaque says that a token is no JWS and may mean something to its issuer only.
var errOpaque = errors.New("not a JWS")

// readSigned reads a token. The error is errOpaque for what is no JWS, or
// ErrInvalid for a JWS that cannot be read in one way only: its header or its
// claims hold a name twice, or have the wrong types.
func readSigned(token string) (*signed, error) {
	head, rest, _ := strings.Cut(token, ".")
	body, signature, ok := strings.Cut(rest, ".")
	text, err := segment(head)
	if !ok || strings.Contains(signature, ".") || err != nil || !isObject(text) {
		return nil, errOpaque
	}
	s := &signed{input: NewSecret(token[:len(head)+1+len(body)])}
	// This decoder refuses duplicate names and invalid UTF-8 and matches case
	// exactly, at every depth.
	if json.Unmarshal(text, &s.header) != nil {
		return nil, ErrInvalid
	}
	payload, err := segment(body)
	if err != nil || !isObject(payload) || json.Unmarshal(payload, &s.claims) != nil {
		return nil, ErrInvalid
	}
	sealed, err := segment(signature)
	if err != nil {
		return nil, ErrInvalid
	}
	s.payload, s.signature = Hide(payload), Hide(sealed)
	return s, nil
}

// isObject says whether text begins like a JSON object.
func isObject(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{"))
}

// segment decodes one part. There is one spelling of it: no padding, no line
// breaks, no bits left over (RFC 7515 section 2, RFC 4648 section 3.5).
func segment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return nil, errors.New("line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// date is the time that a NumericDate stands for (RFC 7519 section 2). What lies
// beyond every calendar is the end of the calendar, on either side.
func date(seconds float64) time.Time {
	const end = 1 << 40
	return time.Unix(int64(math.Max(-end, math.Min(end, seconds))), 0)
}

// optionalDate is the time that an optional NumericDate stands for, or zero.
func optionalDate(seconds *float64) time.Time {
	if seconds == nil {
		return time.Time{}
	}
	return date(*seconds)
}

// isAccessType says whether typ of the header is that of an access token, and
// whether it says so (RFC 9068 section 2.1). Media types compare without case,
// and may leave out application/ (RFC 7515 section 4.1.9).
func isAccessType(typ string) (ok, certain bool) {
	switch strings.ToLower(typ) {
	case "at+jwt", "application/at+jwt":
		return true, true
	case "", "jwt", "application/jwt":
		return true, false
	}
	return false, false
}

// isOther says whether c belongs to a token that is issued for another purpose
// than access. Such tokens are signed with the same keys, and some name the same
// audience.
func (c *claims) isOther() bool {
	if c.Nonce != nil || c.Hash != nil || c.Code != nil || c.Events != nil {
		return true
	}
	return !saysAccess(c.Type, "bearer", "jwt", "at+jwt") || !saysAccess(c.Use, "access")
}

// saysAccess says whether v is missing or one of names, without case.
func saysAccess(v any, names ...string) bool {
	if v == nil {
		return true
	}
	s, _ := v.(string)
	for _, n := range names {
		if strings.EqualFold(s, n) {
			return true
		}
	}
	return false
}
