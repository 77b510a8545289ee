package canary

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Record keeps texts by where they were seen, until they are searched. Its zero value
// is empty and ready; it is safe for concurrent use.
type Record struct {
	mu   sync.Mutex
	seen map[string]*strings.Builder
}

// Hear keeps what, printed with its members' names, as seen at where.
func (r *Record) Hear(where string, what ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string]*strings.Builder{}
	}
	if r.seen[where] == nil {
		r.seen[where] = &strings.Builder{}
	}
	for _, v := range what {
		fmt.Fprintf(r.seen[where], "%+v\n", v)
	}
}

// Leaks says where pieces of w's credentials were seen, and forgets what was searched.
func (r *Record) Leaks(w *Watch) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, where := range slices.Sorted(maps.Keys(r.seen)) {
		found = append(found, w.In(where, r.seen[where].String())...)
	}
	r.seen = nil
	return found
}

// In says which credentials text, seen at where, holds a piece of.
func (w *Watch) In(where, text string) (found []string) {
	for _, f := range w.Search([]byte(text)) {
		found = append(found, fmt.Sprintf("%s holds a piece of the token of %q, from byte %d on", where, f.Name, f.At))
	}
	return found
}

// Sample is a new token with the shape of a JWT, and by name what must be found of it: a
// test plants each wherever it looks, since a search that finds nothing says nothing.
func Sample() (token string, pieces map[string]string) {
	id := rand.Text()
	segment := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	signature := segment(rand.Text() + rand.Text())
	token = segment(`{"alg":"ES256"}`) + "." + segment(`{"jti":"`+id+`"}`) + "." + signature
	return token, map[string]string{
		"raw": token, "signature": signature[20 : 20+size], "jti": id[9 : 9+size],
		"Base64": base64.StdEncoding.EncodeToString([]byte("x" + token)), "URL": url.QueryEscape("=" + id),
	}
}
