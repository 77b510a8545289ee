package config

import "slices"

// Credential is the sidecar's own credential for an upstream. Use HeaderName and
// HeaderPrefix, which know the defaults.
type Credential struct {
	// Kind is how the credential is shown. Zero is CredentialNone.
	Kind CredentialKind `json:"kind,omitempty" jsonschema:"How the credential is shown. Default: none."`
	// Header carries it. Empty means Authorization.
	Header string `json:"header,omitempty" jsonschema:"Header that carries the credential. Default: Authorization."`
	// Variable carries it in the environment of a command. Empty is refused with
	// CredentialEnv.
	Variable string `json:"variable,omitempty" jsonschema:"Variable of the command's environment that carries the credential, with kind env."`
	// Argument carries it in tool calls. Empty is refused with CredentialArg.
	Argument string `json:"argument,omitempty" jsonschema:"Argument of the server's tools that carries the credential, with kind arg. It is hidden from clients, and what they send in it is dropped."`
	// Prefix stands before the secret. Nil means "Bearer " in Authorization and
	// nothing in another header.
	Prefix *string `json:"prefix,omitempty" jsonschema:"Text before the secret. Default: Bearer and a space in Authorization, nothing in another header."`
	// File names the file that holds the secret. One of File, ValueEnv and Exec is
	// needed where the secret is the operator's own.
	File string `json:"file,omitempty" jsonschema:"File that holds the secret in one line. Read again when it changes. Either this, value_env or exec."`
	// ValueEnv names the variable of the sidecar's environment that holds the secret.
	ValueEnv string `json:"value_env,omitempty" jsonschema:"Variable of the sidecar's own environment that holds the secret. No server gets it."`
	// Exec is the program, with its arguments, that prints the secret. No shell reads
	// them.
	Exec []string `json:"exec,omitempty" jsonschema:"Program and arguments that print the secret in one line; no shell reads them. Run when it is needed, and again when the server refuses it or it is older than max_age."`
	// TokenURL is the endpoint that issues the credential. Empty is refused with
	// CredentialGranted and CredentialExchanged.
	TokenURL string `json:"token_url,omitempty" jsonschema:"Token endpoint, with kind client_credentials or token_exchange; https, or http on loopback with allow_loopback_http."`
	// ClientID is the sidecar's name there. Empty is refused with TokenURL.
	ClientID string `json:"client_id,omitempty" jsonschema:"Client id of the sidecar at token_url."`
	// ClientSecretFile names the file with the client's secret, which is sent by HTTP
	// Basic. Either this or ClientKeyFile is needed with TokenURL.
	ClientSecretFile string `json:"client_secret_file,omitempty" jsonschema:"File that holds the secret of client_id, for client_secret_basic. Read again when it changes. Either this or client_key_file."`
	// ClientKeyFile names the file with the key that signs the client's assertions.
	ClientKeyFile string `json:"client_key_file,omitempty" jsonschema:"File that holds the private key of client_id in PEM (PKCS #8; RSA, P-256 or Ed25519), for private_key_jwt. Read again when it changes."`
	// ClientKeyID is what the endpoint calls that key. Empty says nothing.
	ClientKeyID string `json:"client_key_id,omitempty" jsonschema:"Key id of client_key_file at token_url. Default: none."`
	// Scopes are asked for. Empty asks for none in particular.
	Scopes []string `json:"scopes,omitempty" jsonschema:"Scopes that are asked for at token_url. Default: what the endpoint gives by itself."`
	// Resource is the URI of what the token is for. Empty names none.
	Resource string `json:"resource,omitempty" jsonschema:"URI of the server that the token is for (RFC 8707). Default: none."`
	// Audience is its name. Empty names none.
	Audience string `json:"audience,omitempty" jsonschema:"Name of the server that the token is for (RFC 8693). Default: none."`
	// AllowLoopbackHTTP permits plain http for TokenURL on loopback. False refuses it.
	AllowLoopbackHTTP bool `json:"allow_loopback_http,omitempty" jsonschema:"Permits plain http for token_url on loopback. Default: false."`
	// MaxAge is how long what Exec printed may be used. Zero means until the server
	// refuses it.
	MaxAge Duration `json:"max_age,omitempty" jsonschema:"How long what exec printed may be used. Default: until the server refuses it."`
}

// UpstreamTLS is who a server must be, and who the sidecar is to it. The files are
// read again when they change.
type UpstreamTLS struct {
	// CAFile holds the only authorities that the server's certificate may come from.
	// Empty means the system's.
	CAFile string `json:"ca_file,omitempty" jsonschema:"The only authorities in PEM of which the server's certificate may be. Read again when it changes. Default: the system's."`
	// CertFile holds the certificate that the sidecar shows, and those that issued it,
	// leaf first. Empty shows none.
	CertFile string `json:"cert_file,omitempty" jsonschema:"Certificate chain in PEM that the sidecar shows to the server. Read again when it changes. Default: none."`
	// KeyFile holds the key of CertFile. It goes with it.
	KeyFile string `json:"key_file,omitempty" jsonschema:"Private key of cert_file in PEM. Read again when it changes."`
}

// HeaderName is the header that carries the credential: Header, or Authorization
// when that is empty.
func (c Credential) HeaderName() string {
	if c.Header == "" {
		return "Authorization"
	}
	return c.Header
}

// HeaderPrefix is the text before the secret: Prefix, or its default when that
// is nil.
func (c Credential) HeaderPrefix() string {
	switch {
	case c.Prefix != nil:
		return *c.Prefix
	case isAuthorization(c.HeaderName()):
		return "Bearer "
	default:
		return ""
	}
}

// InHeader says whether the credential travels in a header, which is for servers
// that have a URL.
func (k CredentialKind) InHeader() bool { return k == CredentialHeader || k.Issued() }

// Issued says whether an authorization server issues the credential.
func (k CredentialKind) Issued() bool { return k == CredentialGranted || k == CredentialExchanged }

// kept says whether the secret is one that the operator keeps.
func (k CredentialKind) kept() bool {
	return slices.Contains([]CredentialKind{CredentialHeader, CredentialEnv, CredentialArg}, k)
}
