package config

// Broker is the sidecar's own authorization server. It asks users about each
// client before a third party's token is at stake.
type Broker struct {
	// Login is where users say who they are. Zero is refused.
	Login BrokerLogin `json:"login" jsonschema:"OpenID provider at which users log in before they are asked."`
	// KeyFile names the file with the key that encrypts what is kept. Empty means
	// SealKeyFile, which must be there then.
	KeyFile string `json:"key_file,omitempty" jsonschema:"File with the key, at least 32 characters, that encrypts what is kept in state_dir. Default: seal_key_file."`
	// Clients are registered by the operator. Empty registers none.
	Clients []BrokerClient `json:"clients,omitempty" jsonschema:"Clients that the operator vouches for."`
	// ClientHosts are the hosts at which clients may publish their metadata; "*" is
	// every host with public addresses. Empty accepts no such client.
	ClientHosts []string `json:"client_hosts,omitempty" jsonschema:"Hosts whose client id metadata documents are accepted; * is every host with public addresses. Default: none."`
	// DynamicRegistration lets anybody register a client (RFC 7591). False does not.
	DynamicRegistration bool `json:"dynamic_registration,omitempty" jsonschema:"Lets anybody register a client (RFC 7591, deprecated in MCP 2026-07-28). Default: false."`
}

// BrokerLogin is an OpenID provider.
type BrokerLogin struct {
	// Issuer identifies it; its metadata is found below. Empty is refused.
	Issuer string `json:"issuer" jsonschema:"Issuer of the OpenID provider, a URL without query and fragment; its metadata is found by discovery."`
	// Hosts are those that its metadata may name for tokens and keys, beside the
	// issuer's. Empty adds none.
	Hosts []string `json:"hosts,omitempty" jsonschema:"Hosts, beside the issuer's, that its metadata may name for tokens and keys. Default: none."`
	// ClientID is the sidecar's at the provider. Empty is refused.
	ClientID string `json:"client_id" jsonschema:"Client id of the sidecar at the provider. Its redirect URI is PUBLIC_URL/login/callback."`
	// ClientSecretFile names the file with its secret. Empty means a public client.
	ClientSecretFile string `json:"client_secret_file,omitempty" jsonschema:"File that holds the secret of client_id. Default: a public client, with PKCE alone."`
	// SubjectPrefix stands before the subjects of this provider, in the policy too.
	// Empty is allowed where no other issuer names users, and with
	// Auth.SharedSubjects.
	SubjectPrefix string `json:"subject_prefix,omitempty" jsonschema:"Text before the subjects of this provider, such as corp/. Default: none."`
	// AllowLoopbackHTTP permits plain http on loopback. False refuses it.
	AllowLoopbackHTTP bool `json:"allow_loopback_http,omitempty" jsonschema:"Permits plain http for this provider on loopback. Default: false."`
}

// BrokerClient is a program that may ask users for access.
type BrokerClient struct {
	// ID is its client_id. Empty is refused.
	ID string `json:"id" jsonschema:"The client's client_id."`
	// Name is shown to users. Empty shows the id.
	Name string `json:"name,omitempty" jsonschema:"What users read. Default: the id."`
	// RedirectURIs are where it may be answered. Empty is refused.
	RedirectURIs []string `json:"redirect_uris" jsonschema:"Where the client may be answered, compared exactly; a loopback URI without a port may have any."`
	// SecretFile names the file with its secret. Empty means a public client.
	SecretFile string `json:"secret_file,omitempty" jsonschema:"File that holds the client's secret. Default: a public client, with PKCE alone."`
}

// Provider is a third party whose tokens an upstream wants.
type Provider struct {
	// AuthorizeURL is where users are sent once they have agreed. Empty is refused.
	AuthorizeURL string `json:"authorize_url" jsonschema:"Authorization endpoint of the third party."`
	// TokenURL is its token endpoint. Empty is refused.
	TokenURL string `json:"token_url" jsonschema:"Token endpoint of the third party."`
	// Issuer is what its answers must carry in iss (RFC 9207). Empty means that they
	// carry none.
	Issuer string `json:"issuer,omitempty" jsonschema:"Issuer that the third party's answers name in iss (RFC 9207). Default: they name none."`
	// ClientID is the sidecar's at the third party. Empty is refused.
	ClientID string `json:"client_id" jsonschema:"Client id of the sidecar at the third party. Its redirect URI is PUBLIC_URL/callback/UPSTREAM."`
	// ClientSecretFile names the file with its secret. Empty means a public client.
	ClientSecretFile string `json:"client_secret_file,omitempty" jsonschema:"File that holds the secret of client_id. Default: a public client, with PKCE alone."`
	// SecretInForm shows the secret in the form. False shows it in a header.
	SecretInForm bool `json:"secret_in_form,omitempty" jsonschema:"Shows the secret in the form (client_secret_post) and not in a header. Default: false."`
	// Scopes are asked of the third party. Empty asks for none.
	Scopes []string `json:"scopes,omitempty" jsonschema:"Scopes that the third party is asked for. Default: none."`
	// Resource is asked for too (RFC 8707). Empty asks for none.
	Resource string `json:"resource,omitempty" jsonschema:"Resource that the third party is asked for (RFC 8707). Default: none."`
	// AllowLoopbackHTTP permits plain http on loopback. False refuses it.
	AllowLoopbackHTTP bool `json:"allow_loopback_http,omitempty" jsonschema:"Permits plain http for this third party on loopback. Default: false."`
}
