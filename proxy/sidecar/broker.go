package sidecar

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/broker"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
)

// buildBroker makes the authorization server for upstreams that want the token of
// a third party.
func (s *Sidecar) buildBroker() error {
	c := s.cfg.Broker
	if c == nil {
		return nil
	}
	folder, err := s.cfg.StateFolder(os.LookupEnv)
	if err != nil {
		return fmt.Errorf("%w: broker: %w", ErrConfig, err)
	}
	o := broker.Options{
		Issuer: s.cfg.Public(), Upstreams: map[string]broker.Upstream{}, Register: c.DynamicRegistration,
		Folder: filepath.Join(folder, "broker"), Record: s.audit.Record, Log: s.log.With("part", "broker"), Now: s.opts.Now,
	}
	if o.Key, err = s.brokerKey(); err != nil {
		return err
	}
	if o.Login, err = s.brokerLogin(&c.Login); err != nil {
		return err
	}
	if o.Clients, err = s.brokerClients(c.Clients); err != nil {
		return err
	}
	if o.Documents, o.Hosts, err = s.clientDocuments(c.ClientHosts); err != nil {
		return err
	}
	for name, u := range s.cfg.Upstreams {
		if u.Broker == nil {
			continue
		}
		p, err := s.provider(name, u.Broker)
		if err != nil {
			return err
		}
		o.Upstreams[name] = broker.Upstream{Resource: s.cfg.Public() + s.pathOf(name), Scopes: scopesOf(s.toolsOf(name)), Provider: p}
	}
	if s.broker, err = broker.New(o); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// brokerKey encrypts what the broker keeps.
func (s *Sidecar) brokerKey() (identity.Hidden[[]byte], error) {
	if s.cfg.Broker.KeyFile == "" {
		return s.sealKey()
	}
	return s.keyFrom("broker.key_file", s.cfg.Broker.KeyFile)
}

func (s *Sidecar) brokerLogin(c *config.BrokerLogin) (broker.Login, error) {
	secret, err := s.optionalSecret(c.ClientSecretFile)
	if err != nil {
		return broker.Login{}, err
	}
	urls := []string{c.Issuer}
	for _, h := range c.Hosts {
		urls = append(urls, "https://"+h)
	}
	fetch, err := s.fetcher("broker.login", identity.FetchOptions{URLs: urls, AllowLoopbackHTTP: c.AllowLoopbackHTTP})
	return broker.Login{Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: secret, SubjectPrefix: c.SubjectPrefix, AllowLoopbackHTTP: c.AllowLoopbackHTTP, Fetch: fetch}, err
}

func (s *Sidecar) brokerClients(configured []config.BrokerClient) (clients []broker.Client, err error) {
	for _, c := range configured {
		client := broker.Client{ID: c.ID, Name: c.Name, Redirects: c.RedirectURIs}
		if client.Secret, err = s.optionalSecret(c.SecretFile); err != nil {
			return nil, err
		}
		if client.Name == "" {
			client.Name = c.ID
		}
		clients = append(clients, client)
	}
	return clients, nil
}

// clientDocuments fetches what clients say of themselves at hosts. Clients choose
// the addresses, so only public ones are dialed.
func (s *Sidecar) clientDocuments(hosts []string) (*identity.Fetcher, []string, error) {
	if len(hosts) == 0 {
		return nil, nil, nil
	}
	if slices.Contains(hosts, "*") {
		hosts = nil
	}
	dialer := &ssrf.Dialer{Resolver: s.resolver(), Rule: ssrf.Rule{Hosts: hosts}}
	fetch, err := s.fetcher("broker.client_hosts", identity.FetchOptions{DialContext: dialer.DialContext})
	return fetch, hosts, err
}

func (s *Sidecar) provider(name string, c *config.Provider) (broker.Provider, error) {
	secret, err := s.optionalSecret(c.ClientSecretFile)
	if err != nil {
		return broker.Provider{}, err
	}
	fetch, err := s.fetcher("upstreams."+name+".broker", identity.FetchOptions{URLs: []string{c.TokenURL}, AllowLoopbackHTTP: c.AllowLoopbackHTTP})
	return broker.Provider{
		Issuer: c.Issuer, AuthorizeURL: c.AuthorizeURL, TokenURL: c.TokenURL, ClientID: c.ClientID, ClientSecret: secret,
		SecretInForm: c.SecretInForm, Resource: c.Resource, Scopes: c.Scopes, Fetch: fetch,
	}, err
}

// optionalSecret reads a secret where a file is named.
func (s *Sidecar) optionalSecret(file string) (identity.Secret, error) {
	if file == "" {
		return identity.Secret{}, nil
	}
	secret, err := s.readSecret(file)
	return identity.NewSecret(secret), err
}

// fetcher makes one that is closed with the sidecar.
func (s *Sidecar) fetcher(what string, o identity.FetchOptions) (*identity.Fetcher, error) {
	f, err := identity.NewFetcher(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, what, err)
	}
	s.fetchers = append(s.fetchers, f)
	return f, nil
}

