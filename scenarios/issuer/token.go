package issuer

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Grant types.
const (
	grantCode        = "authorization_code"
	grantRefresh     = "refresh_token"
	grantCredentials = "client_credentials"
	grantExchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// Types of tokens (RFC 8693 section 3).
const (
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// Error codes (RFC 6749 section 5.2, RFC 8707 section 2).
const (
	invalidRequest       = "invalid_request"
	invalidClient        = "invalid_client"
	invalidGrant         = "invalid_grant"
	invalidScope         = "invalid_scope"
	invalidTarget        = "invalid_target"
	unauthorizedClient   = "unauthorized_client"
	unsupportedGrantType = "unsupported_grant_type"
)

// oauthError is the body of a refusal.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func (e *oauthError) write(w http.ResponseWriter) {
	status := http.StatusBadRequest
	if e.Code == invalidClient {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
	}
	writeJSON(w, status, e)
}

// grant is the answer of RFC 6749 section 5.1.
type grant struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`          // OpenID Connect Core 1.0 section 3.1.3.3
	IssuedType   string `json:"issued_token_type,omitempty"` // RFC 8693 section 2.2.1
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	Scope        string `json:"scope"`
}

// token answers one request to the token endpoint.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	g, refusal := i.grant(w, r)
	if refusal != nil {
		refusal.write(w)
		return
	}
	i.count(func(c *Counters) { c.Granted++ })
	writeJSON(w, http.StatusOK, g)
}

func (i *Issuer) grant(w http.ResponseWriter, r *http.Request) (*grant, *oauthError) {
	form, refusal := parseForm(w, r)
	if refusal != nil {
		return nil, refusal
	}
	c, refusal := i.client(r, form)
	if refusal != nil {
		return nil, refusal
	}
	kind := form.Get("grant_type")
	serve := map[string]func(Client, url.Values) (*grant, *oauthError){
		grantCode:        i.redeem,
		grantRefresh:     i.refresh,
		grantCredentials: i.credentials,
		grantExchange:    i.exchange,
	}[kind]
	switch {
	case serve == nil:
		return nil, &oauthError{unsupportedGrantType, "this grant type is not served"}
	case !c.may(kind):
		return nil, &oauthError{unauthorizedClient, "the client may not use this grant type"}
	}
	return serve(c, form)
}

// parseForm reads the body. No parameter may come twice (RFC 6749 section 3.2):
// which of them counts would be a guess. Where a token is for several services, the
// weakest of them could use it at the others, so that holds for resource and
// audience too.
func parseForm(w http.ResponseWriter, r *http.Request) (url.Values, *oauthError) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, &oauthError{invalidRequest, "the body is no form"}
	}
	for _, values := range r.PostForm {
		if len(values) > 1 {
			return nil, &oauthError{invalidRequest, "a parameter comes twice"}
		}
	}
	return r.PostForm, nil
}

// credentials gives a client a token of its own (RFC 6749 section 4.4); the subject
// is the client itself (RFC 9068 section 2.2).
func (i *Issuer) credentials(c Client, form url.Values) (*grant, *oauthError) {
	scopes, refusal := narrow(form, c.Scopes)
	if refusal != nil {
		return nil, refusal
	}
	audience, refusal := target(form)
	if refusal != nil {
		return nil, refusal
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issue(Claims{Subject: c.ID, ClientID: c.ID, Audience: audience, Scopes: scopes}, i.config.Lifetime), nil
}

// exchange gives a client a token of somebody else's with which it acts for him
// elsewhere (RFC 8693 section 2). It does not ask whether the token was meant for
// this client, which a real server would.
func (i *Issuer) exchange(c Client, form url.Values) (*grant, *oauthError) {
	if !isTokenType(form.Get("subject_token_type"), false) || !isTokenType(form.Get("requested_token_type"), true) || form.Has("actor_token") {
		return nil, &oauthError{invalidRequest, "only access tokens are exchanged, for access tokens, without an actor token"}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	subject, known := i.tokens[form.Get("subject_token")]
	left := subject.Expiry.Sub(i.config.Now())
	if !known || left <= 0 {
		return nil, &oauthError{invalidRequest, "the subject token is unknown or has expired"} // section 2.2.2
	}
	scopes, refusal := narrow(form, subject.Scopes)
	if refusal != nil {
		return nil, refusal
	}
	audience, refusal := target(form)
	if refusal != nil {
		return nil, refusal
	}
	g := i.issue(Claims{Subject: subject.Subject, ClientID: c.ID, Audience: audience, Scopes: scopes, Actor: c.ID}, min(left, i.config.Lifetime))
	g.IssuedType = typeAccessToken
	return g, nil
}

func isTokenType(t string, mayLack bool) bool {
	return t == typeAccessToken || t == typeJWT || t == "" && mayLack
}

// issue signs a token that lives as long as said. The caller holds the lock.
func (i *Issuer) issue(c Claims, lifetime time.Duration) *grant {
	c.Expiry = i.config.Now().Add(lifetime)
	return &grant{AccessToken: i.mint(c), TokenType: "Bearer", ExpiresIn: int64(lifetime / time.Second), Scope: strings.Join(c.Scopes, " ")}
}

// narrow returns the scopes that are asked for, or all of may where none are.
func narrow(form url.Values, may []string) ([]string, *oauthError) {
	if !form.Has("scope") {
		return may, nil
	}
	asked := strings.Fields(form.Get("scope"))
	for _, s := range asked {
		if !slices.Contains(may, s) {
			return nil, &oauthError{invalidScope, "a scope was not granted"}
		}
	}
	return asked, nil
}

// target is the service that the token is for: an URI as resource (RFC 8707
// section 2), or a name as audience (RFC 8693 section 2.1).
func target(form url.Values) (string, *oauthError) {
	resource, audience := form.Get("resource"), form.Get("audience")
	switch {
	case resource != "" && audience != "" && resource != audience:
		return "", &oauthError{invalidTarget, "resource and audience are two services"}
	case resource == "" && audience == "":
		return "", &oauthError{invalidTarget, "resource or audience has to say whom the token is for"}
	case resource == "":
		return audience, nil
	}
	return resource, checkResource(resource)
}

// checkResource wants an absolute URI without fragment (RFC 8707 section 2).
func checkResource(resource string) *oauthError {
	if u, err := url.Parse(resource); err != nil || !u.IsAbs() || strings.Contains(resource, "#") {
		return &oauthError{invalidTarget, "resource is no absolute URI without fragment"}
	}
	return nil
}
