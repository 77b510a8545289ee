package sidecar

import (
	"fmt"
	"slices"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
)

// buildAuthenticator returns nil where everybody is anonymous.
func (s *Sidecar) buildAuthenticator() (pipeline.Authenticator, error) {
	auth := s.cfg.Auth
	if auth == nil {
		return nil, nil
	}
	s.verifiers = &identity.Verifiers{}
	if err := s.addFiles(auth); err != nil {
		return nil, err
	}
	for _, j := range auth.JWT {
		v, err := s.buildJWT(j)
		if err != nil {
			return nil, fmt.Errorf("%w: auth.jwt: %s: %w", ErrConfig, j.Issuer, err)
		}
		s.verifiers.JWT = append(s.verifiers.JWT, v)
	}
	for _, i := range auth.Introspection {
		v, err := s.buildIntrospector(i)
		if err != nil {
			return nil, err
		}
		s.verifiers.Introspection = append(s.verifiers.Introspection, v)
	}
	s.verifiers.Warm()
	return s.verifiers, nil
}

// addFiles reads the files that name tokens, roles, and tokens that were taken back.
func (s *Sidecar) addFiles(auth *config.Auth) error {
	var err error
	if name := s.cfg.Resolve(auth.StaticTokensFile); auth.StaticTokensFile != "" {
		s.verifiers.Static, err = identity.NewStatic(identity.StaticOptions{
			File: name, Parse: func(text []byte) ([]identity.StaticToken, error) { return staticTokens(name, text) },
			Audience: s.audience(), Now: s.opts.Now, Log: s.log,
		})
		if err != nil {
			return fmt.Errorf("%w: auth.static_tokens_file: %w", ErrConfig, err)
		}
	}
	if name := s.cfg.Resolve(auth.RolesFile); auth.RolesFile != "" {
		s.verifiers.Directory, err = identity.NewDirectory(identity.DirectoryOptions{
			File: name, Parse: func(text []byte) (map[string][]string, error) { return config.ParseRoles(name, text) },
			Now: s.opts.Now, Log: s.log,
		})
		if err != nil {
			return fmt.Errorf("%w: auth.roles_file: %w", ErrConfig, err)
		}
	}
	if auth.RevokedFile != "" {
		known := append(issuers(auth), identity.StaticIssuer)
		if s.cfg.Broker != nil {
			known = append(known, s.cfg.Public())
		}
		s.verifiers.Revoked, err = identity.NewRevoked(identity.RevokedOptions{
			File: s.cfg.Resolve(auth.RevokedFile), Issuers: known, Now: s.opts.Now, Log: s.log,
		})
		if err != nil {
			return fmt.Errorf("%w: auth.revoked_file: %w", ErrConfig, err)
		}
	}
	return nil
}

func staticTokens(name string, text []byte) (tokens []identity.StaticToken, err error) {
	list, err := config.ParseStaticTokens(name, text)
	for _, t := range list {
		tokens = append(tokens, identity.StaticToken{
			SHA256: t.SHA256, Subject: t.Subject, ClientID: t.ClientID, Scopes: t.Scopes, Audience: t.Audience, Expiry: time.Time(t.Expires),
		})
	}
	return tokens, err
}

func (s *Sidecar) buildJWT(j config.JWT) (*identity.JWT, error) {
	roles, err := identity.NewRoleRule(j.RolesClaim, j.RolesMap)
	if err != nil {
		return nil, err
	}
	o := identity.JWTOptions{
		Issuer: j.Issuer, Audience: s.audience(), KeysURL: j.JWKSURL,
		RequireType: j.RequireATJWT, MaxLifetime: time.Duration(j.MaxLifetime), MaxStale: time.Duration(j.MaxStale),
		SubjectPrefix: j.SubjectPrefix, Roles: roles, Now: s.opts.Now, Log: s.log,
	}
	for _, a := range j.Algorithms {
		o.Algorithms = append(o.Algorithms, a.String())
	}
	if j.JWKSFile != "" {
		o.KeysFile = s.cfg.Resolve(j.JWKSFile)
		return identity.NewJWT(o)
	}
	// Without jwks_url the metadata says where the keys are, and may say no other
	// host than the issuer's own.
	asked := j.Issuer
	if j.JWKSURL != "" {
		asked = j.JWKSURL
	}
	if o.Fetcher, err = identity.NewFetcher(identity.FetchOptions{URLs: []string{asked}, AllowLoopbackHTTP: j.AllowLoopbackHTTP}); err != nil {
		return nil, err
	}
	return identity.NewJWT(o)
}

func (s *Sidecar) buildIntrospector(i config.Introspection) (*identity.Introspector, error) {
	fetcher, err := identity.NewFetcher(identity.FetchOptions{URLs: []string{i.URL}, AllowLoopbackHTTP: i.AllowLoopbackHTTP})
	if err != nil {
		return nil, fmt.Errorf("%w: auth.introspection: %w", ErrConfig, err)
	}
	roles, err := identity.NewRoleRule(i.RolesClaim, i.RolesMap)
	if err != nil {
		return nil, fmt.Errorf("%w: auth.introspection: %w", ErrConfig, err)
	}
	o := identity.IntrospectionOptions{
		Issuer: i.Issuer, URL: i.URL, ClientID: i.ClientID, Audience: s.audience(),
		SubjectPrefix: i.SubjectPrefix, Roles: roles, Fetcher: fetcher, Now: s.opts.Now, Log: s.log,
	}
	if i.ClientID != "" {
		secret, err := s.readSecret(i.ClientSecretFile)
		if err != nil {
			return nil, err
		}
		o.ClientSecret = identity.NewSecret(secret)
	}
	return identity.NewIntrospector(o), nil
}

// issuers are the authorization servers of a, each once.
func issuers(a *config.Auth) (names []string) {
	for _, j := range a.JWT {
		names = append(names, j.Issuer)
	}
	for _, i := range a.Introspection {
		if !slices.Contains(names, i.Issuer) {
			names = append(names, i.Issuer)
		}
	}
	return names
}
