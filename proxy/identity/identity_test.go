package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestParseBearer(t *testing.T) {
	long := strings.Repeat("a", maxToken)
	for _, row := range []struct {
		name    string
		headers []string
		want    string
		err     error
	}{
		{"none", nil, "", ErrMissing},
		{"token", []string{"Bearer abc"}, "abc", nil},
		{"scheme in any case", []string{"bEARER abc"}, "abc", nil},
		{"several spaces", []string{"Bearer   abc"}, "abc", nil},
		{"every legal character", []string{"Bearer aZ09-._~+/=="}, "aZ09-._~+/==", nil},
		{"longest", []string{"Bearer " + long}, long, nil},
		{"too long", []string{"Bearer " + long + "a"}, "", ErrInvalid},
		{"two headers", []string{"Bearer abc", "Bearer abc"}, "", ErrInvalid},
		{"empty header", []string{""}, "", ErrInvalid},
		{"no token", []string{"Bearer"}, "", ErrInvalid},
		{"empty token", []string{"Bearer "}, "", ErrInvalid},
		{"padding only", []string{"Bearer =="}, "", ErrInvalid},
		{"padding inside", []string{"Bearer a=b"}, "", ErrInvalid},
		{"space behind", []string{"Bearer abc "}, "", ErrInvalid},
		{"two tokens", []string{"Bearer abc def"}, "", ErrInvalid},
		{"comma", []string{"Bearer abc,def"}, "", ErrInvalid},
		{"tab", []string{"Bearer\tabc"}, "", ErrInvalid},
		{"quote", []string{`Bearer "abc"`}, "", ErrInvalid},
		{"not ASCII", []string{"Bearer abç"}, "", ErrInvalid},
		{"line break", []string{"Bearer abc\r\nX: 1"}, "", ErrInvalid},
		{"Basic", []string{"Basic YTpi"}, "", ErrInvalid},
		{"DPoP", []string{"DPoP abc"}, "", ErrInvalid},
		{"scheme glued on", []string{"Bearerabc"}, "", ErrInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := ParseBearer(NewSecrets(row.headers...))
			if got.Reveal() != row.want || !errors.Is(err, row.err) {
				t.Errorf("%q, %v; want %q, %v", got.Reveal(), err, row.want, row.err)
			}
		})
	}
}

// FuzzParseBearer: what is accepted is the token of the one header, and nothing
// that could break a header or a line.
func FuzzParseBearer(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("bearer  a==")
	f.Add("Basic x")
	f.Fuzz(func(t *testing.T, header string) {
		token, err := ParseBearer(NewSecrets(header))
		if err != nil {
			if !token.Empty() {
				t.Errorf("an error with a token: %v", err)
			}
			return
		}
		v := token.Reveal()
		if v == "" || len(v) > maxToken || !strings.HasSuffix(header, v) || strings.ContainsAny(v, " ,\"\r\n\x00") {
			t.Errorf("%q gave %q", header, v)
		}
	})
}

// No way of printing a secret shows it.
func TestSecretIsNotPrinted(t *testing.T) {
	s := NewSecret("canary-value")
	type holder struct {
		S Secret
		P *Secret
		M map[string]Secret
	}
	h := holder{s, &s, map[string]Secret{"k": s}}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(handler).Info("x", "secret", s, "pointer", &s, "holder", h)
	}
	encoded, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s), fmt.Sprintf("%v %+v %#v", h, h, h),
		log.String(), string(encoded), fmt.Sprint(fmt.Errorf("with %v", s)),
	} {
		if strings.Contains(text, "canary") || strings.Contains(text, "63616e617279") {
			t.Errorf("printed: %s", text)
		}
	}
	if s.Reveal() != "canary-value" || s.Empty() || !(Secret{}).Empty() {
		t.Error("the value is lost")
	}
}

func TestPrincipalKey(t *testing.T) {
	keys := map[string]Principal{}
	for _, p := range []Principal{
		{Issuer: "i", Subject: "s", ClientID: "c"}, {Issuer: "j", Subject: "s", ClientID: "c"}, {Issuer: "i", Subject: "t", ClientID: "c"},
		{Issuer: "i", Subject: "s", ClientID: "d"}, {Issuer: "i", Subject: "s"}, {Issuer: "is", ClientID: "c"}, {Issuer: "", Subject: "is", ClientID: "c"}, Anonymous(),
	} {
		if other, taken := keys[p.Key()]; taken {
			t.Errorf("%+v and %+v share a key", p, other)
		}
		keys[p.Key()] = p
	}
	same := Principal{Issuer: "i", Subject: "s", ClientID: "c", Scopes: []string{"x"}, Roles: []string{"role:y"}, Expiry: time.Now()}
	if _, known := keys[same.Key()]; !known {
		t.Error("scopes, roles and expiry belong to the token, not to the principal")
	}
}

func TestExpired(t *testing.T) {
	end := time.Unix(1000, 0)
	p := Principal{Expiry: end}
	if p.Expired(end.Add(-time.Nanosecond)) || !p.Expired(end) || !p.Expired(end.Add(time.Hour)) || (Principal{}).Expired(end) {
		t.Error("a token lives until its expiry, not longer, and without one it does not end")
	}
}

func TestQuoteList(t *testing.T) {
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprint("audience-", i))
	}
	for _, row := range []struct {
		name   string
		values []string
		want   string
	}{
		{"one", []string{"a"}, `"a"`},
		{"two", []string{"a", "b"}, `"a", "b"`},
		{"control characters", []string{"a\r\nSet-Cookie: x\x1b[0m"}, `"a\r\nSet-Cookie: x\x1b[0m"`},
		{"long", []string{strings.Repeat("a", 65)}, `"` + strings.Repeat("a", 64) + `"`},
	} {
		if got := quoteList(row.values); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	if got := quoteList(many); len(got) > 6*maxClaim || !strings.HasSuffix(got, ", …") {
		t.Errorf("a hundred values: %s", got)
	}
}
