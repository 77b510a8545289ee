package broker

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strconv"

	"mcp-sidecar/proxy/identity"
)

//go:embed page/*.html page/style.css
var pageFiles embed.FS

var (
	pages = template.Must(template.New("").Funcs(template.FuncMap{"style": func() template.CSS { return style }}).ParseFS(pageFiles, "page/*.html"))
	style = readStyle()
	// policy allows a page nothing but its own style and a form to ourselves. There
	// is no script to allow, and nobody may frame it: a click on what the user cannot
	// see is no consent.
	policy = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

func readStyle() template.CSS {
	b, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		panic(err) // it is in the program
	}
	return template.CSS(b) //nolint:gosec // our own file
}

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// secureHeaders are those of every answer.
func secureHeaders(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	// Not no-referrer: with that, browsers send Origin: null with our own form.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// consentView is what the consent page shows.
type consentView struct {
	Upstream       string
	Resource       string
	Client         string
	ClientID       string
	Vouched        bool
	RedirectHost   string
	Loopback       bool
	Scopes         []string
	User           string
	Provider       string
	ProviderScopes []string
	Flow           string
	CSRF           identity.Secret
}

func (b *Broker) consentPage(w http.ResponseWriter, f flow) {
	u := b.opts.Upstreams[f.upstream]
	b.page(w, http.StatusOK, "consent.html", consentView{
		Upstream: f.upstream, Resource: u.Resource,
		Client: f.client.Name, ClientID: f.client.ID, Vouched: f.client.vouched,
		RedirectHost: redirectHost(f.redirect), Loopback: !assured(f.redirect),
		Scopes: f.scopes, User: f.user.shown(),
		Provider: hostOf(u.Provider.AuthorizeURL), ProviderScopes: u.Provider.Scopes,
		Flow: f.handle, CSRF: f.csrf,
	})
}

func (u user) shown() string {
	if u.name == "" {
		return u.subject
	}
	return u.name + " (" + u.subject + ")"
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// continueView leads on to another site. The browser goes by itself.
type continueView struct {
	Said string
	To   identity.Secret // the state or the code is in it
	Host string
}

func (b *Broker) continuePage(w http.ResponseWriter, to, said string) {
	b.page(w, http.StatusOK, "continue.html", continueView{Said: said, To: identity.NewSecret(to), Host: hostOf(to)})
}

func (b *Broker) errorPage(w http.ResponseWriter, status int, why string) {
	b.page(w, status, "error.html", why)
}

func (b *Broker) page(w http.ResponseWriter, status int, name string, data any) {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, name, data); err != nil {
		b.opts.Log.Error("a page could not be made", "page", name, "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}
