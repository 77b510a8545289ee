package pipeline

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestSealer(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	one, two, other := newSealer([]byte("a key that replicas share"), clock), newSealer([]byte("a key that replicas share"), clock), newSealer(nil, clock)
	sealed := one.seal("state", "binding")
	for _, row := range []struct {
		name            string
		s               *sealer
		sealed, binding string
		at              time.Duration
		opens           bool
	}{
		{"itself", one, sealed, "binding", 0, true},
		{"a replica", two, sealed, "binding", 0, true},
		{"at the end of its life", two, sealed, "binding", stateLife, true},
		{"a second later", two, sealed, "binding", stateLife + time.Second, false},
		{"another key", other, sealed, "binding", 0, false},
		{"another binding", one, sealed, "bindinG", 0, false},
		{"cut", one, sealed[:len(sealed)-2], "binding", 0, false},
		{"longer", one, sealed + "AA", "binding", 0, false},
		{"empty", one, "", "binding", 0, false},
		{"a nonce alone", one, sealed[:16], "binding", 0, false},
		{"not base64", one, "§", "binding", 0, false},
	} {
		now = now.Add(row.at)
		got, err := row.s.open(row.sealed, row.binding)
		if now = now.Add(-row.at); (err == nil) != row.opens || row.opens && got != "state" {
			t.Errorf("%s: %q, %v", row.name, got, err)
		}
	}
	if b, _ := base64.RawURLEncoding.DecodeString(sealed); bytes.Contains(b, []byte("state")) || strings.Contains(sealed, "c3RhdGU") {
		t.Error("the state can be read")
	}
}

// FuzzOpen: whatever is opened was sealed.
func FuzzOpen(f *testing.F) {
	s := newSealer([]byte("key"), time.Now)
	f.Add(s.seal("state", "b"), "b")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, sealed, binding string) {
		if state, err := s.open(sealed, binding); err == nil && (state != "state" || binding != "b") {
			t.Errorf("%q opened as %q for %q", sealed, state, binding)
		}
		if state, err := s.open(s.seal(sealed, binding), binding); err != nil || state != sealed {
			t.Errorf("%q sealed and opened is %q, %v", sealed, state, err)
		}
	})
}
