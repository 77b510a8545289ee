package broker

import (
	"crypto/rand"
	"crypto/subtle"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mcp-sidecar/proxy/identity"
)

// ask shows the page on which the user decides about this client.
func (b *Broker) ask(w http.ResponseWriter, r *http.Request) {
	v, err := parameters(r.URL.RawQuery)
	f, known := b.consents.look(v.Get("flow"))
	if err != nil || !known || !bound(r, consentCookie, f) {
		b.refuse(w, event{step: "consent", reason: "flow"}, startAgain)
		return
	}
	b.consentPage(w, f)
}

// decide takes the user's decision. Only here, after a yes, is the third party
// brought in.
func (b *Broker) decide(w http.ResponseWriter, r *http.Request) {
	v, err := form(r)
	if err != nil {
		b.refuse(w, event{step: "consent", reason: "form"}, "The form is malformed.")
		return
	}
	f, known := b.consents.look(v.Get("flow"))
	e := event{step: "consent", request: f.request, user: f.user}
	switch {
	case !known:
		e.reason = "flow"
	case !bound(r, consentCookie, f):
		e.reason = "cookie"
	case crossSite.Check(r) != nil:
		e.reason = "origin"
	case subtle.ConstantTimeCompare([]byte(v.Get("csrf")), []byte(f.csrf.Reveal())) != 1:
		e.reason = "csrf"
	}
	if e.reason != "" {
		b.refuse(w, e, startAgain)
		return
	}
	if _, first := b.consents.take(f.handle); !first {
		e.reason = "flow"
		b.refuse(w, e, startAgain) // decided twice at the same moment
		return
	}
	release(w, consentCookie, f)
	switch v.Get("decision") {
	case "approve":
		b.approve(w, r, f)
	default: // "deny", and whatever else a button could say
		e.reason = "denied-by-user"
		if b.record(w, e.denied()) {
			b.continuePage(w, b.answerURL(f.request, url.Values{"error": {"access_denied"}}), "You have denied access.")
		}
	}
}

// crossSite refuses what another site has sent in the user's name. The token in
// the form is the first line, this the second.
var crossSite = http.NewCrossOriginProtection()

func form(r *http.Request) (url.Values, error) {
	if mediaOf(r) != formMedia {
		return nil, errParameters
	}
	body, err := io.ReadAll(r.Body) // bounded by serve
	if err != nil {
		return nil, errParameters
	}
	return parameters(string(body))
}

// consent is what the user has agreed to.
type consent struct {
	At time.Time `json:"at"`
}

// consentBinding is everything on the page but what the client and the user are
// called: a change of any of it asks anew.
func (b *Broker) consentBinding(f flow) []string {
	p := b.opts.Upstreams[f.upstream].Provider
	return append([]string{p.AuthorizeURL, strings.Join(p.Scopes, " "), b.opts.Login.Issuer, f.user.subject, f.client.ID, f.redirect, f.upstream}, f.scopes...)
}

// remembered says whether the user has agreed to exactly this before.
func (b *Broker) remembered(f flow) bool {
	var c consent
	err := b.vault.get(kindConsent, b.consentBinding(f), &c)
	return err == nil
}

// approve keeps the user's yes, unless the answer goes to his own machine: there it
// can reach any program, so he is asked every time.
func (b *Broker) approve(w http.ResponseWriter, r *http.Request, f flow) {
	if assured(f.redirect) {
		err := b.vault.put(kindConsent, b.consentBinding(f), []string{b.opts.Login.Issuer, f.user.subject}, consentLife, consent{b.opts.Now()})
		if err != nil {
			b.opts.Log.Error("a consent could not be kept", "error", err)
			b.unavailable(w, event{step: "consent", request: f.request, user: f.user, reason: "store"})
			return
		}
	}
	b.approved(w, r, f, "approved")
}

// approved mints the state for the third party and the cookie that goes with it,
// and sends the user there. It is the only place that does.
func (b *Broker) approved(w http.ResponseWriter, r *http.Request, f flow, reason string) {
	e := event{step: "consent", request: f.request, user: f.user, reason: reason}
	if !b.record(w, e.allowed()) {
		return
	}
	state := rand.Text()
	f.csrf, f.nonce, f.verifier = identity.Secret{}, identity.Secret{}, newVerifier()
	bind(w, stateCookie, &f)
	if !b.states.put(state, f, flowLife) {
		e.reason = "flood"
		b.unavailable(w, e)
		return
	}
	to := b.thirdPartyURL(f, state)
	if r.Method == http.MethodPost {
		// Browsers hold the redirects that follow a form against form-action, all the
		// way to the client. A page in between starts afresh.
		b.continuePage(w, to, "You have allowed access.")
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (b *Broker) thirdPartyURL(f flow, state string) string {
	p := b.opts.Upstreams[f.upstream].Provider
	q := url.Values{
		"response_type": {"code"}, "client_id": {p.ClientID}, "redirect_uri": {b.callbackURL(f.upstream)}, "state": {state},
		"code_challenge": {challengeOf(f.verifier.Reveal())}, "code_challenge_method": {"S256"},
	}
	if len(p.Scopes) > 0 {
		q.Set("scope", strings.Join(p.Scopes, " "))
	}
	if p.Resource != "" {
		q.Set("resource", p.Resource)
	}
	return withQuery(p.AuthorizeURL, q)
}

func (b *Broker) callbackURL(upstream string) string {
	return b.opts.Issuer + callbackPath + upstream
}

// withQuery adds q to a URL from the configuration or a provider's metadata.
func withQuery(raw string, q url.Values) string {
	if strings.Contains(raw, "?") {
		return raw + "&" + q.Encode()
	}
	return raw + "?" + q.Encode()
}
