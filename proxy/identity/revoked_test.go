package identity

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// takenBack is a list in a file that a test writes.
type takenBack struct {
	*Revoked
	t    *testing.T
	file string
	now  *stopped
	log  *bytes.Buffer
}

func listed(t *testing.T, text string) *takenBack {
	t.Helper()
	l := &takenBack{t: t, file: filepath.Join(t.TempDir(), "revoked"), now: &stopped{now: time.Unix(1795435200, 0)}, log: &bytes.Buffer{}}
	l.write(text)
	var err error
	l.Revoked, err = NewRevoked(RevokedOptions{
		File: l.file, Issuers: []string{testIssuer}, Now: l.now.Now, Log: slog.New(slog.NewJSONHandler(l.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *takenBack) write(text string) { writeFile(l.t, l.file, text, 0o600) }

// check is what becomes of a token of alice's with an id.
func (l *takenBack) check(id string) error {
	return l.Revoked.check(NewSecret("token"), digestOf(NewSecret("token")), Principal{Issuer: testIssuer, Subject: "alice", TokenID: NewSecret(id)})
}

const (
	sumOfToken = "3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0" // printf %s token | sha256sum
	otherSum   = "0000000000000000000000000000000000000000000000000000000000000000"
)

func TestRevoked(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	alice := Principal{Issuer: testIssuer, Subject: "alice", ClientID: "cli", TokenID: NewSecret("id 1"), Issued: noon}
	with := func(change func(*Principal)) Principal {
		p := alice
		change(&p)
		return p
	}
	for _, row := range []struct {
		name, list string
		who        Principal
		want       bool
	}{
		{"empty", "", alice, false},
		{"comment", "# sub:https://idp.example alice\n\n  \t\r\n", alice, false},
		{"hash", "sha256:" + sumOfToken, alice, true},
		{"hash in capitals", "sha256:" + strings.ToUpper(sumOfToken) + "\r\n", alice, true},
		{"hash of another", "sha256:" + otherSum, alice, false},
		{"id", "jti:https://idp.example id 1", alice, true},
		{"id with space around", "  jti:https://idp.example   id 1  ", alice, true},
		{"id of another", "jti:https://idp.example id 2", alice, false},
		{"id in other case", "jti:https://idp.example ID 1", alice, false},
		{"id of another issuer", "jti:https://other.example id 1", alice, false},
		{"id, of a token without one", "jti:https://idp.example id 1", with(func(p *Principal) { p.TokenID = Secret{} }), false},
		{"subject", "sub:https://idp.example alice", alice, true},
		{"subject, whichever client", "sub:https://idp.example alice", with(func(p *Principal) { p.ClientID = "other" }), true},
		{"subject, issued at an unknown time", "sub:https://idp.example alice", with(func(p *Principal) { p.Issued = time.Time{} }), true},
		{"another subject", "sub:https://idp.example alic", alice, false},
		{"subject of another issuer", "sub:https://idp.example/ alice", alice, false},
		{"subject with a space", "sub:https://idp.example alice b before=2026-11-23T12:00:00Z", with(func(p *Principal) { p.Subject = "alice b" }), true},
		{"issued before", "sub:https://idp.example alice before=2026-11-23T12:00:01Z", alice, true},
		{"issued in that second", "sub:https://idp.example alice before=2026-11-23T12:00:00Z", alice, true},
		{"issued after", "sub:https://idp.example alice before=2026-11-23T11:59:59Z", alice, false},
		{"issued before, in another zone", "sub:https://idp.example alice before=2026-11-23T14:00:00+02:00", alice, true},
		{"issued at an unknown time", "sub:https://idp.example alice before=2000-01-01T00:00:00Z", with(func(p *Principal) { p.Issued = time.Time{} }), true},
		{"the later time counts", "sub:https://idp.example alice before=2026-11-23T13:00:00Z\nsub:https://idp.example alice before=2026-11-23T11:00:00Z", alice, true},
		{"all counts more than a time", "sub:https://idp.example alice\nsub:https://idp.example alice before=2000-01-01T00:00:00Z", alice, true},
		{"a time behind which all comes", "sub:https://idp.example alice before=2000-01-01T00:00:00Z\nsub:https://idp.example alice", alice, true},
		{"one of several", "# who left\nsub:https://idp.example bob\n\njti:https://idp.example id 1\nsha256:" + otherSum + "\n", alice, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := listed(t, row.list).Revoked.check(NewSecret("token"), digestOf(NewSecret("token")), row.who)
			if row.want != errors.Is(err, ErrRevoked) || !row.want && err != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// An error says where and what is wrong, and nothing that stands there: it may be a
// token.
func TestBadRevokedFiles(t *testing.T) {
	const secret = "eyJhbGciOiJub25lIn0"
	for _, row := range []struct{ name, list, want string }{
		{"a token", secret, "line 1: must be sha256:HEX, jti:ISSUER ID or sub:ISSUER SUBJECT [before=TIME]"},
		{"unknown kind", "# who\n\nkid:" + secret, "line 3: must be sha256:HEX"},
		{"kind in capitals", "SHA256:" + sumOfToken, "line 1: must be"},
		{"space in front of the colon", "sub :https://idp.example alice", "line 1: must be"},
		{"a token for its hash", "sha256:" + secret, "line 1: sha256: must be followed by 64 hexadecimal digits"},
		{"short hash", "sha256:" + sumOfToken[2:], "64 hexadecimal digits"},
		{"long hash", "sha256:" + sumOfToken + "00", "64 hexadecimal digits"},
		{"comment behind a hash", "sha256:" + sumOfToken + " # " + secret, "64 hexadecimal digits"},
		{"no issuer", "jti:" + secret, "line 1: jti: must be followed by the issuer, a space, and the value"},
		{"no id", "jti:https://idp.example ", "jti: must be followed by"},
		{"empty issuer", "jti: " + secret, "jti: must be followed by"},
		{"no subject", "sub:https://idp.example", "sub: must be followed by"},
		{"no subject but a time", "sub:https://idp.example before=2026-11-23T12:00:00Z", "sub: must be followed by"},
		{"no time", "sub:https://idp.example alice before=", "sub: before= must be a time like 2026-11-23T12:00:00Z"},
		{"half a time", "sub:https://idp.example alice before=2026-11-23", "before= must be a time"},
		{"no time at all", "sub:https://idp.example alice before=0001-01-01T00:00:00Z", "before= must be a time"},
		{"tab", "sub:https://idp.example\talice", "holds a control character"},
		{"NUL", "sub:https://idp.example ali\x00ce", "holds a control character"},
		{"not UTF-8", "sub:https://idp.example ali\xffce", "not valid UTF-8"},
		{"a good line first", "sub:https://idp.example alice\nx", "line 2: must be"},
		{"mark of the encoding", "\ufeffsub:https://idp.example alice", "line 1: must be"},
		{"too large", strings.Repeat("#\n", maxRevoked/2+1), "larger than 16 MiB"},
	} {
		t.Run(row.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "revoked")
			writeFile(t, file, row.list, 0o600)
			r, err := NewRevoked(RevokedOptions{File: file})
			if r != nil || !fails(err, row.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := NewRevoked(RevokedOptions{File: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

const (
	one  = "jti:https://idp.example 1\n"
	two  = "jti:https://idp.example 2\n"
	both = one + two
)

// What is added counts at once. What is taken out counts until the same text has been
// read twice: a file is short while it is being written.
func TestRevokedFileChanges(t *testing.T) {
	l := listed(t, one)
	for i, step := range []struct {
		text         string
		first, other bool // whether the two ids are revoked afterwards
	}{
		{one, true, false},
		{both, true, true},
		{"", true, true},   // cut short
		{"#", true, true},  // and written on, more than one look long
		{"##", true, true}, //
		{both, true, true},
		{two, true, true},
		{two, false, true},
		{"nonsense", false, true},
		{"", false, true},
		{"", false, false},
		{one, true, false},
	} {
		l.write(step.text)
		l.Look()
		first, other := errors.Is(l.check("1"), ErrRevoked), errors.Is(l.check("2"), ErrRevoked)
		if first != step.first || other != step.other {
			t.Errorf("step %d, %q: %v %v, want %v %v", i, step.text, first, other, step.first, step.other)
		}
	}
}

// A list that cannot be read any more is in force for five minutes. Then nobody can
// say who else was revoked, and nobody is let in, until it can be read again.
func TestUnreadableRevokedFile(t *testing.T) {
	for name, spoil := range map[string]func(l *takenBack){
		"gone":      func(l *takenBack) { _ = os.Remove(l.file) },
		"nonsense":  func(l *takenBack) { l.write("nonsense") },
		"open":      func(l *takenBack) { l.write(both); _ = os.Chmod(l.file, 0o606) },
		"a folder":  func(l *takenBack) { _ = os.Remove(l.file); _ = os.Mkdir(l.file, 0o700) },
		"too large": func(l *takenBack) { l.write(strings.Repeat("\n", maxRevoked+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			l := listed(t, one)
			state := func(step string, read, open bool) {
				t.Helper()
				l.Look()
				gotRead, gotOpen := l.Health()
				if gotRead != read || gotOpen != open {
					t.Errorf("%s: read %v, open %v", step, gotRead, gotOpen)
				}
				if err := l.check("1"); !errors.Is(err, ErrRevoked) {
					t.Errorf("%s: who was revoked: %v", step, err)
				}
				if err := l.check("3"); open != (err == nil) || !open && !errors.Is(err, ErrUnavailable) {
					t.Errorf("%s: who was not: %v", step, err)
				}
			}
			state("at first", true, true)
			spoil(l)
			l.now.advance(time.Minute)
			state("spoilt", false, true)
			l.now.advance(RevokedPatience - time.Minute - 1)
			state("a moment before the end", false, true)
			l.now.advance(1)
			state("at the end", false, false)
			_ = os.RemoveAll(l.file)
			l.write(one)
			state("repaired", true, true)
			if said := strings.Count(l.log.String(), `"level":"ERROR"`); said != 1 {
				t.Errorf("said %d times:\n%s", said, l.log)
			}
			if !strings.Contains(l.log.String(), "can be read again") {
				t.Errorf("%s", l.log)
			}
		})
	}
}

// Without looks a list grows old as well, and a clock that was set back tells
// nothing of its age.
func TestRevokedFileThatNobodyLooksAt(t *testing.T) {
	for _, d := range []time.Duration{RevokedPatience, -time.Second} {
		l := listed(t, one)
		l.now.advance(d)
		if err := l.check("3"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("after %v: %v", d, err)
		}
		l.Look()
		if err := l.check("3"); err != nil {
			t.Errorf("looked at after %v: %v", d, err)
		}
	}
}

// panics is a log that fails once.
type panics struct {
	slog.Handler
	yet bool
}

func (p *panics) Handle(ctx context.Context, r slog.Record) error {
	if !p.yet {
		p.yet = true
		panic("a log that fails")
	}
	return p.Handler.Handle(ctx, r)
}

// Nobody else looks at the list, so looking goes on after a panic.
func TestRevokedLookPanics(t *testing.T) {
	l := listed(t, "")
	l.opts.Log = slog.New(&panics{Handler: l.opts.Log.Handler()})
	l.write(one)
	l.Look()
	if read, open := l.Health(); read || !open || !strings.Contains(l.log.String(), "panic of type string") {
		t.Errorf("read %v, open %v, %s", read, open, l.log)
	}
	l.Look()
	if read, _ := l.Health(); !read || !errors.Is(l.check("1"), ErrRevoked) {
		t.Errorf("read %v, %v", read, l.check("1"))
	}
}

// An entry for an issuer that nobody has configured does nothing, as a slip of the pen
// would: the log says so.
func TestRevokedForeignIssuers(t *testing.T) {
	l := listed(t, one+"sub:https://idp.example/ alice\njti:https://idp.exampel 1\n")
	if l.Size() != 3 || strings.Count(l.log.String(), "names issuers that are not configured") != 1 ||
		!strings.Contains(l.log.String(), "https://idp.example/") || !strings.Contains(l.log.String(), "https://idp.exampel") {
		t.Errorf("%d entries, %s", l.Size(), l.log)
	}
	l.Look()
	if strings.Count(l.log.String(), "not configured") != 1 {
		t.Errorf("said again: %s", l.log)
	}
	if l = listed(t, one); strings.Contains(l.log.String(), "not configured") {
		t.Errorf("%s", l.log)
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "sub:https://%d.example alice\n", i)
	}
	if l = listed(t, many.String()); strings.Count(l.log.String(), ".example") != maxForeign {
		t.Errorf("%s", l.log)
	}
}

// Nothing to look at is no list, and no list takes nothing back.
func TestNoRevokedFile(t *testing.T) {
	var r *Revoked
	r.Look()
	if err := r.check(Secret{}, digest{}, Principal{}); err != nil {
		t.Error(err)
	}
}

// Every verifier's tokens can be taken back, whatever it remembers of them.
func TestRevokedBehindEveryCache(t *testing.T) {
	for name, entry := range map[string]string{
		"hash": "sha256:" + sumOfToken, "id": "jti:https://idp.example the-id", "subject": "sub:https://idp.example alice",
		"subject until now": "sub:https://idp.example alice before=2026-11-23T12:00:00Z",
	} {
		l := listed(t, "")
		e := &endpoint{answer: always(`{"active":true,"sub":"alice","aud":"doc-server","jti":"the-id","iat":1795435200}`)}
		vs := &Verifiers{Introspection: []*Introspector{verifier(e, l.now)}, Revoked: l.Revoked}
		ask := func() error { _, err := vs.Authenticate(context.Background(), NewSecret("token")); return err }
		if err := ask(); err != nil {
			t.Errorf("%s: at first: %v", name, err)
		}
		l.write(entry)
		l.Look()
		if err := ask(); !errors.Is(err, ErrRevoked) || e.asked.Load() != 1 {
			t.Errorf("%s: %v, asked %d times", name, err, e.asked.Load())
		}
	}
}

// A token that is signed with ES256 can be given another signature that is as good, by
// whoever has it. Its hash stands for both.
func TestRevokedSignatureHasTwoForms(t *testing.T) {
	for _, k := range []testKey{ecKey(), edKey(), rsaKey()} {
		now := &stopped{now: begin}
		l := listed(t, "")
		l.opts.Now = now.Now
		vs := only(signedBy(t, newIDP(k), now.Now, nil))
		vs.Revoked = l.Revoked
		ask := func(token string) error {
			_, err := vs.Authenticate(t.Context(), NewSecret(token))
			return err
		}
		token := k.mint(nil, nil)
		forms := []string{token}
		if k.alg == "ES256" {
			input := token[:strings.LastIndexByte(token, '.')+1]
			signature := must(segment(token[len(input):]))
			s := new(big.Int).SetBytes(signature[32:])
			s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
			forms = append(forms, input+b64(signature))
		}
		l.Look()
		for _, form := range forms {
			if err := ask(form); err != nil {
				t.Fatalf("%s: %v", k.alg, err)
			}
		}
		for _, form := range forms {
			l.write(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(form))))
			l.Look()
			l.Look()
			for _, shown := range forms {
				if err := ask(shown); !errors.Is(err, ErrRevoked) {
					t.Errorf("%s: %v", k.alg, err)
				}
			}
			if err := ask(k.mint(nil, map[string]any{"jti": "2"})); err != nil {
				t.Errorf("%s: another token: %v", k.alg, err)
			}
		}
	}
	for _, token := range []string{"", ".", "a.b.c", "a.b.", strings.Repeat("A", 86), "x." + b64(bytes.Repeat([]byte{0xff}, 64)), "x." + b64(make([]byte, 63))} {
		_, _ = twin(token) // does not panic
	}
}

// The id of a token is as good as a piece of it: nothing prints it.
func TestTokenIDIsNotPrinted(t *testing.T) {
	p := Principal{Subject: "alice", TokenID: NewSecret("the-id")}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "p", p)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "p", p)
	if text := fmt.Sprintf("%v %+v %#v %s", p, p, p, log.String()); strings.Contains(text, "the-id") {
		t.Errorf("%s", text)
	}
}

// Whatever a file holds: it is a list or an error that quotes nothing of it, and a
// line that is added to a list takes its token back.
func FuzzRevoked(f *testing.F) {
	f.Add([]byte(both))
	f.Add([]byte("sub:https://idp.example alice before=2026-11-23T12:00:00Z\n# x"))
	f.Add([]byte("sha256:" + sumOfToken))
	f.Add([]byte("sub:a b before=x\r\n\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseRevoked(text)
		if err != nil {
			if len(err.Error()) > 120 {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := parseRevoked(append(append(text, '\n'), "sha256:"+sumOfToken+"\n"+one...))
		if err != nil {
			t.Fatalf("with two more lines: %v", err)
		}
		if again.size() < list.size() || !again.holds(Secret{}, digestOf(NewSecret("token")), Principal{}) || !again.holds(Secret{}, digest{}, Principal{Issuer: testIssuer, TokenID: NewSecret("1")}) {
			t.Error("what was added does not count")
		}
	})
}
