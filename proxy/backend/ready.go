package backend

import (
	"context"
	"fmt"
	"net/http"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// readyProbe asks for nothing that a server could not answer or refuse at once.
const readyProbe = `{"jsonrpc":"2.0","id":"mcp-sidecar/ready","method":"ping"}`

// Ready says whether the server answers and takes the sidecar's credential. A
// refusal of the probe itself, which has no session, is an answer too. Where the
// credential is issued for each caller the server is shown none, since nobody
// calls: that it wants one is an answer then.
func (h *HTTP) Ready(ctx context.Context) error {
	x := wire.Exchange{Body: []byte(readyProbe), Call: true}
	if h.opts.Credential.PerCaller {
		return h.carry(ctx, x, probe{nobody: true}, identity.Credential{})
	}
	return h.Do(ctx, x, probe{})
}

// probe looks at the status of an answer only.
type probe struct{ nobody bool }

// Reply implements [wire.Sink].
func (p probe) Reply(r wire.Reply) error {
	switch {
	case p.nobody && (r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden):
		return wire.ErrDone
	case r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden || r.Status == http.StatusProxyAuthRequired:
		return fmt.Errorf("%w: the sidecar's own credential is refused (HTTP %d)", ErrTransport, r.Status)
	case r.Status >= 300 && r.Status < 400 || r.Status >= 500:
		return fmt.Errorf("%w: HTTP %d", ErrTransport, r.Status)
	}
	return wire.ErrDone
}

// Message implements [wire.Sink]. It is not reached: Reply ends the exchange.
func (probe) Message(wire.Event) error { return wire.ErrDone }
