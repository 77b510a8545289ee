package broker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var testKey = []byte(strings.Repeat("k", 32))

func newVault(t testing.TB, c *clock) *vault {
	t.Helper()
	v, err := openVault(filepath.Join(t.TempDir(), "state", "broker"), testKey, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func damage(t testing.TB, file string) {
	t.Helper()
	b := readFile(t, file)
	b[len(b)-1] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

type note struct {
	Text string `json:"text"`
}

const secretText = "a text that must not be on disk as it is"

func TestVault(t *testing.T) {
	c := newClock()
	v := newVault(t, c)
	whose := []string{"issuer", "alice", "client", "docs"}
	if err := v.put(kindGrant, whose, []string{"alice"}, time.Hour, note{secretText}); err != nil {
		t.Fatal(err)
	}
	var n note
	if err := v.get(kindGrant, whose, &n); err != nil || n.Text != secretText {
		t.Errorf("%v %v", n, err)
	}
	again, err := openVault(v.folder, testKey, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.get(kindGrant, whose, &n); err != nil || !again.has(kindGrant, whose) {
		t.Errorf("after a restart: %v", err)
	}
	for name, other := range map[string][]string{
		"another user":     {"issuer", "bob", "client", "docs"},
		"another upstream": {"issuer", "alice", "client", "mail"},
		"parts moved":      {"issuer", "alicec", "lient", "docs"},
		"parts joined":     {"issueralice", "client", "docs"},
	} {
		if err := v.get(kindGrant, other, &n); !errors.Is(err, errNoRecord) || v.has(kindGrant, other) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := v.get(kindSession, whose, &n); !errors.Is(err, errNoRecord) {
		t.Errorf("another kind: %v", err)
	}
	c.advance(time.Hour)
	if err := v.get(kindGrant, whose, &n); !errors.Is(err, errNoRecord) || v.has(kindGrant, whose) {
		t.Errorf("expired: %v", err)
	}
	if _, err := openVault(v.folder, testKey, c.Now); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(v.folder); len(files) != 0 {
		t.Errorf("expired records stay: %v", files)
	}
}

// What stands on the disk is readable by its owner only, and says nothing.
func TestVaultFiles(t *testing.T) {
	v := newVault(t, newClock())
	if err := v.put(kindGrant, []string{"alice"}, []string{"alice"}, time.Hour, note{secretText}); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Stat(v.folder)
	if err != nil || folder.Mode().Perm() != 0o700 {
		t.Errorf("folder %v %v", folder.Mode(), err)
	}
	files, err := os.ReadDir(v.folder)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	info, err := files[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v %v", info.Mode(), err)
	}
	content := readFile(t, filepath.Join(v.folder, files[0].Name()))
	for _, s := range []string{secretText, "alice", "must not"} {
		if bytes.Contains(content, []byte(s)) || strings.Contains(files[0].Name(), s) {
			t.Errorf("the file holds %q", s)
		}
	}
}

// A record that was touched does not open, and one that was moved to another's
// place does not either.
func TestVaultTampering(t *testing.T) {
	alice, bob := []string{"alice"}, []string{"bob"}
	for name, tamper := range map[string]func(t *testing.T, v *vault, own, other string){
		"last byte": func(t *testing.T, _ *vault, own, _ string) { damage(t, own) },
		"expiry": func(t *testing.T, _ *vault, own, _ string) {
			b := readFile(t, own)
			b[1] = 0x7f
			_ = os.WriteFile(own, b, 0o600)
		},
		"user": func(t *testing.T, _ *vault, own, _ string) {
			b := readFile(t, own)
			b[10] ^= 1
			_ = os.WriteFile(own, b, 0o600)
		},
		"another's in its place": func(t *testing.T, _ *vault, own, other string) { _ = os.Rename(other, own) },
		"cut short":              func(t *testing.T, _ *vault, own, _ string) { _ = os.Truncate(own, headerSize+4) },
		"empty":                  func(t *testing.T, _ *vault, own, _ string) { _ = os.Truncate(own, 0) },
		"huge":                   func(t *testing.T, _ *vault, own, _ string) { _ = os.Truncate(own, maxRecord+1) },
		"a folder":               func(t *testing.T, _ *vault, own, _ string) { _ = os.Remove(own); _ = os.Mkdir(own, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			v := newVault(t, newClock())
			for _, whose := range [][]string{alice, bob} {
				if err := v.put(kindGrant, whose, whose, time.Hour, note{whose[0]}); err != nil {
					t.Fatal(err)
				}
			}
			tamper(t, v, filepath.Join(v.folder, v.name(kindGrant, alice)), filepath.Join(v.folder, v.name(kindGrant, bob)))
			var n note
			if err := v.get(kindGrant, alice, &n); !errors.Is(err, errRecord) || n.Text != "" {
				t.Errorf("%v %v", n, err)
			}
		})
	}
	t.Run("another version", func(t *testing.T) {
		v := newVault(t, newClock())
		if err := v.put(kindGrant, alice, alice, time.Hour, note{"alice"}); err != nil {
			t.Fatal(err)
		}
		own := filepath.Join(v.folder, v.name(kindGrant, alice))
		b := readFile(t, own)
		b[0]++
		_ = os.WriteFile(own, b, 0o600)
		var n note
		if err := v.get(kindGrant, alice, &n); !errors.Is(err, errNoRecord) {
			t.Error(err)
		}
	})
}

func TestVaultWithAnotherKey(t *testing.T) {
	c := newClock()
	v := newVault(t, c)
	if _, err := openKeys(v, c.Now); err != nil {
		t.Fatal(err)
	}
	if err := v.put(kindGrant, []string{"alice"}, nil, time.Hour, note{secretText}); err != nil {
		t.Fatal(err)
	}
	other, err := openVault(v.folder, []byte(strings.Repeat("x", 32)), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openKeys(other, c.Now); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("begins anew on top of what it cannot read: %v", err)
	}
	if _, err := openVault(v.folder, []byte("short"), c.Now); err == nil {
		t.Error("a short key is accepted")
	}
}

// A crash while writing leaves a file that nobody reads, and the next start
// removes it.
func TestVaultAfterACrash(t *testing.T) {
	c := newClock()
	v := newVault(t, c)
	left := filepath.Join(v.folder, temporary+"123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := openVault(v.folder, testKey, c.Now)
	if err != nil || len(again.entries) != 0 {
		t.Fatal(again.entries, err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("the half file stays")
	}
}

func TestVaultBounds(t *testing.T) {
	c := newClock()
	v := newVault(t, c)
	fill := func(n int, u string, life time.Duration) {
		for i := range n {
			v.entries[fmt.Sprint(u, i)] = header{Expires: c.Now().Add(life).Unix() + int64(i), User: v.userOf([]string{u})}
		}
	}
	t.Run("a user loses his own oldest", func(t *testing.T) {
		fill(maxUserRecords-1, "alice", time.Hour)
		fill(1, "bob", time.Minute)
		for _, id := range []string{"a", "b"} {
			if err := v.put(kindSession, []string{id}, []string{"alice"}, 2*time.Hour, note{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := v.entries["alice0"]; ok || len(v.entries) != maxUserRecords+1 || !v.has(kindSession, []string{"a"}) {
			t.Errorf("%d entries", len(v.entries))
		}
		if _, ok := v.entries["bob0"]; !ok {
			t.Error("bob lost his to alice")
		}
	})
	t.Run("nobody loses to a flood", func(t *testing.T) {
		fill(maxRecords-len(v.entries)+1, "many", time.Hour)
		if err := v.put(kindSession, []string{"c"}, []string{"carol"}, time.Hour, note{}); !errors.Is(err, errFull) {
			t.Error(err)
		}
		if err := v.put(kindSession, []string{"a"}, []string{"alice"}, time.Hour, note{}); err != nil {
			t.Errorf("what is there can be replaced: %v", err)
		}
		c.advance(24 * time.Hour)
		if err := v.put(kindSession, []string{"c"}, []string{"carol"}, time.Hour, note{}); err != nil {
			t.Errorf("expired records take no room: %v", err)
		}
	})
	if err := v.put(kindSession, []string{"d"}, nil, time.Hour, note{strings.Repeat("x", maxRecord)}); err == nil {
		t.Error("a huge record is kept")
	}
	v.folder += "/none"
	if err := v.put(kindSession, []string{"e"}, nil, time.Hour, note{}); err == nil || v.has(kindSession, []string{"e"}) {
		t.Error("what could not be written counts as kept")
	}
}

// Keys are replaced when they are old, and stay published while what they signed
// may be shown.
func TestKeyRotation(t *testing.T) {
	c := newClock()
	v := newVault(t, c)
	k, err := openKeys(v, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	id := func() string {
		t.Helper()
		s, err := k.signing()
		if err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	first := id()
	c.advance(keyLife - time.Second)
	if id() != first {
		t.Error("replaced early")
	}
	c.advance(time.Second)
	second := id()
	if second == first || k.public(first) == nil || k.public(second) == nil || k.public("x") != nil {
		t.Error("the old key is not there any more, or still signs")
	}
	again, err := openKeys(v, c.Now)
	if err != nil || again.public(first) == nil || again.public(second) == nil {
		t.Errorf("after a restart: %v", err)
	}
	c.advance(keyLife + time.Second)
	id()
	if k.public(first) != nil || k.public(second) == nil {
		t.Error("the first key is still accepted")
	}
}

func TestShelf(t *testing.T) {
	c := newClock()
	s := newShelf[int](2, c.Now)
	if !s.put("a", 1, time.Minute) || !s.put("b", 2, time.Hour) || s.put("c", 3, time.Hour) {
		t.Error("a bound of 2 holds 2")
	}
	if n, ok := s.look("a"); !ok || n != 1 {
		t.Error("look")
	}
	c.advance(time.Minute)
	if _, ok := s.look("a"); ok {
		t.Error("a is late")
	}
	if !s.put("c", 3, time.Hour) {
		t.Error("what is late takes no room")
	}
	if n, ok := s.take("b"); !ok || n != 2 {
		t.Error("take")
	}
	if _, ok := s.take("b"); ok {
		t.Error("taken twice")
	}
	c.advance(time.Hour)
	if _, ok := s.take("c"); ok {
		t.Error("c is late")
	}
}
