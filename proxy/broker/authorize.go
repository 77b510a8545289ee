package broker

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"mcp-sidecar/proxy/identity"
)

// authorize reads a client's request (RFC 6749 section 4.1.1). Until client and
// redirect URI are known to belong together, whatever is wrong is said on a page:
// a redirect would let anybody use this address to send people anywhere.
func (b *Broker) authorize(w http.ResponseWriter, r *http.Request) {
	v, err := parameters(r.URL.RawQuery)
	if err != nil {
		b.refuse(w, event{step: "authorize", reason: "parameters"}, "The request of the program is malformed.")
		return
	}
	id := v.Get("client_id")
	client, err := b.clients.find(r.Context(), id)
	if err != nil {
		b.refuseClient(w, id, err)
		return
	}
	q := request{client: client, redirect: v.Get("redirect_uri"), state: identity.NewSecret(v.Get("state"))}
	if q.redirect == "" || !client.allows(q.redirect) {
		b.refuse(w, event{step: "authorize", request: q, reason: "redirect-uri"}, "The program wants its answer at an address that is not registered for it.")
		return
	}
	if code := b.complete(&q, v); code != "" {
		b.refuseRequest(w, r, q, code)
		return
	}
	b.toLogin(w, r, q)
}

func (b *Broker) refuseClient(w http.ResponseWriter, id string, err error) {
	e := event{step: "authorize", request: request{client: &Client{ID: id}}, reason: "client"}
	switch {
	case errors.Is(err, errFlood):
		e.reason = "flood"
		b.refuse(w, e, "Too many new programs ask at the moment. Try again in a minute.")
	case errors.Is(err, errDocument):
		e.reason = "client-document"
		b.refuse(w, e, "The program describes itself at an address whose content cannot be used.")
	default:
		b.refuse(w, e, "This program is not known here.")
	}
}

// refuseRequest tells the client what is wrong with its request, by way of the
// user's browser if the operator vouches for the client. An address that anybody
// could register gets nobody sent to it before the user has agreed to something
// (RFC 9700 section 4.11.2).
func (b *Broker) refuseRequest(w http.ResponseWriter, r *http.Request, q request, code string) {
	e := event{step: "authorize", request: q, reason: code}
	if !q.client.vouched {
		b.refuse(w, e, "The request of the program cannot be granted: "+code+".")
		return
	}
	if b.record(w, e.denied()) {
		http.Redirect(w, r, b.answerURL(q, url.Values{"error": {code}}), http.StatusSeeOther)
	}
}

// s256 is what base64url makes of a SHA-256 (RFC 7636 section 4.2).
var s256 = regexp.MustCompile(`^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$`)

// maxState bounds what a client wants back, in bytes.
const maxState = 1024

// complete fills q from v and returns the error code of what is wrong, or nothing.
func (b *Broker) complete(q *request, v url.Values) string {
	q.challenge, q.scopes = v.Get("code_challenge"), slices.Compact(slices.Sorted(strings.FieldsSeq(v.Get("scope"))))
	q.upstream = b.upstreamAt(v.Get("resource"))
	switch {
	case len(q.state.Reveal()) > maxState || strings.ContainsFunc(q.state.Reveal(), func(r rune) bool { return r < ' ' || r > '~' }):
		q.state = identity.Secret{}
		return "invalid_request"
	case v.Has("request"):
		return "request_not_supported" // parameters of which nothing here would be checked
	case v.Has("request_uri"):
		return "request_uri_not_supported"
	case v.Get("response_type") != "code":
		return "unsupported_response_type"
	case v.Has("response_mode") && v.Get("response_mode") != "query":
		return "invalid_request"
	case v.Get("code_challenge_method") != "S256" || !s256.MatchString(q.challenge):
		// Absent means plain (RFC 7636 section 4.3), which shows the verifier to
		// everybody who sees this request.
		return "invalid_request"
	case q.upstream == "":
		return "invalid_target" // RFC 8707 section 2
	case !containsAll(b.opts.Upstreams[q.upstream].Scopes, q.scopes):
		return "invalid_scope"
	}
	return ""
}

// upstreamAt names the upstream whose resource it is, compared exactly.
func (b *Broker) upstreamAt(resource string) string {
	for name, u := range b.opts.Upstreams {
		if resource != "" && u.Resource == resource {
			return name
		}
	}
	return ""
}

func containsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// toLogin sends the user to say who he is.
func (b *Broker) toLogin(w http.ResponseWriter, r *http.Request, q request) {
	f := flow{request: q, handle: newHandle(), nonce: identity.NewSecret(rand.Text()), verifier: newVerifier()}
	state := rand.Text()
	to, err := b.login.start(r.Context(), state, f.nonce.Reveal(), challengeOf(f.verifier.Reveal()))
	if err != nil {
		b.opts.Log.Warn("the login provider cannot be used", "error", err)
		b.unavailable(w, event{step: "authorize", request: q, reason: "login-provider"})
		return
	}
	bind(w, loginCookie, &f)
	if !b.logins.put(state, f, flowLife) {
		b.unavailable(w, event{step: "authorize", request: q, reason: "flood"})
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// loggedIn takes the login provider's answer and shows the user to the page where
// he is asked. A state is used up by whoever shows it, with or without the cookie.
func (b *Broker) loggedIn(w http.ResponseWriter, r *http.Request) {
	v, err := parameters(r.URL.RawQuery)
	f, known := b.logins.take(v.Get("state"))
	e := event{step: "login", request: f.request}
	switch {
	case err != nil || !known:
		e.reason = "state"
		b.refuse(w, e, startAgain)
		return
	case !bound(r, loginCookie, f):
		e.reason = "cookie"
		b.refuse(w, e, startAgain)
		return
	}
	release(w, loginCookie, f)
	if f.user, err = b.login.finish(r.Context(), v, f.nonce.Reveal(), f.verifier.Reveal()); err != nil {
		b.opts.Log.Info("a login failed", "error", err)
		e.reason = "login"
		b.refuse(w, e, "The login was not completed. Go back to the program and start again.")
		return
	}
	if b.remembered(f) {
		b.approved(w, r, f, "remembered")
		return
	}
	f.csrf = identity.NewSecret(rand.Text())
	bind(w, consentCookie, &f)
	if !b.consents.put(f.handle, f, flowLife) {
		b.unavailable(w, event{step: "login", request: f.request, user: f.user, reason: "flood"})
		return
	}
	http.Redirect(w, r, consentPath+"?flow="+f.handle, http.StatusSeeOther)
}

const startAgain = "This step has expired, was taken already, or was begun in another browser. Go back to the program and start again."

// newHandle names a flow's cookies. It is no secret, but two flows of a browser
// must not share one.
func newHandle() string { return rand.Text()[:16] }

// newVerifier returns a PKCE code verifier (RFC 7636 section 4.1).
func newVerifier() identity.Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return identity.NewSecret(base64.RawURLEncoding.EncodeToString(b))
}

func challengeOf(verifier string) string {
	sum := hashOf(verifier)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
