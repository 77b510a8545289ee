package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Preset chooses what is enforced when nothing else is said.
type Preset uint8

// Presets. The zero value is balanced.
const (
	PresetBalanced Preset = iota
	PresetObserve
	PresetStrict
)

// Mode says what becomes of what a guard finds.
type Mode uint8

// Modes. The zero value means that nobody chose one: the preset decides.
const (
	ModeUnset Mode = iota
	ModeOff
	ModeObserve
	ModeEnforce
)

// Consent says what a call needs beside authorization.
type Consent uint8

// Kinds of consent. The zero value means that the preset and the tool's
// annotations decide.
const (
	ConsentUnset   Consent = iota
	ConsentConfirm         // the argument confirm=true, which a model can give itself
	ConsentOff             // never asked
)

// Wrap says when results are put between delimiters.
type Wrap uint8

// The zero value wraps what a signature flagged.
const (
	WrapFlagged Wrap = iota
	WrapAlways
	WrapOff
)

// Delimiter is the form of the delimiters around results.
type Delimiter uint8

// The zero value is the same in every message.
const (
	DelimiterPlain Delimiter = iota
	DelimiterNonce           // with random text that is new in each message
)

// Sync says which audit records wait for the disk (fsync).
type Sync uint8

// The zero value makes intents wait.
const (
	SyncIntent Sync = iota // others survive a crash of the sidecar at once, of the host after a second
	SyncAlways
)

// CredentialKind says how the sidecar's credential is shown to an upstream.
type CredentialKind uint8

// Kinds of credential. The zero value shows none.
const (
	CredentialNone CredentialKind = iota
	CredentialHeader
	CredentialEnv       // of a command
	CredentialArg       // of every tool call
	CredentialGranted   // by client credentials; in a header
	CredentialExchanged // for each caller; in a header
)

// Algorithm is how an issuer signs tokens. Others than these are not offered: with
// a shared secret everybody who verifies could sign.
type Algorithm uint8

// Algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1).
const (
	AlgorithmRS256 Algorithm = iota
	AlgorithmES256
	AlgorithmEdDSA
)

// Names in the order of the constants. An empty name is the unset value, which a
// file cannot spell.
var (
	presetNames     = []string{"balanced", "observe", "strict"}
	modeNames       = []string{"", "off", "observe", "enforce"}
	consentNames    = []string{"", "confirm", "off"}
	wrapNames       = []string{"flagged", "always", "off"}
	onErrorNames    = []string{"flag", "pass"}
	delimiterNames  = []string{"plain", "nonce"}
	syncNames       = []string{"intent", "always"}
	algorithmNames  = []string{"RS256", "ES256", "EdDSA"}
	credentialNames = []string{"none", "header", "env", "arg", "client_credentials", "token_exchange"}
)

// String returns the preset's name in the file.
func (p Preset) String() string { return enumName(presetNames, p) }

// String returns the mode's name in the file; it is empty for ModeUnset.
func (m Mode) String() string { return enumName(modeNames, m) }

// String returns the name in the file; it is empty for ConsentUnset.
func (c Consent) String() string { return enumName(consentNames, c) }

// String returns the name in the file.
func (w Wrap) String() string { return enumName(wrapNames, w) }

// String returns the name in the file.
func (d Delimiter) String() string { return enumName(delimiterNames, d) }

// String returns the name in the file.
func (o OnError) String() string { return enumName(onErrorNames, o) }

// String returns the name in the file.
func (s Sync) String() string { return enumName(syncNames, s) }

// String returns the kind's name in the file.
func (k CredentialKind) String() string { return enumName(credentialNames, k) }

// String returns the algorithm's name.
func (a Algorithm) String() string { return enumName(algorithmNames, a) }

