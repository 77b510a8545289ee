package sidecar

import (
	"fmt"

	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
)

// inHeader is the credential that the server called name is shown in a header, if
// any.
func (s *Sidecar) inHeader(name string, c config.Credential) (backend.Credential, error) {
	if !c.Kind.InHeader() {
		return backend.Credential{}, nil
	}
	shown := backend.Credential{Header: c.HeaderName(), Prefix: c.HeaderPrefix(), PerCaller: c.Kind == config.CredentialExchanged}
	if c.Kind == config.CredentialHeader {
		shown.Source = s.stored[name]
		return shown, nil
	}
	var err error
	if shown.Source, err = s.issued(name, c); err != nil {
		return backend.Credential{}, fmt.Errorf("%w: upstreams.%s.credential: %w", ErrConfig, name, err)
	}
	return shown, nil
}

// issued is where the credential of a server comes from that an authorization server
// issues.
func (s *Sidecar) issued(name string, c config.Credential) (backend.Source, error) {
	o, err := s.tokenOptions(name, c)
	if err != nil {
		return nil, err
	}
	if c.Kind == config.CredentialExchanged {
		return identity.NewExchanger(o)
	}
	return identity.NewClientCredentials(o)
}

// tokenOptions are where and as whom the sidecar asks for tokens for the server
// called name.
func (s *Sidecar) tokenOptions(name string, c config.Credential) (identity.TokenOptions, error) {
	o := identity.TokenOptions{
		URL: c.TokenURL, ClientID: c.ClientID, KeyFile: s.resolved(c.ClientKeyFile), KeyID: c.ClientKeyID,
		Scopes: c.Scopes, Resource: c.Resource, Audience: c.Audience,
		Accept: s.refuseInbound, // what is issued for a caller is remembered with his calls
		Now:    s.opts.Now, Log: s.log.With("upstream", name),
	}
	if c.Kind == config.CredentialGranted {
		o.Accept = func(token string) error { return s.accept("upstreams."+name, token) }
	}
	var err error
	if o.Fetcher, err = identity.NewFetcher(identity.FetchOptions{URLs: []string{c.TokenURL}, AllowLoopbackHTTP: c.AllowLoopbackHTTP}); err != nil {
		return o, err
	}
	s.fetchers = append(s.fetchers, o.Fetcher)
	if c.ClientSecretFile == "" {
		return o, nil
	}
	o.Secret, err = identity.NewStored(identity.StoredOptions{
		File: s.cfg.Resolve(c.ClientSecretFile), Now: s.opts.Now, Log: o.Log,
		Accept: func(secret string) error { return s.accept("upstreams."+name+".client", secret) },
	})
	return o, err
}

// delegated are the servers behind e that are shown a credential issued for each
// caller.
func (s *Sidecar) delegated(e *endpoint) map[string]bool {
	names := map[string]bool{}
	for name, u := range s.cfg.Upstreams {
		exchanged := u.Credential.Kind == config.CredentialExchanged && (e.name == name || e.name == merged)
		if exchanged || s.brokered(name) && e.name == name {
			names[name] = true
		}
	}
	return names
}
