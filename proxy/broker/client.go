package broker

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/singleflight"

	"mcp-sidecar/proxy/identity"
)

// Client is a program that asks for access.
type Client struct {
	ID        string
	Name      string // shown to the user
	Redirects []string
	Secret    identity.Secret // empty: a public client

	vouched bool // the operator has registered it
}

// assured says whether an answer at uri can only reach this client. Any program
// can listen on the user's own machine, so there the user is always asked (RFC
// 8252 section 8.6).
func assured(uri string) bool { return !staysHere(uri) }

// authentic checks the client's secret. A public client that shows one is not who
// it thinks it is.
func (c *Client) authentic(secret string) bool {
	got, want := hashOf(secret), hashOf(c.Secret.Reveal())
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

var (
	errUnknownClient = errors.New("unknown client")
	errDocument      = errors.New("the client's metadata document cannot be used")
	errFlood         = errors.New("too many new clients at the moment")
)

// Bounds of clients that nobody vouches for.
const (
	maxDocument    = 64 << 10 // bytes
	documentLife   = 15 * time.Minute
	failureLife    = time.Minute // before a document that could not be used is fetched again
	maxDocuments   = 1000
	maxRegistered  = 1000
	registeredLife = 24 * time.Hour
	maxRedirects   = 10
	maxName        = 64 // characters
)

// clients knows them by id.
type clients struct {
	known    map[string]*Client
	fetch    *identity.Fetcher // nil: ids that are URLs mean nothing
	hosts    []string
	open     bool // anybody may register
	flights  singleflight.Group
	rate     *limit
	fetched  *shelf[fetched] // by id
	register *shelf[*Client] // by id
}

type fetched struct {
	client *Client
	err    error
}

func newClients(o Options) (*clients, error) {
	c := &clients{
		known: map[string]*Client{}, fetch: o.Documents, hosts: o.Hosts, open: o.Register, rate: newLimit(1, 20, o.Now),
		fetched: newShelf[fetched](maxDocuments, o.Now), register: newShelf[*Client](maxRegistered, o.Now),
	}
	for _, k := range o.Clients {
		if defect := redirectsDefect(k.Redirects); defect != "" {
			return nil, wrapf("client %q: redirect URI %s", k.ID, defect)
		}
		k.vouched = true
		c.known[k.ID] = &k
	}
	return c, nil
}

func redirectsDefect(uris []string) string {
	if len(uris) == 0 || len(uris) > maxRedirects {
		return "is missing, or there are too many"
	}
	for _, uri := range uris {
		if defect := RedirectDefect(uri); defect != "" {
			return defect
		}
	}
	return ""
}

// find returns the client called id. What the operator says comes first.
func (c *clients) find(ctx context.Context, id string) (*Client, error) {
	if known := c.known[id]; known != nil {
		return known, nil
	}
	if client, ok := c.register.look(id); ok {
		return client, nil
	}
	if c.fetch == nil || !c.isDocument(id) {
		return nil, errUnknownClient
	}
	if f, ok := c.fetched.look(id); ok {
		return f.client, f.err
	}
	f, _, _ := c.flights.Do(id, func() (any, error) { return c.document(ctx, id), nil })
	got := f.(fetched)
	return got.client, got.err
}

// dynamic begins the ids of clients that described themselves.
const dynamic = "dyn-"

// admits says whether the configuration still has room for a client called id.
// Sessions outlive a restart; a client that the operator has removed must not come
// back as one without a secret.
func (c *clients) admits(id string) bool {
	return c.known[id] != nil || c.open && strings.HasPrefix(id, dynamic) || c.fetch != nil && c.isDocument(id)
}

// isDocument says whether id may be the URL of a metadata document
// (draft-ietf-oauth-client-id-metadata-document, section 3): https, with a path,
// in the one spelling that the document must repeat.
func (c *clients) isDocument(id string) bool {
	u, err := url.Parse(id)
	if err != nil || len(id) > maxURI || !plainASCII(id) || u.String() != id {
		return false
	}
	if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" || u.ForceQuery || len(u.Path) < 2 {
		return false
	}
	if slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }) {
		return false
	}
	return len(c.hosts) == 0 || slices.Contains(c.hosts, u.Hostname())
}

// document fetches and remembers what id says about itself. Failures are
// remembered too: who asks for the same again must not make us knock again.
func (c *clients) document(ctx context.Context, id string) fetched {
	if !c.rate.allow() {
		return fetched{err: errFlood}
	}
	// Others may wait for the same document.
	body, err := c.fetch.Get(context.WithoutCancel(ctx), id, "application/json")
	if err != nil {
		return c.remember(id, fetched{err: errDocument}, failureLife)
	}
	client, err := readDocument(id, body)
	if err != nil {
		return c.remember(id, fetched{err: err}, failureLife)
	}
	return c.remember(id, fetched{client: client}, documentLife)
}

func (c *clients) remember(id string, f fetched, life time.Duration) fetched {
	if !c.fetched.put(id, f, life) {
		return fetched{err: errFlood} // a document that is not remembered would be fetched for every request
	}
	return f
}

// description is what clients say about themselves (RFC 7591 section 2).
type description struct {
	ID        string   `json:"client_id"`
	Name      string   `json:"client_name"`
	Redirects []string `json:"redirect_uris"`
	Auth      string   `json:"token_endpoint_auth_method"`
	Secret    any      `json:"client_secret"`
	Grants    []string `json:"grant_types"`
	Responses []string `json:"response_types"`
}

func readDocument(id string, body []byte) (*Client, error) {
	var d description
	// This decoder refuses duplicate names, so a document has one reading only.
	if len(body) > maxDocument || json.Unmarshal(body, &d) != nil {
		return nil, errDocument
	}
	switch {
	case d.ID != id: // a page that merely holds somebody else's document
		return nil, errDocument
	case d.Auth != "" && d.Auth != "none", d.Secret != nil: // a public document can hold no secret
		return nil, errDocument
	case !d.usable():
		return nil, errDocument
	}
	return &Client{ID: id, Name: shownName(d.Name), Redirects: d.Redirects}, nil
}

func (d description) usable() bool {
	return redirectsDefect(d.Redirects) == "" &&
		(d.Grants == nil || slices.Contains(d.Grants, "authorization_code")) &&
		(d.Responses == nil || slices.Contains(d.Responses, "code"))
}

// registered remembers a client that described itself. Its id is new and random,
// whatever it asks for.
func (c *clients) registered(d description) (*Client, bool) {
	client := &Client{ID: dynamic + rand.Text(), Name: shownName(d.Name), Redirects: d.Redirects}
	return client, c.register.put(client.ID, client, registeredLife)
}

// shownName is what a page may show of a name that its bearer chose: no control
// character, none that turns the direction of text or cannot be seen, and not so
// much that it pushes the rest away.
func shownName(name string) string {
	var kept []rune
	for _, r := range strings.Join(strings.Fields(name), " ") {
		if unicode.IsPrint(r) {
			kept = append(kept, r)
		}
	}
	if len(kept) > maxName {
		kept = append(kept[:maxName], '…')
	}
	if len(kept) == 0 {
		return "unnamed program"
	}
	return string(kept)
}
