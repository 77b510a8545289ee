package broker

import (
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
)

// serverMetadata is RFC 8414 section 2.
type serverMetadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	Registration  string   `json:"registration_endpoint,omitempty"`
	Scopes        []string `json:"scopes_supported,omitempty"`
	Responses     []string `json:"response_types_supported"`
	Modes         []string `json:"response_modes_supported"`
	Grants        []string `json:"grant_types_supported"`
	Auth          []string `json:"token_endpoint_auth_methods_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	IssInAnswers  bool     `json:"authorization_response_iss_parameter_supported"`
	Documents     bool     `json:"client_id_metadata_document_supported,omitempty"`
}

func (b *Broker) metadata(w http.ResponseWriter, _ *http.Request) {
	m := serverMetadata{
		Issuer:        b.opts.Issuer,
		Authorization: b.opts.Issuer + authorizePath,
		Token:         b.opts.Issuer + tokenPath,
		Keys:          b.opts.Issuer + keysPath,
		Responses:     []string{"code"},
		Modes:         []string{"query"},
		Grants:        []string{"authorization_code", "refresh_token"},
		Auth:          []string{"none", "client_secret_basic", "client_secret_post"},
		Challenges:    []string{"S256"},
		IssInAnswers:  true,
		Documents:     b.opts.Documents != nil,
	}
	if b.opts.Register {
		m.Registration = b.opts.Issuer + registerPath
	}
	for _, u := range b.opts.Upstreams {
		m.Scopes = append(m.Scopes, u.Scopes...)
	}
	slices.Sort(m.Scopes)
	m.Scopes = slices.Compact(m.Scopes)
	publish(w, m)
}

// register lets a client describe itself (RFC 7591 section 3). What it gets is an
// id; what it may do is asked of the user.
func (b *Broker) register(w http.ResponseWriter, r *http.Request) {
	var d description
	switch err := json.UnmarshalRead(r.Body, &d); {
	case mediaOf(r) != "application/json" || err != nil:
		b.refuseJSON(w, event{step: "register", reason: "malformed"}, http.StatusBadRequest, "invalid_client_metadata")
		return
	case redirectsDefect(d.Redirects) != "":
		b.refuseJSON(w, event{step: "register", reason: "redirect-uri"}, http.StatusBadRequest, "invalid_redirect_uri")
		return
	case !d.usable():
		b.refuseJSON(w, event{step: "register", reason: "unusable"}, http.StatusBadRequest, "invalid_client_metadata")
		return
	}
	client, ok := b.clients.registered(d)
	if !ok {
		b.refuseJSON(w, event{step: "register", reason: "flood"}, http.StatusServiceUnavailable, "temporarily_unavailable")
		return
	}
	e := event{step: "register", request: request{client: client, redirect: client.Redirects[0]}}
	if err := b.write(e.allowed()); err != nil {
		b.notRecorded(w, e, err)
		return
	}
	// The client reads what it got in place of what it asked for (section 3.2.1).
	writeJSON(w, http.StatusCreated, map[string]any{
		"client_id": client.ID, "client_id_issued_at": b.opts.Now().Unix(), "client_name": client.Name, "redirect_uris": client.Redirects,
		"token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	})
}

// refuseJSON tells a program, not a person, that a request is refused.
func (b *Broker) refuseJSON(w http.ResponseWriter, e event, status int, code string) {
	if err := b.write(e.denied()); err != nil {
		b.notRecorded(w, e, err)
		return
	}
	writeJSON(w, status, map[string]string{"error": code})
}

func (b *Broker) notRecorded(w http.ResponseWriter, e event, err error) {
	b.opts.Log.Error("a decision could not be recorded", "step", e.step, "error", err)
	writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "temporarily_unavailable"})
}