// MarshalText returns the name.
func (a Algorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// MarshalText returns the name.
func (p Preset) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalText returns the name.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// MarshalText returns the name.
func (c Consent) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// MarshalText returns the name.
func (w Wrap) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// MarshalText returns the name.
func (d Delimiter) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalText returns the name.
func (o OnError) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// MarshalText returns the name.
func (s Sync) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText returns the name.
func (k CredentialKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText accepts exactly the names of the file, in lower case. The error
// lists them.
func (p *Preset) UnmarshalText(b []byte) error { return enumParse(presetNames, b, p) }

// UnmarshalText accepts exactly the names of the file, in lower case.
func (m *Mode) UnmarshalText(b []byte) error { return enumParse(modeNames, b, m) }

// UnmarshalText accepts exactly the names of the file, in lower case.
func (c *Consent) UnmarshalText(b []byte) error {
	return enumParse(consentNames, b, c, pendingConsent...)
}

// UnmarshalText accepts exactly the names of RFC 7518.
func (a *Algorithm) UnmarshalText(b []byte) error { return enumParse(algorithmNames, b, a) }

// UnmarshalText accepts exactly the names of the file, in lower case.
func (w *Wrap) UnmarshalText(b []byte) error { return enumParse(wrapNames, b, w) }

// UnmarshalText accepts exactly the names of the file, in lower case.
func (d *Delimiter) UnmarshalText(b []byte) error { return enumParse(delimiterNames, b, d) }

// UnmarshalText accepts exactly the names of the file, in lower case.
func (o *OnError) UnmarshalText(b []byte) error { return enumParse(onErrorNames, b, o) }

// UnmarshalText accepts exactly the names of the file, in lower case.
func (s *Sync) UnmarshalText(b []byte) error { return enumParse(syncNames, b, s) }

// UnmarshalText accepts exactly the names of the file, in lower case.
func (k *CredentialKind) UnmarshalText(b []byte) error {
	if string(b) == "mtls" {
		return errors.New("is none of the kinds: a certificate for the server belongs into tls beside credential")
	}
	return enumParse(credentialNames, b, k)
}

func enumName[E ~uint8](names []string, e E) string {
	if int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("invalid(%d)", e)
}

func enumParse[E ~uint8](names []string, b []byte, e *E, later ...string) error {
	if slices.Contains(later, string(b)) {
		return fmt.Errorf("%s is not built yet", b)
	}
	if i := slices.Index(names, string(b)); i >= 0 && len(b) > 0 {
		*e = E(i)
		return nil
	}
	return errors.New("must be one of " + strings.Join(spelled(names), ", "))
}

// spelled leaves out the unset value.
func spelled(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
}

// ByteSize is a number of bytes, written 4096, 16KiB, 4MiB or 1GiB.
type ByteSize int64

var byteUnits = []struct {
	suffix string
	size   int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

// String writes the size with the largest unit that divides it.
func (s ByteSize) String() string {
	for _, u := range byteUnits {
		if s != 0 && int64(s)%u.size == 0 {
			return strconv.FormatInt(int64(s)/u.size, 10) + u.suffix
		}
	}
	return "0"
}

// MarshalText returns String.
func (s ByteSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts a whole number with or without a binary unit. Decimal
// units are refused, since MB means two things.
func (s *ByteSize) UnmarshalText(b []byte) error {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(string(b), u.suffix)
		if !ok {
			continue
		}
		n, err := wholeNumber(digits)
		if err != nil || n > math.MaxInt64/u.size {
			break
		}
		*s = ByteSize(n * u.size)
		return nil
	}
	return errors.New("must be a number of bytes such as 65536, 64KiB or 4MiB")
}

// Duration is a length of time, written as Go writes it: 5m, 1m30s.
type Duration time.Duration

const defaultCallIdleTimeout = Duration(5 * time.Minute)

// String writes the duration without zero parts: 5m, not 5m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText returns String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText accepts what time.ParseDuration accepts, except a number without
// a unit.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || string(b) == "0" {
		return errors.New("must be a duration such as 30s, 5m or 1h30m")
	}
	*d = Duration(v)
	return nil
}

// wholeNumber reads plain decimal digits. YAML libraries disagree about 010,
// 0x10 and 1_000; this file has one spelling for each number.
func wholeNumber(s string) (int64, error) {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || len(digits) > 1 && digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return 0, errors.New("must be a whole number in plain decimal digits")
	}
	return strconv.ParseInt(s, 10, 64)
}

// Decimal is a number with at most 18 digits before and 9 behind the point, kept as it
// is written: a tenth is a tenth.
type Decimal string

var decimal = regexp.MustCompile(decimalPattern)

const decimalPattern = `^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,9})?$`

// UnmarshalText accepts plain decimal digits.
func (d *Decimal) UnmarshalText(b []byte) error {
	if !decimal.Match(b) {
		return errors.New("must be a number such as 10, -1 or 0.5, with at most 18 digits before and 9 behind the point")
	}
	*d = Decimal(b)
	return nil
}

// Rat is the number's exact value.
func (d Decimal) Rat() *big.Rat {
	r, _ := new(big.Rat).SetString(string(d))
	return r
}
