package issuer

import (
	"net/http"
	"slices"
)

// Well-known names of the metadata.
const (
	oauthMetadata  = "/.well-known/oauth-authorization-server"
	openIDMetadata = "/.well-known/openid-configuration"
)

// metadataPaths are where clients look for the metadata: the well-known name goes
// in front of the issuer's path (RFC 8414 section 3.1), and OpenID Connect puts its
// own behind it (Discovery 1.0 section 4.1).
func (i *Issuer) metadataPaths() []string {
	paths := []string{oauthMetadata + i.path, openIDMetadata + i.path, i.path + openIDMetadata}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// metadata answers with the members of RFC 8414 section 2 that apply here.
func (i *Issuer) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, i.document(i.config.URL))
}

func (i *Issuer) document(issuer string) map[string]any {
	methods := []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}
	algorithms := []Algorithm{ES256, RS256, EdDSA}
	return map[string]any{
		"issuer":                                                issuer,
		"authorization_endpoint":                                i.config.URL + authorizePath,
		"token_endpoint":                                        i.config.URL + tokenPath,
		"registration_endpoint":                                 i.config.URL + registerPath,
		"jwks_uri":                                              i.config.URL + keysPath,
		"introspection_endpoint":                                i.config.URL + introspectPath,
		"revocation_endpoint":                                   i.config.URL + revokePath,
		"response_types_supported":                              []string{"code"},
		"response_modes_supported":                              []string{"query"},
		"grant_types_supported":                                 []string{grantCode, grantRefresh, grantCredentials, grantExchange},
		"code_challenge_methods_supported":                      []string{"S256"},
		"token_endpoint_auth_methods_supported":                 methods,
		"token_endpoint_auth_signing_alg_values_supported":      algorithms,
		"revocation_endpoint_auth_methods_supported":            methods,
		"revocation_endpoint_auth_signing_alg_values_supported": algorithms,
		"introspection_endpoint_auth_methods_supported":         []string{"client_secret_basic"},
		"authorization_response_iss_parameter_supported":        true,
		"client_id_metadata_document_supported":                 i.config.Documents != nil,
		"subject_types_supported":                               []string{"public"},
		"id_token_signing_alg_values_supported":                 algorithms,
	}
}
