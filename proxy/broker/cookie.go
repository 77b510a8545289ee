package broker

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"time"
)

// Cookies bind each step to the browser that began it. Every step has its own, so
// that none can stand for another, and its name has the flow's handle in it, so
// that a browser can be in several flows.
const (
	loginCookie   = "__Host-login-"
	consentCookie = "__Host-consent-"
	stateCookie   = "__Host-state-"
)

// bind gives the browser a cookie for the next step of f. __Host- keeps other
// hosts of the same domain from setting it (RFC 6265bis section 4.1.3.2). It needs
// Secure, also on plain http to this machine, which browsers hold trustworthy.
func bind(w http.ResponseWriter, kind string, f *flow) {
	secret := rand.Text()
	f.browser = hashOf(secret)
	setCookie(w, kind+f.handle, secret, int(flowLife/time.Second))
}

// bound says whether r comes from the browser that was given the cookie of this
// step.
func bound(r *http.Request, kind string, f flow) bool {
	c := r.CookiesNamed(kind + f.handle)
	if len(c) != 1 {
		return false
	}
	got := hashOf(c[0].Value)
	return subtle.ConstantTimeCompare(got[:], f.browser[:]) == 1
}

// release takes the cookie away again.
func release(w http.ResponseWriter, kind string, f flow) { setCookie(w, kind+f.handle, "", -1) }

func setCookie(w http.ResponseWriter, name, value string, age int) {
	// Lax and not Strict: the browser comes back from the providers' sites.
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}
