package broker

import (
	"net/http"
	"net/url"

	"github.com/google/uuid"

	"mcp-sidecar/proxy/audit"
)

// event is one step that was taken or refused. Codes, states and tokens have no
// place in it.
type event struct {
	step string
	request
	user    user
	reason  string
	outcome string
}

func (e event) allowed() event { e.outcome = "allowed"; return e }
func (e event) denied() event  { e.outcome = "denied"; return e }

// record writes e, or answers that the sidecar cannot go on: a decision that
// nobody can look up later is not acted upon.
func (b *Broker) record(w http.ResponseWriter, e event) bool {
	err := b.write(e)
	if err == nil {
		return true
	}
	b.opts.Log.Error("a decision could not be recorded", "step", e.step, "error", err)
	b.errorPage(w, http.StatusServiceUnavailable, "This is not possible at the moment. Try again later.")
	return false
}

func (b *Broker) write(e event) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	a := audit.Event{
		Time: b.opts.Now().UTC(), ID: id.String(), Phase: audit.PhaseOutcome, Direction: "client", Transport: "http", Kind: "authorization",
		Upstream: e.upstream, Scopes: e.scopes, Redirect: redirectHost(e.redirect),
		Stage: e.step, Outcome: e.outcome, Reason: e.reason,
	}
	if e.client != nil {
		a.ClientID = e.client.ID
	}
	if e.user.subject != "" {
		a.Issuer, a.Subject = b.opts.Login.Issuer, e.user.subject
	}
	return b.opts.Record(a)
}

// redirectHost is where a client is answered, without what it may carry there.
func redirectHost(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Host
}

// refuse says on a page, and on record, that a step is refused. Nothing is sent
// anywhere else.
func (b *Broker) refuse(w http.ResponseWriter, e event, why string) {
	if b.record(w, e.denied()) {
		b.errorPage(w, http.StatusBadRequest, why)
	}
}

// unavailable says that a step cannot be taken now.
func (b *Broker) unavailable(w http.ResponseWriter, e event) {
	e.outcome = "failed"
	if b.record(w, e) {
		b.errorPage(w, http.StatusServiceUnavailable, "This is not possible at the moment. Try again later.")
	}
}
