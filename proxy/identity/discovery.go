package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
)

// keysAt fetches the key set at rawURL.
func keysAt(f *Fetcher, rawURL string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		return f.Get(ctx, rawURL, "application/json", "application/jwk-set+json")
	}
}

// keysOf finds the key set of issuer by its metadata, anew each time: it may move.
func keysOf(f *Fetcher, issuer string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		keys, err := discover(ctx, f, issuer)
		if err != nil {
			return nil, err
		}
		return keysAt(f, keys)(ctx)
	}
}

// discover returns where issuer says that its keys are. The locations are tried
// in the order of the MCP authorization pages (2026-07-28, "Authorization Server
// Metadata Discovery"); something else than metadata at one of them means no
// more than that it is not there.
func discover(ctx context.Context, f *Fetcher, issuer string) (string, error) {
	for _, location := range metadataLocations(issuer) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
		if err != nil {
			return "", errors.New("the issuer is not a URL")
		}
		r.Header.Set("Accept", "application/json")
		reply, err := f.Do(r)
		if err != nil {
			return "", err
		}
		var m struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if reply.Status != http.StatusOK || reply.Media != "application/json" || json.Unmarshal(reply.Body.Reveal(), &m) != nil {
			continue
		}
		return m.Keys, checkMetadata(f, issuer, m.Issuer, m.Keys)
	}
	return "", errors.New("the issuer publishes no metadata; configure jwks_url")
}

// checkMetadata refuses metadata of another issuer (RFC 8414 section 3.3), and
// keys at a host that the configuration does not name.
func checkMetadata(f *Fetcher, want, got, keys string) error {
	if got != want {
		return fmt.Errorf("the metadata is that of the issuer %.64q", got)
	}
	u, err := url.Parse(keys)
	if err != nil || keys == "" {
		return errors.New("the metadata names no keys (jwks_uri)")
	}
	if err := f.Permits(u); err != nil {
		return fmt.Errorf("the keys of the metadata (jwks_uri) may not be fetched; if they are right, configure jwks_url: %w", err)
	}
	return nil
}

// metadataLocations are those of RFC 8414 section 3.1 and of OpenID Connect
// Discovery section 4.
func metadataLocations(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	base := u.Scheme + "://" + u.Host
	locations := []string{base + "/.well-known/oauth-authorization-server" + path}
	if path != "" {
		locations = append(locations, base+"/.well-known/openid-configuration"+path)
	}
	return append(locations, base+path+"/.well-known/openid-configuration")
}
