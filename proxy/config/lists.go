package config

import (
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"time"
)

// StaticTokens is the file that [Auth.StaticTokensFile] names.
type StaticTokens struct {
	// Tokens are the ones that are accepted. Empty accepts none.
	Tokens []StaticToken `json:"tokens"`
}

// StaticToken is one token, known by its hash.
type StaticToken struct {
	// SHA256 is the hash of the token. Zero is refused.
	SHA256 Hash `json:"sha256"`
	// Subject is whose it is, as the policy names him without user:. Empty is refused.
	Subject string `json:"subject"`
	// ClientID is the program that uses it. Empty means that it has no name.
	ClientID string `json:"client_id,omitempty"`
	// Scopes are what it grants. Empty grants nothing.
	Scopes []string `json:"scopes,omitempty"`
	// Audience is the services that it is for. Empty is refused.
	Audience []string `json:"audience"`
	// Expires is when it ends. Zero is refused: what never ends is forgotten.
	Expires Moment `json:"expires"`
}

// Hash is a SHA-256, written as 64 hexadecimal digits.
type Hash [32]byte

// UnmarshalText accepts 64 hexadecimal digits.
func (h *Hash) UnmarshalText(b []byte) error {
	if n, err := hex.Decode(h[:], b[:min(len(b), 2*len(h))]); err != nil || n != len(h) || len(b) != 2*len(h) {
		return errors.New("must be a SHA-256 in 64 hexadecimal digits")
	}
	return nil
}

// MarshalText returns the digits.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// Moment is a point in time, written as RFC 3339 has it.
type Moment time.Time

// UnmarshalText accepts a date with time and zone.
func (m *Moment) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return errors.New("must be a time such as 2027-01-31T00:00:00Z")
	}
	*m = Moment(t)
	return nil
}

// MarshalText returns RFC 3339.
func (m Moment) MarshalText() ([]byte, error) { return time.Time(m).MarshalText() }

// ParseStaticTokens reads the file that [Auth.StaticTokensFile] names, as strictly
// as the configuration. The error is Errors with every problem.
func ParseStaticTokens(name string, text []byte) ([]StaticToken, error) {
	var file StaticTokens
	_, err := parseList(name, text, &file, func(k *checker) {
		for i, t := range file.Tokens {
			path := item("tokens", i)
			t.check(k, path)
			given := slices.ContainsFunc(file.Tokens[:i], func(other StaticToken) bool { return other.SHA256 == t.SHA256 })
			k.unless(!given, child(path, "sha256"), "is given twice")
		}
	})
	if err != nil {
		return nil, err
	}
	return file.Tokens, nil
}

func (t StaticToken) check(k *checker, path string) {
	if t.SHA256 == (Hash{}) {
		k.lacks(child(path, "sha256"), "is required")
	}
	k.unless(isPlainName(t.Subject), child(path, "subject"), "must be a name without space at its ends")
	k.unless(t.ClientID == "" || isPlainName(t.ClientID), child(path, "client_id"), "must be a name without space at its ends")
	for i, s := range t.Scopes {
		k.unless(scopeToken.MatchString(s), item(child(path, "scopes"), i), "is not a scope token (RFC 6749 section 3.3)")
	}
	if len(t.Audience) == 0 {
		k.lacks(child(path, "audience"), "is required: name at least one audience")
	}
	for i, s := range t.Audience {
		k.unless(isPlainName(s), item(child(path, "audience"), i), "must be a name without space at its ends")
	}
	if time.Time(t.Expires).IsZero() {
		k.lacks(child(path, "expires"), "is required")
	}
}

// ParseRoles reads the file that [Auth.RolesFile] names, as strictly as the
// configuration. The error is Errors with every problem.
func ParseRoles(name string, text []byte) (map[string][]string, error) {
	var roles map[string][]string
	_, err := parseList(name, text, &roles, func(k *checker) { checkRoles(k, "", roles) })
	return roles, err
}

// parseList reads text into target, and checks it if it has the right shape. It
// returns where everything stands.
func parseList(name string, text []byte, target any, check func(*checker)) (*origin, error) {
	o := newOrigin(name, string(text))
	root, problems := parseYAML(o, text, "write {} where nothing is meant")
	if len(problems) > 0 {
		return nil, problems.arrange()
	}
	o.places[""] = place{start(root), start(root)}
	d := &decoder{origin: o}
	d.value("", root, reflect.ValueOf(target).Elem())
	k := &checker{}
	if len(d.problems) == 0 {
		check(k)
	}
	for _, f := range k.found {
		d.problems = append(d.problems, o.locate(f))
	}
	if len(d.problems) > 0 {
		return nil, d.problems.arrange()
	}
	return o, nil
}