// resolver answers names for what is about to be dialed or was given as a URL.
func (s *Sidecar) resolver() ssrf.Resolver {
	var next ssrf.Resolver = net.DefaultResolver
	if server := s.cfg.DNS.Server; server.IsValid() {
		next = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.String())
		}}
	}
	if s.opts.Resolver != nil {
		next = s.opts.Resolver
	}
	return ssrf.NewStatic(s.cfg.DNS.Hosts, next)
}

// brokered says whether the server called name is shown the caller's token of a
// third party.
func (s *Sidecar) brokered(name string) bool { return s.cfg.Upstreams[name].Broker != nil }

// grantsFor is what the server called name is shown.
func (s *Sidecar) grantsFor(name string) backend.Credential {
	granted := identity.Granted{
		Token: func(ctx context.Context, caller identity.Principal) (identity.Secret, error) {
			return s.broker.Token(ctx, caller, name)
		},
		Renewed: func(ctx context.Context, caller identity.Principal, refused identity.Secret) (identity.Secret, error) {
			return s.broker.Renewed(ctx, caller, name, refused)
		},
	}
	return backend.Credential{Header: "Authorization", Prefix: "Bearer ", Source: granted, PerCaller: true}
}

// ownFor are the credentials that no answer of e may repeat.
func (s *Sidecar) ownFor(e *endpoint) func(identity.Principal) []string {
	if !s.brokered(e.name) {
		return func(identity.Principal) []string { return s.own.list() }
	}
	return func(caller identity.Principal) []string {
		return slices.Concat(s.own.list(), s.broker.Shown(caller, e.name))
	}
}

// brokerPages are the paths of the broker.
func (s *Sidecar) brokerPages() map[string]http.Handler {
	if s.broker == nil {
		return nil
	}
	pages := map[string]http.Handler{}
	for _, path := range s.broker.Paths() {
		pages[path] = s.broker
	}
	return pages
}

// brokerSecrets are the files with secrets of the broker and of the third parties.
func (s *Sidecar) brokerSecrets() (files []string) {
	if c := s.cfg.Broker; c != nil {
		files = append(files, c.KeyFile, c.Login.ClientSecretFile)
		for _, client := range c.Clients {
			files = append(files, client.SecretFile)
		}
	}
	for _, u := range s.cfg.Upstreams {
		if u.Broker != nil {
			files = append(files, u.Broker.ClientSecretFile)
		}
	}
	return files
}

// brokerLines are what the summary says about the broker.
func (s *Sidecar) brokerLines() []string {
	c := s.cfg.Broker
	if c == nil {
		return nil
	}
	lines := []string{"  broker         users log in at " + c.Login.Issuer + " and are asked about each client at " + s.cfg.Public()}
	if slices.Contains(c.ClientHosts, "*") {
		lines = append(lines, "  note           broker.client_hosts: clients of any public host may ask users")
	}
	if c.DynamicRegistration {
		lines = append(lines, "  warning        broker.dynamic_registration: anybody may register a client and have users asked about it")
	}
	return lines
}

// hostOf is the host of a URL from the configuration, for the summary.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}
