package config

import (
	"encoding"
	"reflect"
	"testing"
	"time"
)

func TestEnums(t *testing.T) {
	type enum interface {
		encoding.TextMarshaler
		String() string
	}
	rows := []struct {
		name   string
		value  enum
		target encoding.TextUnmarshaler
	}{
		{"balanced", PresetBalanced, new(Preset)},
		{"observe", PresetObserve, new(Preset)},
		{"strict", PresetStrict, new(Preset)},
		{"off", ModeOff, new(Mode)},
		{"observe", ModeObserve, new(Mode)},
		{"enforce", ModeEnforce, new(Mode)},
		{"confirm", ConsentConfirm, new(Consent)},
		{"off", ConsentOff, new(Consent)},
		{"flagged", WrapFlagged, new(Wrap)},
		{"always", WrapAlways, new(Wrap)},
		{"off", WrapOff, new(Wrap)},
		{"flag", OnErrorFlag, new(OnError)},
		{"pass", OnErrorPass, new(OnError)},
		{"plain", DelimiterPlain, new(Delimiter)},
		{"nonce", DelimiterNonce, new(Delimiter)},
		{"none", CredentialNone, new(CredentialKind)},
		{"header", CredentialHeader, new(CredentialKind)},
		{"env", CredentialEnv, new(CredentialKind)},
		{"intent", SyncIntent, new(Sync)},
		{"always", SyncAlways, new(Sync)},
	}
	for _, r := range rows {
		text, err := r.value.MarshalText()
		if err != nil || string(text) != r.name || r.value.String() != r.name {
			t.Errorf("%T: %q, %v", r.value, text, err)
		}
		if err := r.target.UnmarshalText(text); err != nil || reflect.ValueOf(r.target).Elem().Interface() != r.value {
			t.Errorf("%T from %q: %v, %v", r.value, text, r.target, err)
		}
	}
}

func TestEnumsRefuse(t *testing.T) {
	rows := []struct {
		text, want string
		target     encoding.TextUnmarshaler
	}{
		{"", "must be one of off, observe, enforce", new(Mode)},
		{"Off", "must be one of off, observe, enforce", new(Mode)},
		{"", "must be one of confirm, off", new(Consent)},
		{"elicit", "elicit is not built yet", new(Consent)},
		{"bearer", "must be one of none, header, env, arg, client_credentials, token_exchange", new(CredentialKind)},
		{"mtls", "is none of the kinds: a certificate for the server belongs into tls beside credential", new(CredentialKind)},
		{"invalid(9)", "must be one of balanced, observe, strict", new(Preset)},
	}
	for _, r := range rows {
		if err := r.target.UnmarshalText([]byte(r.text)); err == nil || err.Error() != r.want {
			t.Errorf("%T from %q: %v", r.target, r.text, err)
		}
	}
	if got := Preset(9).String(); got != "invalid(9)" {
		t.Errorf("a constant without a name is called %q", got)
	}
}

func TestByteSize(t *testing.T) {
	rows := []struct {
		text  string
		size  ByteSize
		spelt string
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"1025", 1025, "1025"},
		{"1024", 1 << 10, "1KiB"},
		{"16KiB", 16 << 10, "16KiB"},
		{"4MiB", 4 << 20, "4MiB"},
		{"2048KiB", 2 << 20, "2MiB"},
		{"1GiB", 1 << 30, "1GiB"},
		{"9223372036854775807", 1<<63 - 1, "9223372036854775807"},
	}
	for _, r := range rows {
		var s ByteSize
		if err := s.UnmarshalText([]byte(r.text)); err != nil || s != r.size || s.String() != r.spelt {
			t.Errorf("%q: %d, %q, %v", r.text, s, s, err)
		}
	}
	for _, text := range []string{"", "KiB", "4MB", "4 MiB", "4mib", "0x10", "010", "1_000", "1.5MiB", "+1", "--1", "9223372036854775808", "8589934592GiB"} {
		var s ByteSize
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %d", text, s)
		}
	}
}

func TestDuration(t *testing.T) {
	rows := []struct {
		text  string
		want  time.Duration
		spelt string
	}{
		{"5m", 5 * time.Minute, "5m"},
		{"300s", 5 * time.Minute, "5m"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"24h", 24 * time.Hour, "24h"},
		{"1500ms", 1500 * time.Millisecond, "1.5s"},
		{"10s", 10 * time.Second, "10s"},
		{"0s", 0, "0s"},
	}
	for _, r := range rows {
		var d Duration
		if err := d.UnmarshalText([]byte(r.text)); err != nil || time.Duration(d) != r.want || d.String() != r.spelt {
			t.Errorf("%q: %v, %v", r.text, d, err)
		}
	}
	for _, text := range []string{"", "0", "300", "5 m", "m", "5M", "1d"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %v", text, d)
		}
	}
}
