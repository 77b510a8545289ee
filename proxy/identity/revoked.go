package identity

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// RevokedPatience is how long a list of revoked tokens may stay unreadable before
// nobody is let in any more: whoever was revoked since then is not known.
const RevokedPatience = 5 * time.Minute

// ErrRevoked refuses a token that the operator has taken back.
var ErrRevoked = &Refusal{Public: "token revoked", Description: "token revoked"}

var errRevokedUnknown = fmt.Errorf("%w: the list of revoked tokens has not been readable for %v", ErrUnavailable, RevokedPatience)

// RevokedOptions say where revoked tokens are listed.
type RevokedOptions struct {
	File    string
	Issuers []string         // that are configured: an entry for another one does nothing
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: nothing is logged
}

// Revoked is the operator's list of tokens that do not count any more, whatever a
// verifier says or remembers. A line of its file is one of
//
//	sha256:HEX                              the token with this hash
//	jti:ISSUER ID                           the token with this id (RFC 7519 section 4.1.7)
//	sub:ISSUER SUBJECT                      every token of a user
//	sub:ISSUER SUBJECT before=2026-11-23T12:00:00Z   those issued up to then, or at an unknown time
//
// or empty, or a comment that begins with #. SUBJECT is what audit records name.
type Revoked struct {
	opts RevokedOptions

	looking sync.Mutex // held while the file is read, which nobody waits for

	mu       sync.RWMutex
	current  *revocations
	previous *revocations // also in force, until current has been read twice: all that was read since the last that was
	read     time.Time    // when the list was last read and could be used
	failure  string       // why it could not since; empty when it could
}

// NewRevoked reads the file, which must be usable. Look reads it again.
func NewRevoked(o RevokedOptions) (*Revoked, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Revoked{opts: o}
	now := o.Now()
	list, err := r.load()
	if err != nil {
		return nil, err
	}
	r.take(list, now)
	return r, nil
}

// maxRevoked bounds the file, in bytes.
const maxRevoked = 16 << 20

// Look reads the file again. What cannot be used leaves everything as it was. Where
// there is no list, there is nothing to look at.
func (r *Revoked) Look() {
	if r == nil {
		return
	}
	r.looking.Lock()
	defer r.looking.Unlock()
	_, err := caught(func() (none struct{}, err error) {
		now := r.opts.Now()
		list, err := r.load()
		if err == nil {
			r.take(list, now)
		}
		return none, err
	})
	if err != nil {
		r.fail(err)
	}
}

// load reads the file. It returns nothing when that holds the same text as before.
func (r *Revoked) load() (*revocations, error) {
	text, err := readTrusted(r.opts.File, maxRevoked)
	if err != nil {
		return nil, err
	}
	sum := digest(sha256.Sum256(text))
	if r.current != nil && sum == r.current.text {
		return nil, nil
	}
	list, err := parseRevoked(text)
	if err == nil {
		list.text = sum
	}
	return list, err
}

// take notes a list that was read at now, or nothing for the one before. That stays in
// force until a text has been read twice: a file that is written in several steps is
// short for a moment, and nobody may slip through that.
func (r *Revoked) take(list *revocations, now time.Time) {
	before := r.current
	if list != nil && r.previous != nil {
		before = union(r.previous, r.current) // without the lock, since it takes a while
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure != "" {
		r.opts.Log.Info("the list of revoked tokens can be read again", "file", r.opts.File)
	}
	r.read, r.failure = now, ""
	if list == nil {
		r.previous = nil
		return
	}
	r.previous, r.current = before, list
	r.opts.Log.Info("list of revoked tokens read", "file", r.opts.File, "entries", list.size())
	if foreign := list.foreign(r.opts.Issuers); len(foreign) > 0 {
		r.opts.Log.Warn("the list of revoked tokens names issuers that are not configured; these entries do nothing", "file", r.opts.File, "issuers", foreign)
	}
}

// fail notes why the file could not be used. It is said once, however often the file
// is looked at.
func (r *Revoked) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err.Error() == r.failure {
		return
	}
	r.failure = err.Error()
	r.opts.Log.Error("the list of revoked tokens cannot be used; what it said before stays in force", "file", r.opts.File, "error", err, "until", r.read.Add(RevokedPatience))
}

// check says whether token, which has the digest d and is p's, still counts. Errors
// are ErrRevoked, or wrap ErrUnavailable. No list takes nothing back.
func (r *Revoked) check(token Secret, d digest, p Principal) error {
	if r == nil {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch {
	case r.current.holds(token, d, p), r.previous != nil && r.previous.holds(token, d, p):
		return ErrRevoked
	case !passed(r.read, r.opts.Now(), RevokedPatience):
		return nil
	}
	return errRevokedUnknown
}

// Health says whether the list could be read the last time, and whether callers
// are let in.
func (r *Revoked) Health() (read, open bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.failure == "", !passed(r.read, r.opts.Now(), RevokedPatience)
}

// Size is the number of entries.
func (r *Revoked) Size() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.current.size()
}

// revocations are the entries of a list.
type revocations struct {
	text     digest // of what it was read from
	tokens   map[digest]bool
	ids      map[claimOf]bool
	subjects map[claimOf]time.Time // up to when their tokens do not count; zero: all
}

