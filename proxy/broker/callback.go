package broker

import (
	"crypto/rand"
	"net/http"
	"net/url"
)

// granted takes the third party's answer and gives the client a code of ours. The
// third party's token waits with it, and is kept once the client redeems the code.
func (b *Broker) granted(w http.ResponseWriter, r *http.Request, upstream string) {
	v, err := parameters(r.URL.RawQuery)
	f, known := b.states.take(v.Get("state"))
	e := event{step: "callback", request: f.request, user: f.user}
	switch {
	case err != nil || !known:
		e.reason = "state"
	case !bound(r, stateCookie, f):
		e.reason = "cookie"
	case f.upstream != upstream:
		e.reason = "provider" // another provider's answer, by mistake or by mix-up (RFC 9700 section 4.4)
	case !issuerAgrees(b.opts.Upstreams[upstream].Provider.Issuer, v):
		e.reason = "issuer"
	}
	if e.reason != "" {
		b.refuse(w, e, startAgain)
		return
	}
	release(w, stateCookie, f)
	t, code := b.thirdPartyTokens(r, f, v)
	if code != "" {
		e.reason = "third-party-" + code
		b.answer(w, r, e.denied(), url.Values{"error": {code}})
		return
	}
	secret := rand.Text()
	if !b.codes.put(secret, grant{request: f.request, user: f.user, tokens: t}, codeLife) {
		e.reason = "flood"
		b.unavailable(w, e)
		return
	}
	b.answer(w, r, e.allowed(), url.Values{"code": {secret}})
}

// issuerAgrees compares iss (RFC 9207 section 2.4): it must be there and the
// same where the provider sends it, and where none is expected it may not be there.
func issuerAgrees(want string, v url.Values) bool {
	return v.Get("iss") == want && v.Has("iss") == (want != "")
}

// thirdPartyTokens returns what the third party's code is good for, or the error
// that the client reads.
func (b *Broker) thirdPartyTokens(r *http.Request, f flow, v url.Values) (tokens, string) {
	switch {
	case v.Get("error") == "access_denied":
		return tokens{}, "access_denied"
	case v.Has("error") || v.Get("code") == "":
		return tokens{}, "server_error"
	}
	t, err := b.exchange(r.Context(), f.upstream, url.Values{
		"grant_type": {"authorization_code"}, "code": {v.Get("code")},
		"redirect_uri": {b.callbackURL(f.upstream)}, "code_verifier": {f.verifier.Reveal()},
	})
	if err != nil {
		b.opts.Log.Warn("the third party's code was not exchanged", "upstream", f.upstream, "error", err)
		return tokens{}, "server_error"
	}
	return t, ""
}

// answer sends the user back to the client, once that is on record.
func (b *Broker) answer(w http.ResponseWriter, r *http.Request, e event, told url.Values) {
	if b.record(w, e) {
		http.Redirect(w, r, b.answerURL(e.request, told), http.StatusSeeOther)
	}
}
