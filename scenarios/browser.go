package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// browser is a user's: it keeps cookies and goes wherever it is sent. The user is
// logged in at the issuer, and presses a button only where she has a reason to.
type browser struct {
	user   string
	issuer string // URL; its form is filled in, as by a session that the user has there
	client *http.Client
}

// newBrowser makes one that finds every host but loopback ones among the fakes.
func newBrowser(user, issuerURL string, f *fakes, ca *authority) (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, _ := net.SplitHostPort(address); host != "127.0.0.1" {
				address = f.addr
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	return &browser{user: user, issuer: issuerURL, client: &http.Client{Transport: transport, Jar: secureJar{jar}, Timeout: callTime}}, nil
}

func (b *browser) close() { b.client.CloseIdleConnections() }

// page is what a browser shows.
type page struct {
	url   *url.URL
	title string
	body  string
}

// maxPages bounds one visit; redirects are bounded by [http.Client].
const maxPages = 10

// visit opens address and goes on for as long as something sends it on: a redirect,
// a refresh, or the login page. With allow the user presses what says yes; without,
// a page that asks her is the end. It returns that page, and the titles of all that
// asked.
func (b *browser) visit(ctx context.Context, address string, allow bool) (last page, asked []string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return page{}, nil, err
	}
	for range maxPages {
		if last, err = b.open(r); err != nil {
			return last, asked, err
		}
		if r, err = b.onward(ctx, last); err != nil || r != nil {
			continue
		}
		if !strings.Contains(last.body, "<form") {
			return last, asked, nil
		}
		asked = append(asked, last.title)
		if !allow {
			return last, asked, nil
		}
		if r, err = b.press(ctx, last, url.Values{"decision": {"approve"}}); err != nil {
			return last, asked, err
		}
	}
	return last, asked, errors.New("the pages do not end")
}

func (b *browser) open(r *http.Request) (page, error) {
	resp, err := b.client.Do(r) //nolint:gosec // dials loopback only
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil {
		return page{}, err
	}
	p := page{url: resp.Request.URL, title: fmt.Sprintf("HTTP %d", resp.StatusCode), body: string(body)}
	if m := titlePattern.FindStringSubmatch(p.body); m != nil {
		p.title = html.UnescapeString(m[1])
	}
	return p, nil
}

var (
	titlePattern   = regexp.MustCompile(`<title>([^<]*)</title>`)
	refreshPattern = regexp.MustCompile(`<meta http-equiv="refresh" content="0; url=([^"]*)">`)
	hiddenPattern  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	actionPattern  = regexp.MustCompile(`<form[^>]* action="([^"]*)"`)
)

// onward is what p goes on to without the user, nil where it does not.
func (b *browser) onward(ctx context.Context, p page) (*http.Request, error) {
	if m := refreshPattern.FindStringSubmatch(p.body); m != nil {
		return http.NewRequestWithContext(ctx, http.MethodGet, html.UnescapeString(m[1]), nil)
	}
	if strings.HasPrefix(p.url.String(), b.issuer+"/authorize?") {
		return b.press(ctx, p, url.Values{"user": {b.user}})
	}
	return nil, nil
}

// press sends p's form with what its button and the user add.
func (b *browser) press(ctx context.Context, p page, form url.Values) (*http.Request, error) {
	to := p.url
	if m := actionPattern.FindStringSubmatch(p.body); m != nil {
		action, err := p.url.Parse(html.UnescapeString(m[1]))
		if err != nil {
			return nil, err
		}
		to = action
	}
	for _, m := range hiddenPattern.FindAllStringSubmatch(p.body, -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", p.url.Scheme+"://"+p.url.Host)
	return r, nil
}

// secureJar sends Secure cookies over plain http to this machine too, as browsers
// do that take loopback for trustworthy.
type secureJar struct{ jar http.CookieJar }

// Cookies implements [http.CookieJar].
func (j secureJar) Cookies(u *url.URL) []*http.Cookie { return j.jar.Cookies(overTLS(u)) }

// SetCookies implements [http.CookieJar].
func (j secureJar) SetCookies(u *url.URL, c []*http.Cookie) { j.jar.SetCookies(overTLS(u), c) }

func overTLS(u *url.URL) *url.URL {
	secure := *u
	secure.Scheme = "https"
	return &secure
}
