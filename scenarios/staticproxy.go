package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
)

// staticClient is what the third party knows staticProxy as.
const staticClient = "static-proxy"

// staticProxy puts an MCP server behind a third party as many have: it has one
// client id there for everybody who registers here, and leaves it to the third
// party to ask the user (MCP security best practices, "Confused Deputy Problem").
//
// INTENDED HOLE: the third party asks about the proxy, once; nobody asks about the
// program that the answer goes to.
// INTENDED HOLE: any redirect URI will do.
// INTENDED HOLE: state is what the proxy wants to remember, unsigned, so anybody can
// write one; and an answer without any belongs to whoever has asked last.
type staticProxy struct {
	own   string // URL of this proxy
	third string // URL of the third party
	next  http.Handler

	mu    sync.Mutex
	last  remembered // of the requests
	codes map[string]staticCode
	users map[string]string // token of ours → the third party's
}

type staticCode struct{ token, challenge string }

// remembered is what travels in state.
type remembered struct {
	Redirect  string `json:"redirect"`
	State     string `json:"state"`
	Challenge string `json:"challenge"`
}

func (m remembered) pack() string {
	text, _ := json.Marshal(m) // of strings
	return base64.RawURLEncoding.EncodeToString(text)
}

func newStaticProxy(own, third string, next http.Handler) *staticProxy {
	return &staticProxy{own: own, third: third, next: next, codes: map[string]staticCode{}, users: map[string]string{}}
}

func (s *staticProxy) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /register", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusCreated, map[string]string{"client_id": rand.Text()})
	})
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("GET "+s.callbackPath(), s.callback)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("/mcp", s.forward)
	return mux
}

// callbackPath is the same as the sidecar's, so that one request fits both.
func (s *staticProxy) callbackPath() string { return "/callback/docs" }

func (s *staticProxy) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	m := remembered{q.Get("redirect_uri"), q.Get("state"), q.Get("code_challenge")}
	s.mu.Lock()
	s.last = m
	s.mu.Unlock()
	http.Redirect(w, r, s.third+"/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {staticClient}, "redirect_uri": {s.own + s.callbackPath()}, "state": {m.pack()},
	}.Encode(), http.StatusSeeOther)
}

func (s *staticProxy) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	m, err := s.recall(q.Get("state"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	token, err := redeem(r.Context(), s.third, url.Values{"grant_type": {"authorization_code"}, "client_id": {staticClient}, "code": {q.Get("code")}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	code := rand.Text()
	s.mu.Lock()
	s.codes[code] = staticCode{token, m.Challenge}
	s.mu.Unlock()
	http.Redirect(w, r, m.Redirect+"?"+url.Values{"code": {code}, "state": {m.State}}.Encode(), http.StatusSeeOther)
}

func (s *staticProxy) recall(state string) (m remembered, err error) {
	if state == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.last, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(text, &m)
}

func (s *staticProxy) token(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.codes[code]
	delete(s.codes, code)
	if !known || c.challenge != challengeOf(r.PostFormValue("code_verifier")) {
		answerJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	access := rand.Text()
	s.users[access] = c.token
	answerJSON(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600})
}

// forward shows the server the third party's token of whose token of ours it got.
func (s *staticProxy) forward(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	token := s.users[bearerOf(r.Header)]
	s.mu.Unlock()
	if token == "" {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	r.Header.Set("Authorization", "Bearer "+token)
	s.next.ServeHTTP(w, r)
}