// claimOf is a claim with who makes it: two issuers may use the same one.
type claimOf struct{ issuer, value string }

// union takes back what either of two lists does.
func union(a, b *revocations) *revocations {
	both := &revocations{tokens: maps.Clone(a.tokens), ids: maps.Clone(a.ids), subjects: maps.Clone(a.subjects)}
	maps.Copy(both.tokens, b.tokens)
	maps.Copy(both.ids, b.ids)
	for c, until := range b.subjects {
		both.end(c, until)
	}
	return both
}

func (l *revocations) size() int { return len(l.tokens) + len(l.ids) + len(l.subjects) }

func (l *revocations) holds(token Secret, d digest, p Principal) bool {
	if l.tokens[d] {
		return true
	}
	if len(l.tokens) > 0 {
		if other, ok := twin(token.Reveal()); ok && l.tokens[other] {
			return true
		}
	}
	if !p.TokenID.Empty() && l.ids[claimOf{p.Issuer, p.TokenID.Reveal()}] {
		return true
	}
	until, listed := l.subjects[claimOf{p.Issuer, p.Subject}]
	return listed && (until.IsZero() || p.Issued.IsZero() || !p.Issued.After(until))
}

// twin is the digest of the other form of a token that is signed with ES256: where
// (r, s) is a signature, so is (r, n-s), and whoever has the token can work it out.
func twin(token string) (d digest, ok bool) {
	input := token[:strings.LastIndexByte(token, '.')+1]
	signature, err := segment(token[len(input):])
	if err != nil || len(signature) != 64 {
		return digest{}, false
	}
	n, s := elliptic.P256().Params().N, new(big.Int).SetBytes(signature[32:])
	if s.Cmp(n) >= 0 {
		return digest{}, false
	}
	s.Sub(n, s).FillBytes(signature[32:])
	return sha256.Sum256([]byte(input + base64.RawURLEncoding.EncodeToString(signature))), true
}

// foreign are the issuers of entries that are none of own.
func (l *revocations) foreign(own []string) []string {
	known := map[string]bool{}
	for _, i := range own {
		known[i] = true
	}
	var foreign []string
	note := func(issuer string) {
		if !known[issuer] && len(foreign) < maxForeign {
			foreign = append(foreign, issuer)
		}
		known[issuer] = true
	}
	for c := range l.ids {
		note(c.issuer)
	}
	for c := range l.subjects {
		note(c.issuer)
	}
	return foreign
}

// maxForeign bounds how many issuers are named in one warning.
const maxForeign = 8

// parseRevoked reads a list. An error names the line and nothing that stands in
// it, which may be a token that somebody put there whole.
func parseRevoked(text []byte) (*revocations, error) {
	l := &revocations{tokens: map[digest]bool{}, ids: map[claimOf]bool{}, subjects: map[claimOf]time.Time{}}
	if !utf8.Valid(text) {
		return nil, errors.New("not valid UTF-8")
	}
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		line := strings.TrimSpace(string(raw))
		if line == "" || line[0] == '#' {
			continue
		}
		if err := l.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return l, nil
}

func (l *revocations) add(line string) error {
	kind, rest, _ := strings.Cut(line, ":")
	switch {
	case strings.ContainsFunc(line, unicode.IsControl):
		return errors.New("holds a control character")
	case kind == "sha256":
		return l.addToken(rest)
	case kind == "jti":
		return l.addID(rest)
	case kind == "sub":
		return l.addSubject(rest)
	}
	return errors.New("must be sha256:HEX, jti:ISSUER ID or sub:ISSUER SUBJECT [before=TIME]")
}

func (l *revocations) addToken(text string) error {
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != sha256.Size {
		return errors.New("sha256: must be followed by 64 hexadecimal digits")
	}
	l.tokens[digest(sum)] = true
	return nil
}

func (l *revocations) addID(text string) error {
	c, err := readClaimOf(text)
	if err != nil {
		return fmt.Errorf("jti: %w", err)
	}
	l.ids[c] = true
	return nil
}

func (l *revocations) addSubject(text string) error {
	var until time.Time
	if i := strings.LastIndexByte(text, ' '); i >= 0 && strings.HasPrefix(text[i+1:], beforeMark) {
		var err error
		if until, err = time.Parse(time.RFC3339, text[i+1+len(beforeMark):]); err != nil || until.IsZero() {
			return errors.New("sub: before= must be a time like 2026-11-23T12:00:00Z")
		}
		text = strings.TrimSpace(text[:i])
	}
	c, err := readClaimOf(text)
	if err != nil {
		return fmt.Errorf("sub: %w", err)
	}
	l.end(c, until)
	return nil
}

// end takes back the tokens of c up to until, unless an entry that takes back more
// stands already.
func (l *revocations) end(c claimOf, until time.Time) {
	if old, listed := l.subjects[c]; listed && (old.IsZero() || !until.IsZero() && old.After(until)) {
		return
	}
	l.subjects[c] = until
}

const beforeMark = "before="

func readClaimOf(text string) (claimOf, error) {
	issuer, value, _ := strings.Cut(text, " ")
	value = strings.TrimSpace(value)
	if issuer == "" || value == "" {
		return claimOf{}, errors.New("must be followed by the issuer, a space, and the value")
	}
	return claimOf{issuer, value}, nil
}
