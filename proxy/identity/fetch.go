package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds of one fetch.
const (
	fetchTimeout = 5 * time.Second
	maxFetched   = 1 << 20 // bytes of a body
	maxConns     = 32      // to one host: a flood of questions must not become one of connections
)

// FetchOptions say which endpoints a [Fetcher] may ask.
type FetchOptions struct {
	// URLs are those that the configuration names. Their schemes, hosts and ports
	// are the only ones that are asked. Empty needs DialContext.
	URLs []string
	// AllowLoopbackHTTP permits plain http in URLs, on this machine only.
	AllowLoopbackHTTP bool
	// DialContext opens every connection. Nil is the system's. With no URLs it is
	// what keeps URLs of somebody else's choice away from this network, such as
	// that of ssrf.Dialer; plain http is never spoken then.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS holds authorities and client certificates. Nil is the system's
	// authorities and no certificate.
	TLS *tls.Config
}

// Fetcher asks endpoints for keys, metadata, introspection and tokens. All such
// questions go through one, because each answer decides who is believed: only
// where the configuration says, https only, no redirect, no proxy of the
// environment, at most 1 MiB, at most 5 seconds. It is safe for concurrent use.
type Fetcher struct {
	opts    FetchOptions
	origins []string
	next    http.RoundTripper
	client  *http.Client
}

// NewFetcher returns a fetcher for what o names. It opens no connection yet.
func NewFetcher(o FetchOptions) (*Fetcher, error) {
	f := &Fetcher{opts: o}
	for _, raw := range o.URLs {
		u, err := url.Parse(raw)
		if err != nil {
			return nil, errors.New("fetching: not a URL") // the error would repeat it
		}
		if err := checkScheme(u, o.AllowLoopbackHTTP); err != nil {
			return nil, err
		}
		f.origins = append(f.origins, originOf(u))
	}
	if len(o.URLs) == 0 && o.DialContext == nil {
		return nil, errors.New("fetching: neither URLs nor a dialer say what may be asked")
	}
	f.next = newFetchTransport(o)
	f.client = &http.Client{Transport: f, Timeout: fetchTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		// A redirect would carry a token to, or believe keys from, a host that the
		// configuration does not name.
		return http.ErrUseLastResponse
	}}
	return f, nil
}

func newFetchTransport(o FetchOptions) *http.Transport {
	dial := o.DialContext
	if dial == nil {
		dial = dialConfigured
	}
	secure := &tls.Config{}
	if o.TLS != nil {
		secure = o.TLS.Clone()
	}
	secure.MinVersion = max(secure.MinVersion, tls.VersionTLS12)
	return &http.Transport{
		Proxy:                  nil, // the environment must not decide who sees tokens
		DialContext:            dial,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    fetchTimeout,
		DisableCompression:     true, // a small body must not unfold into a large one
		MaxConnsPerHost:        maxConns,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 16 << 10,
	}
}

// dialConfigured is the system's dialer, except that localhost is this machine
// whatever the resolver says: plain http is spoken to it.
func dialConfigured(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: fetchTimeout, KeepAlive: 30 * time.Second}
	if host, _, err := net.SplitHostPort(address); err == nil && isLoopback(host) {
		d.Control = onlyLoopback
	}
	return d.DialContext(ctx, network, address)
}

func onlyLoopback(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return errors.New("fetching: localhost is not this machine")
	}
	return nil
}

// isLoopback reports whether host is a literal loopback address or localhost.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.Zone() == "" && a.Unmap().IsLoopback()
}

func checkScheme(u *url.URL, allowLoopbackHTTP bool) error {
	switch {
	case u.Host == "" || u.User != nil:
		return errors.New("fetching: the URL names no host, or a user")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && allowLoopbackHTTP && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("fetching: the URL is not https, and not http on loopback where that is allowed")
}

// originOf is scheme, host and port in one spelling.
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// Permits says whether u may be asked, and otherwise why not.
func (f *Fetcher) Permits(u *url.URL) error {
	pinned := len(f.opts.URLs) > 0
	if err := checkScheme(u, f.opts.AllowLoopbackHTTP && pinned); err != nil {
		return err
	}
	if pinned && !slices.Contains(f.origins, originOf(u)) {
		return fmt.Errorf("fetching: the configuration does not name the host %.64q", u.Host)
	}
	return nil
}

// RoundTrip implements [http.RoundTripper] with the rules of the fetcher, except
// those about redirects and time, which [Fetcher.Client] adds.
func (f *Fetcher) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := f.Permits(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	resp, err := f.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxFetched)
	}
	return resp, err
}

// Client is the fetcher for libraries that want a client. A body that is too
// large ends in an error.
func (f *Fetcher) Client() *http.Client { return f.client }

// Close drops idle connections.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// CloseIdleConnections is [Fetcher.Close] for [http.Client].
func (f *Fetcher) CloseIdleConnections() {
	if t, ok := f.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Reply is a whole answer. Its status and media type are for the caller to judge.
type Reply struct {
	Status int
	Media  string         // of Content-Type, in lower case, without parameters
	Body   Hidden[[]byte] // tokens may be in it
}

// Do sends r and reads the answer. Errors name no URL, which may be long or
// somebody else's.
func (f *Fetcher) Do(r *http.Request) (Reply, error) {
	resp, err := f.client.Do(r)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return Reply{}, fmt.Errorf("fetching: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Reply{}, fmt.Errorf("fetching: the answer is cut short or too large: %w", err)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return Reply{resp.StatusCode, media, Hide(body)}, nil
}

// Get fetches rawURL and returns the body of an answer 200 with one of the media
// types.
func (f *Fetcher) Get(ctx context.Context, rawURL string, media ...string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, errors.New("fetching: not a URL")
	}
	r.Header.Set("Accept", strings.Join(media, ", "))
	reply, err := f.Do(r)
	if err != nil {
		return nil, err
	}
	if reply.Status != http.StatusOK || !slices.Contains(media, reply.Media) {
		return nil, fmt.Errorf("fetching: the answer is %d with media type %.64q", reply.Status, reply.Media)
	}
	return reply.Body.Reveal(), nil
}
