package pipeline

import (
	"errors"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// Outcome is how a message ended.
type Outcome uint8

// Outcomes. The zero value is never success: it is answered like Failed.
const (
	Undecided Outcome = iota
	Allowed
	ProtocolRejected // receive: malformed, unknown, or disagreeing with its headers
	Limited          // receive, authorize: a limit, or a quota
	AuthFailed       // authenticate
	NotAuthorized    // authorize: scope or role
	Blocked          // either inspection: a guard
	ConsentRequested // inspect input: a human is asked first
	Unavailable      // any stage whose dependency is down
	UpstreamFailed   // execute
	Failed           // everything else
)

var outcomeNames = [...]string{
	"undecided", "allowed", "protocol_rejected", "limited", "auth_failed", "not_authorized",
	"blocked", "consent_requested", "unavailable", "upstream_failed", "failed",
}

// String returns the outcome's name in audit records and error data.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[Undecided]
}

// JSON-RPC error codes of refusals. They stand outside JSON-RPC's reserved range
// (MCP 2026-07-28, basic/index, "Error Codes").
const (
	CodeAuth        = 40100
	CodeScope       = 40300
	CodeRole        = 40301
	CodeOrigin      = 40302
	CodeBlocked     = 40310
	CodeMethod      = 40500
	CodeSize        = 41300
	CodeLimited     = 42900
	CodeFailed      = 50000
	CodeUpstream    = 50200
	CodeUnavailable = 50300
)

// Rejection is why a stage refused a message. Public is for whoever sent it,
// Cause for the operator; neither ever stands in for the other.
type Rejection struct {
	Outcome Outcome
	Code    int
	Public  string
	Reason  string // fixed word for the audit record: "scope", "role", "body-size"
	Cause   error

	Guard, Rule string   // Blocked: which guard and which of its rules
	Need        []string // NotAuthorized: the scopes that would be needed, all of them
	Description string   // AuthFailed: fixed phrase for the challenge; empty when nothing was sent
	RetryAfter  int      // Limited: seconds
	Status      int      // HTTP status where the outcome alone does not decide it
	Allow       string   // the methods that a 405 names
	Silent      bool     // no body at all
	Data        string   // further members of error.data, as JSON: `"supported":[…]`
}

func (r *Rejection) Error() string { return r.Public }

// Unwrap returns the cause.
func (r *Rejection) Unwrap() error { return r.Cause }

func malformed(code int, reason, public string) *Rejection {
	return &Rejection{Outcome: ProtocolRejected, Code: code, Reason: reason, Public: public}
}

func malformedError(err error) *Rejection {
	var w *wire.Error
	if errors.As(err, &w) {
		return malformed(w.Code, "malformed", w.Text)
	}
	return malformed(wire.CodeParse, "malformed", "not valid JSON in UTF-8")
}

func mismatch(public string) *Rejection {
	return malformed(wire.CodeHeaderMismatch, "header-mismatch", public)
}

// unknownTool has one text for tools that do not exist, that are hidden and that
// no rule names: the answer must not tell them apart.
func unknownTool() *Rejection {
	return malformed(wire.CodeInvalidParams, "unknown-tool", "unknown tool")
}

// unknownSession is the same for sessions that never were, that ended and that
// belong to somebody else. The body is empty because SDK clients notice a lost
// session only then.
func unknownSession() *Rejection {
	return &Rejection{Outcome: ProtocolRejected, Code: wire.CodeInvalidRequest, Reason: "session", Public: "unknown session", Status: 404, Silent: true}
}

func authFailed(r *identity.Refusal) *Rejection {
	return &Rejection{Outcome: AuthFailed, Code: CodeAuth, Reason: "token", Public: "authentication failed: " + r.Public, Description: r.Description}
}

func missingScope(missing, need []string) *Rejection {
	public := "denied: token scope is missing "
	for i, s := range missing {
		if i > 0 {
			public += ", "
		}
		public += `"` + s + `"`
	}
	return &Rejection{Outcome: NotAuthorized, Code: CodeScope, Reason: "scope", Public: public, Need: need}
}

func roleRefuses(subject string, roles []string, action, resource, rule string) *Rejection {
	return &Rejection{Outcome: NotAuthorized, Code: CodeRole, Reason: "role", Rule: rule, Public: policy.DeniedText(subject, roles, action, resource)}
}

func blocked(guard, rule, public string) *Rejection {
	return &Rejection{Outcome: Blocked, Code: CodeBlocked, Reason: guard, Guard: guard, Rule: rule, Public: public}
}

func unavailable(dependency string, cause error) *Rejection {
	return &Rejection{Outcome: Unavailable, Code: CodeUnavailable, Reason: dependency, Public: "temporarily unavailable", Cause: cause}
}

func upstreamFailed(reason string, cause error) *Rejection {
	return &Rejection{Outcome: UpstreamFailed, Code: CodeUpstream, Reason: reason, Public: "upstream failed", Cause: cause}
}

// failed is what any other error means.
func failed(cause error) *Rejection {
	return &Rejection{Outcome: Failed, Code: CodeFailed, Reason: "internal", Public: "internal error", Cause: cause}
}
