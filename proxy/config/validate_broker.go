package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// checkBroker checks the authorization server and what it is for.
func (c *Config) checkBroker(k *checker) {
	var brokered []string
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		if c.Upstreams[name].Broker != nil {
			brokered = append(brokered, name)
		}
	}
	switch {
	case c.Broker == nil && len(brokered) > 0:
		k.lacks("broker", "is required with upstreams.%s.broker", brokered[0])
	case c.Broker != nil && len(brokered) == 0:
		k.badKey("broker", "serves no upstream: give one a broker of its own")
	case c.Merge && len(brokered) == len(c.Upstreams):
		k.bad("merge", "needs an upstream without a broker: a caller there has no third party's token")
	}
	if c.Broker == nil {
		return
	}
	switch {
	case c.InsecureNoAuth:
		k.badKey("broker", "excludes --insecure-no-auth: nobody would be asked")
	case c.Local:
		k.badKey("broker", "needs a listener, which wrap does not open")
	}
	if c.PublicURL == "" {
		// Providers compare redirect URIs exactly, so the address has to be known.
		k.lacks("public_url", "is required with broker")
	}
	c.Broker.check(k)
	if c.Broker.KeyFile == "" && c.SealKeyFile == "" {
		k.lacks("broker.key_file", "is required, here or as seal_key_file: what is kept is encrypted")
	}
}

func (b *Broker) check(k *checker) {
	b.Login.check(k)
	k.file("broker.key_file", b.KeyFile)
	ids := map[string]bool{}
	for i, client := range b.Clients {
		path := item("broker.clients", i)
		client.check(k, path)
		k.unless(client.ID == "" || !ids[client.ID], child(path, "id"), "is given twice")
		ids[client.ID] = true
	}
	for i, h := range b.ClientHosts {
		at := item("broker.client_hosts", i)
		k.unless(h == "*" || isURLHost(h), at, "must be a host in lower case, or * for every public one")
		k.unless(!slices.Contains(b.ClientHosts[:i], h), at, "is given twice")
	}
}

func (l *BrokerLogin) check(k *checker) {
	const path = "broker.login"
	if u := checkEndpoint(k, child(path, "issuer"), l.Issuer, l.AllowLoopbackHTTP); u != nil && (u.RawQuery != "" || u.ForceQuery) {
		k.bad(child(path, "issuer"), "must not have a query (OpenID Connect Discovery section 3)")
	}
	for i, h := range l.Hosts {
		k.unless(isURLHost(h), item(child(path, "hosts"), i), "must be a host in lower case")
	}
	checkOwnClient(k, path, l.ClientID)
	k.file(child(path, "client_secret_file"), l.ClientSecretFile)
	checkPrefix(k, path, l.SubjectPrefix)
}

func checkOwnClient(k *checker, path, id string) {
	switch {
	case id == "":
		k.lacks(child(path, "client_id"), "is required")
	case !clientID.MatchString(id):
		k.bad(child(path, "client_id"), "must be printable ASCII")
	}
}

// checkEndpoint accepts https, and http on loopback with the explicit flag: what
// travels there are codes and tokens.
func checkEndpoint(k *checker, path, raw string, loopback bool) *url.URL {
	if raw == "" {
		k.lacks(path, "is required")
		return nil
	}
	u, defect := parseURL(raw)
	switch {
	case defect != "":
		k.bad(path, "%s", defect)
		return nil
	case secretParameter(u) != "":
		k.bad(path, "must not hold a secret; use client_secret_file")
	case u.Scheme == "https":
	case !isLoopback(u.Hostname()):
		k.bad(path, "must be https")
	case !loopback:
		k.bad(path, "must be https; plain http on loopback needs allow_loopback_http: true")
	}
	return u
}

func (c BrokerClient) check(k *checker, path string) {
	id := child(path, "id")
	switch {
	case c.ID == "":
		k.lacks(id, "is required")
	case !clientID.MatchString(c.ID) || len(c.ID) > 256:
		k.bad(id, "must be at most 256 characters of printable ASCII")
	case strings.Contains(c.ID, "://"):
		k.bad(id, "must not be a URL, which is the id of a client that describes itself")
	case strings.HasPrefix(c.ID, "dyn-"):
		k.bad(id, "must not begin with dyn-, as ids of clients do that anybody has registered")
	}
	k.unless(c.Name == "" || isPlainName(c.Name), child(path, "name"), "must be a name without space at its ends")
	if len(c.RedirectURIs) == 0 {
		k.lacks(child(path, "redirect_uris"), "is required: name at least one")
	}
	for i, uri := range c.RedirectURIs {
		checkRedirectURI(k, item(child(path, "redirect_uris"), i), uri)
	}
	k.file(child(path, "secret_file"), c.SecretFile)
}

// checkRedirectURI accepts https, and http to the user's own machine.
func checkRedirectURI(k *checker, path, uri string) {
	u, defect := parseURL(uri)
	switch {
	case defect != "":
		k.bad(path, "%s", defect)
	case len(uri) > 1024:
		k.bad(path, "must be at most 1024 characters")
	case u.Scheme != "https" && !isLoopback(u.Hostname()):
		k.bad(path, "must be https, or http on loopback")
	}
}

// checkProvider checks the third party of an upstream.
func (up Upstream) checkProvider(k *checker, path string) {
	p := up.Broker
	if p == nil {
		return
	}
	if up.Command != nil {
		k.badKey(path, "is for url: a command is sent no headers")
	}
	if up.Credential.Kind != CredentialNone {
		k.badKey(path, "excludes credential: the third party's token is the credential")
	}
	checkEndpoint(k, child(path, "authorize_url"), p.AuthorizeURL, p.AllowLoopbackHTTP)
	checkEndpoint(k, child(path, "token_url"), p.TokenURL, p.AllowLoopbackHTTP)
	if p.Issuer != "" {
		checkEndpoint(k, child(path, "issuer"), p.Issuer, p.AllowLoopbackHTTP)
	}
	checkOwnClient(k, path, p.ClientID)
	k.file(child(path, "client_secret_file"), p.ClientSecretFile)
	if p.SecretInForm && p.ClientSecretFile == "" {
		k.lacks(child(path, "client_secret_file"), "is required with secret_in_form")
	}
	for i, s := range p.Scopes {
		at := item(child(path, "scopes"), i)
		k.unless(scopeToken.MatchString(s), at, "is not a scope token (RFC 6749 section 3.3)")
		k.unless(!slices.Contains(p.Scopes[:i], s), at, "is given twice")
	}
	if p.Resource != "" {
		_, defect := parseURL(p.Resource)
		k.unless(defect == "", child(path, "resource"), defect)
	}
}

// brokered says whether every upstream has a third party, so that the broker's
// tokens let callers in everywhere.
func (c *Config) brokered() bool {
	for _, up := range c.Upstreams {
		if up.Broker == nil {
			return false
		}
	}
	return c.Broker != nil && !c.Merge
}
