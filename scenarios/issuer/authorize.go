package issuer

import (
	"crypto/rand"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// codeLifetime is how long a client may wait with its code.
const codeLifetime = time.Minute

// Error codes of the authorization endpoint (RFC 6749 section 4.1.2.1).
const (
	accessDenied            = "access_denied"
	unsupportedResponseType = "unsupported_response_type"
)

// request is a checked authorization request.
type request struct {
	client    Client
	redirect  string
	state     string
	challenge string // PKCE, always S256
	resource  string
	scopes    []string
	login     bool   // the client wants to know who the user is (OpenID Connect)
	nonce     string // that comes back with it
}

// pendingCode is what an authorization code stands for.
type pendingCode struct {
	request
	user   string
	expiry time.Time
	token  string // that it was turned into; empty: not yet
}

// authorize logs somebody in and sends him back to the client with a code. Whoever
// login_hint names, or the form, is believed: there are no passwords.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the request is no form", http.StatusBadRequest)
		return
	}
	query := r.URL.Query()
	c, redirect, problem := i.redirectTarget(r, query)
	if problem != "" {
		// Nothing may be sent to an address that is not the client's (RFC 6749
		// section 4.1.2.1).
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	req, refusal := parseRequest(query)
	if refusal != nil {
		i.sendBack(w, r, redirect, query.Get("state"), url.Values{"error": {refusal.Code}, "error_description": {refusal.Description}})
		return
	}
	req.client, req.redirect = c, redirect
	user := query.Get("login_hint")
	if r.Method == http.MethodPost {
		user = r.PostForm.Get("user")
	}
	if user == "" {
		i.showForm(w, req)
		return
	}
	scopes, known := i.grantable(user, req.scopes)
	if !known {
		i.sendBack(w, r, redirect, req.state, url.Values{"error": {accessDenied}, "error_description": {"no such user"}})
		return
	}
	req.scopes = scopes
	i.sendBack(w, r, redirect, req.state, url.Values{"code": {i.newCode(req, user)}})
}

// redirectTarget finds the client and where its answers go. The address is compared
// exactly (MCP 2026-07-28, basic/authorization, "Open Redirection").
func (i *Issuer) redirectTarget(r *http.Request, query url.Values) (c Client, redirect, problem string) {
	for _, name := range []string{"client_id", "redirect_uri"} {
		if len(query[name]) != 1 {
			return c, "", name + " must be there once"
		}
	}
	c, ok := i.lookupClient(r.Context(), query.Get("client_id"))
	redirect = query.Get("redirect_uri")
	switch {
	case !ok:
		return c, "", "unknown client"
	case !slices.Contains(c.RedirectURIs, redirect):
		return c, "", "redirect_uri is not one of the client's"
	}
	return c, redirect, ""
}

// parseRequest checks what remains. PKCE is required, and "plain" is no proof at all
// (OAuth 2.1 section 7.5.1).
func parseRequest(query url.Values) (request, *oauthError) {
	for _, values := range query {
		if len(values) > 1 {
			return request{}, &oauthError{invalidRequest, "a parameter comes twice"}
		}
	}
	req := request{state: query.Get("state"), challenge: query.Get("code_challenge"), resource: query.Get("resource"), scopes: strings.Fields(query.Get("scope")), nonce: query.Get("nonce")}
	req.login = slices.Contains(req.scopes, openIDScope)
	switch {
	case query.Get("response_type") != "code":
		return req, &oauthError{unsupportedResponseType, "only code is served"}
	case query.Get("code_challenge_method") != "S256" || len(req.challenge) != challengeLength:
		return req, &oauthError{invalidRequest, "PKCE with S256 is required"}
	case req.resource == "" && req.login:
		return req, nil // the token is for nothing: what counts is who logged in
	case req.resource == "":
		return req, &oauthError{invalidTarget, "resource has to say whom the token is for"}
	}
	return req, checkResource(req.resource)
}

// openIDScope asks who the user is (OpenID Connect Core 1.0 section 3.1.2.1).
const openIDScope = "openid"

// challengeLength is that of a SHA-256 in Base64 (RFC 7636 section 4.2).
const challengeLength = 43

// grantable are those of asked that user may grant, and whether he may log in.
func (i *Issuer) grantable(user string, asked []string) ([]string, bool) {
	if i.config.Users == nil {
		return asked, true
	}
	may, known := i.config.Users[user]
	return slices.DeleteFunc(asked, func(s string) bool { return !slices.Contains(may, s) }), known
}

func (i *Issuer) newCode(req request, user string) string {
	code, now := rand.Text(), i.config.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	for old, c := range i.codes { // so that they do not pile up
		if now.After(c.expiry) {
			delete(i.codes, old)
		}
	}
	i.codes[code] = &pendingCode{request: req, user: user, expiry: now.Add(codeLifetime)}
	return code
}

// sendBack redirects to the client. iss keeps it from sending what it got here to
// another server (RFC 9207).
func (i *Issuer) sendBack(w http.ResponseWriter, r *http.Request, redirect, state string, values url.Values) {
	u, err := url.Parse(redirect)
	if err != nil {
		http.Error(w, "redirect_uri is no URI", http.StatusBadRequest)
		return
	}
	query := u.Query()
	for name, v := range values {
		query[name] = v
	}
	if state != "" {
		query.Set("state", state)
	}
	query.Set("iss", i.config.URL)
	u.RawQuery = query.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, u.String(), http.StatusFound) //nolint:gosec // one of the registered addresses of the client
}

// loginPage asks who logs in. Without an action it goes to the address it came from, with
// the whole request in it.
var loginPage = template.Must(template.New("login").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Demo issuer</title>
<h1>Demo issuer of mcp-sidecar</h1>
<p>This is a test tool: it believes any name.</p>
<p>{{.Client}} asks {{with .Resource}}for access to {{.}}{{else}}who you are{{end}}{{with .Scopes}}, with the scopes {{.}}{{end}}. You will be sent to {{.Redirect}}.</p>
<form method="post"><label>Log in as <input name="user" list="users" required autofocus></label>
<datalist id="users">{{range .Users}}<option value="{{.}}">{{end}}</datalist>
<button>Allow</button></form></html>
`))

func (i *Issuer) showForm(w http.ResponseWriter, req request) {
	name := req.client.Name
	if name == "" {
		name = req.client.ID
	}
	var users []string
	for user := range i.config.Users {
		users = append(users, user)
	}
	slices.Sort(users)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	_ = loginPage.Execute(w, map[string]any{"Client": name, "Resource": req.resource, "Scopes": strings.Join(req.scopes, " "), "Redirect": req.redirect, "Users": users})
}
