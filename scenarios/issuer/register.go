package issuer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Error codes of registration (RFC 7591 section 3.2.2).
const (
	invalidRedirectURI    = "invalid_redirect_uri"
	invalidClientMetadata = "invalid_client_metadata"
)

// clientMetadata is what a client says about itself: when it registers (RFC 7591
// section 2), or in the document at its id. Other members are ignored.
type clientMetadata struct {
	ClientID     string   `json:"client_id,omitempty"`
	ClientSecret string   `json:"client_secret,omitempty"`
	IssuedAt     int64    `json:"client_id_issued_at,omitempty"`
	SecretExpiry *int64   `json:"client_secret_expires_at,omitempty"`
	Name         string   `json:"client_name,omitempty"`
	RedirectURIs []string `json:"redirect_uris"`
	AuthMethod   string   `json:"token_endpoint_auth_method,omitempty"`
	Grants       []string `json:"grant_types,omitempty"`
	Responses    []string `json:"response_types,omitempty"`
	Application  string   `json:"application_type,omitempty"`
}

// register lets a client register itself. It gets nothing but logins of users out of
// that.
func (i *Issuer) register(w http.ResponseWriter, r *http.Request) {
	var m clientMetadata
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxForm)).Decode(&m); err != nil {
		(&oauthError{invalidClientMetadata, "the body is no client metadata"}).write(w)
		return
	}
	m.ClientID, m.ClientSecret, m.IssuedAt, m.SecretExpiry = "", "", 0, nil // ours to say
	if refusal := m.complete(); refusal != nil {
		refusal.write(w)
		return
	}
	if m.AuthMethod == "none" {
		m.ClientID = m.digest()
	} else {
		m.ClientID, m.ClientSecret, m.SecretExpiry = rand.Text(), rand.Text(), new(int64)
	}
	m.IssuedAt = i.config.Now().Unix()
	if !i.admit(m.client()) {
		(&oauthError{invalidClientMetadata, "too many clients have registered"}).write(w)
		return
	}
	writeJSON(w, http.StatusCreated, m)
}

// digest is the id of a client without secret. It is the same for the same metadata
// (RFC 7591 appendix A.5.2): there are clients that register before each login, and
// they would be another client, with other sessions, after each.
func (m clientMetadata) digest() string {
	text, _ := json.Marshal(m) //nolint:gosec // of strings and numbers; there is no secret yet
	sum := sha256.Sum256(text)
	return encode(sum[:])
}

func (m clientMetadata) client() Client {
	return Client{ID: m.ClientID, Name: m.Name, Secret: m.ClientSecret, RedirectURIs: m.RedirectURIs, Grants: m.Grants}
}

// complete fills in the defaults of RFC 7591 section 2, takes away what a client that
// registers itself cannot have, and checks the rest.
func (m *clientMetadata) complete() *oauthError {
	if m.AuthMethod == "" {
		m.AuthMethod = "client_secret_basic"
	}
	if m.Grants == nil {
		m.Grants = []string{grantCode}
	}
	if m.Responses == nil {
		m.Responses = []string{"code"}
	}
	m.Grants = slices.DeleteFunc(m.Grants, func(g string) bool { return g != grantCode && g != grantRefresh })
	switch {
	case !slices.Contains([]string{"client_secret_basic", "client_secret_post", "none"}, m.AuthMethod):
		return &oauthError{invalidClientMetadata, "this token_endpoint_auth_method is not served here"}
	case !slices.Contains(m.Grants, grantCode) || !slices.Equal(m.Responses, []string{"code"}):
		return &oauthError{invalidClientMetadata, "only the authorization code is served here"}
	case len(m.RedirectURIs) == 0:
		return &oauthError{invalidRedirectURI, "redirect_uris is required"}
	}
	for _, uri := range m.RedirectURIs {
		if !mayRedirect(uri) {
			return &oauthError{invalidRedirectURI, "redirect_uris must be https, http on loopback, or a scheme of the client's own"}
		}
	}
	return nil
}

// mayRedirect accepts https, loopback, and schemes named after a domain of the
// client's (RFC 8252 section 7.1), but none that a browser would run as a script.
func mayRedirect(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || strings.Contains(uri, "#") || u.User != nil {
		return false
	}
	switch u.Scheme {
	case "https":
		return u.Host != ""
	case "http":
		ip := net.ParseIP(u.Hostname())
		return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	}
	return strings.Contains(u.Scheme, ".")
}

// documentTime bounds the fetch of a client's document.
const documentTime = 5 * time.Second

// isDocument says whether id is the address of a document about the client (draft
// section 3).
func (i *Issuer) isDocument(id string) bool {
	u, err := url.Parse(id)
	return i.config.Documents != nil && err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && len(u.Path) > 1 && !strings.Contains(id, "#")
}

// fetchClient reads the document at id, which must speak about itself (draft section
// 4.1). Redirects are not followed: another host would then say who the client is.
func (i *Issuer) fetchClient(ctx context.Context, id string) (Client, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, id, nil) //nolint:gosec // Documents says what may be fetched
	if err != nil {
		return Client{}, err
	}
	client := *i.config.Documents
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r) //nolint:gosec // as above
	if err != nil {
		return Client{}, err
	}
	defer resp.Body.Close()
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || media != "application/json" || resp.StatusCode != http.StatusOK {
		return Client{}, fmt.Errorf("status %d, media type %q", resp.StatusCode, media)
	}
	m := clientMetadata{AuthMethod: "none"}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxForm)).Decode(&m); err != nil {
		return Client{}, err
	}
	if m.ClientID != id || m.AuthMethod != "none" || m.ClientSecret != "" {
		return Client{}, errors.New("the document speaks of another client, or of one with a secret")
	}
	if refusal := m.complete(); refusal != nil {
		return Client{}, errors.New(refusal.Description)
	}
	return m.client(), nil
}
