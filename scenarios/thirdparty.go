package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// thirdParty is the authorization server of somebody else, such as a vendor's. It
// knows programs by registration only, asks a user once about each, keeps the answer
// in a cookie, and from then on sends the user on without a word.
type thirdParty struct {
	mu      sync.Mutex
	clients map[string]string // client id → where its answers go
	codes   map[string]thirdCode
	tokens  map[string]bool
}

type thirdCode struct{ client, challenge string }

func newThirdParty() *thirdParty {
	return &thirdParty{clients: map[string]string{}, codes: map[string]thirdCode{}, tokens: map[string]bool{}}
}

// admit registers a program.
func (p *thirdParty) admit(client, redirect string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[client] = redirect
}

// issued are the tokens that it has given out.
func (p *thirdParty) issued() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.tokens))
}

// thirdPartyTitle is what its page is called.
const thirdPartyTitle = "Vendor: allow this program?"

var thirdPartyPage = template.Must(template.New("vendor").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>` + thirdPartyTitle + `</title>
<form method="post"><button>Allow {{.}}</button></form></html>
`))

func (p *thirdParty) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	return mux
}

func (p *thirdParty) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	client := q.Get("client_id")
	p.mu.Lock()
	defer p.mu.Unlock()
	if redirect, known := p.clients[client]; !known || redirect != q.Get("redirect_uri") {
		http.Error(w, "unknown client, or not its redirect_uri", http.StatusBadRequest)
		return
	}
	agreed := "agreed-" + client
	switch _, err := r.Cookie(agreed); {
	case r.Method == http.MethodPost:
		http.SetCookie(w, &http.Cookie{Name: agreed, Value: "yes", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	case err != nil:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = thirdPartyPage.Execute(w, client)
		return
	}
	code := rand.Text()
	p.codes[code] = thirdCode{client, q.Get("code_challenge")}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusSeeOther) //nolint:gosec // the client's registered one
}

func (p *thirdParty) token(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	p.mu.Lock()
	defer p.mu.Unlock()
	c, known := p.codes[code]
	delete(p.codes, code)
	if !known || c.client != r.PostFormValue("client_id") || c.challenge != "" && c.challenge != challengeOf(r.PostFormValue("code_verifier")) {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	access := rand.Text()
	p.tokens[access] = true
	answerJSON(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600})
}

// protect lets in who shows a token of the third party. The document server behind
// it is shown service instead, if it wants that: it knows neither users nor vendors.
func (p *thirdParty) protect(service string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		known := p.tokens[bearerOf(r.Header)]
		p.mu.Unlock()
		if !known {
			http.Error(w, "a token of the vendor is required", http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization")
		if service != "" {
			r.Header.Set("Authorization", "Bearer "+service)
		}
		next.ServeHTTP(w, r)
	})
}

// bearerOf is the credential that a request shows, empty without one.
func bearerOf(h http.Header) string { return strings.TrimPrefix(h.Get("Authorization"), "Bearer ") }

// challengeOf is S256 of RFC 7636 section 4.2.
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
