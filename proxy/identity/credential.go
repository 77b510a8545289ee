package identity

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// ErrNoCredential says that there is no credential that an upstream could be
// shown: it could not be read, or nobody issues one. The call must be refused.
var ErrNoCredential = errors.New("the credential for the upstream is not available")

// Credential is what the sidecar shows to an upstream: a secret that its operator
// keeps, or a token that an authorization server has issued to it. It is no
// [Secret], the type of what clients present, and neither converts to the other:
// a client's token cannot take its place. It prints as "[redacted]".
type Credential struct {
	unprinted
	shown *string
}

func newCredential(value string) Credential { return Credential{shown: &value} }

// Reveal returns the value, for the one line that has to send it.
func (c Credential) Reveal() string {
	if c.shown == nil {
		return ""
	}
	return *c.shown
}

// Empty says whether there is no value.
func (c Credential) Empty() bool { return c.Reveal() == "" }

// Same says whether both have the same value.
func (c Credential) Same(other Credential) bool { return c.Reveal() == other.Reveal() }

var (
	_ fmt.Stringer   = Credential{}
	_ slog.LogValuer = Credential{}
)

// Delegation stands for a caller towards upstreams that are shown a credential
// issued for each caller. It travels with an exchange (wire.Delegated) and nothing
// can be read from it: what it was made from is for an [Exchanger] alone, which
// shows it to nobody but its token endpoint.
type Delegation struct {
	caller  Principal
	subject Secret

	mu     sync.Mutex
	issued []Credential // what was shown on the caller's behalf
}

// NewDelegation returns what stands for caller, who was verified by presented.
func NewDelegation(caller Principal, presented Secret) *Delegation {
	return &Delegation{caller: caller, subject: presented}
}

// Caller is who it stands for; nobody where d is nil.
func (d *Delegation) Caller() (Principal, bool) {
	if d == nil {
		return Principal{}, false
	}
	return d.caller, true
}

// shown notes what an upstream is about to be shown on the caller's behalf.
func (d *Delegation) shown(c Credential) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.ContainsFunc(d.issued, c.Same) {
		d.issued = append(d.issued, c)
	}
}

// Issued is what upstreams were shown on the caller's behalf, and so may echo.
func (d *Delegation) Issued() []Credential {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.issued)
}

// Delegated marks what may travel in an exchange.
func (*Delegation) Delegated() {}
