// Package canary finds credentials where none may be: in what a server was sent,
// in logs, in records, in answers. It is a test tool.
//
// Whoever mints a credential adds it to a [Watch]; whoever has recorded something
// searches it at the end. What counts is any 12 bytes of a credential, as they are,
// percent-encoded, escaped as in JSON, or in Base64 in either alphabet, wherever it
// begins. Of a signed token (JWT) those are its signature and its jti: its header
// is the same in every token, and its claims are allowed to be known.
package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"iter"
	"strings"
	"sync"
)

// size is the length of the slices that are looked for, in bytes, and encoded how
// long they are in Base64. Where they begin between its groups of three bytes, two
// more bytes are needed.
const (
	size    = 12
	encoded = size / 3 * 4
)

// varied is how many different bytes a slice must hold. What is all one character
// can be anything.
const varied = 4

// Pieces of a credential, as they are and in Base64.
type (
	slice        [size]byte
	encodedSlice [encoded]byte
)

// filterBits bounds the filter in front of the map: nearly everything that is
// searched is none of the slices. 2 MiB keep that so for some ten thousand
// credentials.
const filterBits = 24

// Watch is a set of credentials. Its zero value is empty and ready; it is safe for
// concurrent use.
type Watch struct {
	mu      sync.RWMutex
	slices  map[slice]string // the name of the credential
	encoded map[encodedSlice]string
	filter  []uint64 // of the first bytes of both
	added   map[string]bool
}

// Add watches for credential, which name tells apart in reports.
func (w *Watch) Add(name, credential string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.added[credential] {
		return
	}
	if w.slices == nil {
		w.slices, w.encoded, w.added = map[slice]string{}, map[encodedSlice]string{}, map[string]bool{}
		w.filter = make([]uint64, 1<<(filterBits-6))
	}
	w.added[credential] = true
	for _, part := range secretParts(credential) {
		// A signature may be written in the other alphabet.
		for _, form := range []string{part, strings.NewReplacer("-", "+", "_", "/").Replace(part)} {
			for s := range pieces(form, size) {
				w.slices[slice(s)] = name
				w.sift(s)
			}
		}
		for _, form := range base64Forms(part) {
			for s := range pieces(form, encoded) {
				w.encoded[encodedSlice(s)] = name
				w.sift(s)
			}
		}
	}
}

// pieces are those of length n of form that could not well be anything else.
func pieces(form string, n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := 0; i+n <= len(form); i++ {
			if s := []byte(form[i : i+n]); isVaried(s) && !yield(s) {
				return
			}
		}
	}
}

// sift lets s pass the filter.
func (w *Watch) sift(s []byte) {
	for _, bit := range bits(s) {
		w.filter[bit>>6] |= 1 << (bit & 63)
	}
}

// Find is a piece of a credential that was found.
type Find struct {
	Name string // of the credential
	At   int    // where, in the text that was searched or in what it says without its escapes
}

// Search returns the first piece of each credential that occurs in text.
func (w *Watch) Search(text []byte) []Find {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.slices == nil {
		return nil
	}
	found := w.search(nil, text)
	if plain := unescaped(text); plain != nil {
		found = w.search(found, plain)
	}
	return found
}

// search looks at every byte of everything that a test has recorded. The race
// detector would make that take longer than the tests, and finds nothing here: the
// lock is held, and text is nobody else's.
//
//go:norace
func (w *Watch) search(found []Find, text []byte) []Find {
	for i := 0; i+size <= len(text); i++ {
		at := bits(text[i:])
		if w.filter[at[0]>>6]&(1<<(at[0]&63)) == 0 || w.filter[at[1]>>6]&(1<<(at[1]&63)) == 0 {
			continue
		}
		name, ok := w.slices[slice(text[i:])]
		if !ok && i+encoded <= len(text) {
			name, ok = w.encoded[encodedSlice(text[i:])]
		}
		if ok && !holds(found, name) {
			found = append(found, Find{name, i})
		}
	}
	return found
}

func holds(found []Find, name string) bool {
	for _, f := range found {
		if f.Name == name {
			return true
		}
	}
	return false
}

// bits are the numbers of the two bits that stand for the first size bytes of b.
//
//go:norace
func bits(b []byte) [2]uint64 {
	h := binary.LittleEndian.Uint64(b)*0x9E3779B97F4A7C15 ^ uint64(binary.LittleEndian.Uint32(b[8:]))*0xC2B2AE3D27D4EB4F
	h ^= h >> 29
	h *= 0x9E3779B97F4A7C15
	return [2]uint64{h >> (64 - filterBits), h >> 8 & (1<<filterBits - 1)}
}

// isVaried says whether s is more than a few characters over and over.
func isVaried(s []byte) bool {
	seen, n := [256]bool{}, 0
	for _, c := range s {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n >= varied
}

// secretParts are what nobody may see of credential: all of it, or the signature
// and the id of a signed token, well-formed or not.
func secretParts(credential string) []string {
	var secret []string
	read := false
	for part := range strings.SplitSeq(credential, ".") {
		var claims struct {
			ID string `json:"jti"`
		}
		if text, err := base64.RawURLEncoding.DecodeString(part); err == nil && json.Unmarshal(text, &claims) == nil {
			read, part = true, claims.ID
		}
		secret = append(secret, part)
	}
	if !read {
		return []string{credential}
	}
	return secret
}

// base64Forms are the ways in which part stands in Base64. The outer characters
// depend on what stands around; what is in between does not, for each of the three
// ways in which it can be aligned.
func base64Forms(part string) (all []string) {
	for shift := range min(3, len(part)) {
		inner := part[shift:]
		inner = inner[:len(inner)/3*3]
		all = append(all, base64.StdEncoding.EncodeToString([]byte(inner)), base64.URLEncoding.EncodeToString([]byte(inner)))
	}
	return all
}

// unescaped is text without percent-encoding and without the escapes of JSON, or nil
// when it holds neither.
func unescaped(text []byte) []byte {
	if !bytes.ContainsAny(text, `%\`) {
		return nil
	}
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		c, n := unescape(text[i:])
		plain = append(plain, c)
		i += n
	}
	return plain
}

// unescape returns the character that b begins with, and how long it is written.
func unescape(b []byte) (byte, int) {
	switch {
	case len(b) >= 3 && b[0] == '%':
		if c, ok := hexByte(b[1:3]); ok {
			return c, 3
		}
	case len(b) >= 6 && b[0] == '\\' && b[1] == 'u' && b[2] == '0' && b[3] == '0':
		if c, ok := hexByte(b[4:6]); ok {
			return c, 6
		}
	case len(b) >= 2 && b[0] == '\\' && (b[1] == '/' || b[1] == '\\' || b[1] == '"'):
		return b[1], 2
	}
	return b[0], 1
}

func hexByte(b []byte) (byte, bool) {
	high, ok := digit(b[0])
	low, also := digit(b[1])
	return high<<4 | low, ok && also
}

func digit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
