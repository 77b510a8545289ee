package issuer

import (
	"net/http"
	"strings"
)

// Endpoint is one that can be broken.
type Endpoint string

// Endpoints.
const (
	EndpointMetadata   Endpoint = "metadata"
	EndpointKeys       Endpoint = "keys"
	EndpointAuthorize  Endpoint = "authorize"
	EndpointRegister   Endpoint = "register"
	EndpointToken      Endpoint = "token"
	EndpointIntrospect Endpoint = "introspect"
	EndpointRevoke     Endpoint = "revoke"
)

// Fault is a way to fail.
type Fault string

// Faults.
const (
	// Down ends the connection without an answer.
	Down Fault = "down"
	// Slow answers nothing until the client gives up or the endpoint is repaired.
	Slow Fault = "slow"
	// Failing answers 500.
	Failing Fault = "failing"
	// Garbage answers 200 with what is no JSON.
	Garbage Fault = "garbage"
	// Huge answers 200 with JSON of more than a MiB.
	Huge Fault = "huge"
	// Elsewhere redirects to the same endpoint, as if it had moved.
	Elsewhere Fault = "elsewhere"
	// Stale keeps the key set as it is, whatever is rotated and retired.
	Stale Fault = "stale"
	// WrongIssuer lets the metadata name another issuer (RFC 8414 section 3.3).
	WrongIssuer Fault = "wrong issuer"
)

// fault is what an endpoint suffers from.
type fault struct {
	kind     Fault
	keys     []jwk // what a stale key set shows
	repaired chan struct{}
}

// Break makes e fail with f until it is repaired or broken in another way.
func (i *Issuer) Break(e Endpoint, f Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.end(e)
	i.faults[e] = &fault{kind: f, keys: publicKeys(i.keys), repaired: make(chan struct{})}
}

// Repair makes e answer again, those included that are still waiting.
func (i *Issuer) Repair(e Endpoint) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.end(e)
}

func (i *Issuer) end(e Endpoint) {
	if f := i.faults[e]; f != nil {
		close(f.repaired)
		delete(i.faults, e)
	}
}

// breakable is serve, unless e is broken.
func (i *Issuer) breakable(e Endpoint, serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.count(func(c *Counters) {
			switch e {
			case EndpointKeys:
				c.Keys++
			case EndpointMetadata:
				c.Metadata++
			}
		})
		i.mu.Lock()
		f := i.faults[e]
		i.mu.Unlock()
		if f == nil || !i.fail(w, r, f) {
			serve(w, r)
		}
	})
}

// fail answers as f wants. It returns false where the endpoint answers after all.
func (i *Issuer) fail(w http.ResponseWriter, r *http.Request, f *fault) bool {
	switch f.kind {
	case Down:
		panic(http.ErrAbortHandler)
	case Slow:
		select {
		case <-r.Context().Done():
			return true
		case <-f.repaired:
			return false
		}
	case Failing:
		writeJSON(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
	case Garbage:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("<html>Sign in to the airport's network</html>"))
	case Huge:
		writeJSON(w, http.StatusOK, map[string]string{"padding": strings.Repeat("x", 1<<20)})
	case Elsewhere:
		http.Redirect(w, r, r.URL.Path+"?moved", http.StatusTemporaryRedirect) //nolint:gosec // the router has matched the path with one of ours
	case WrongIssuer:
		writeJSON(w, http.StatusOK, i.document("https://another-issuer.example"))
	default:
		return false
	}
	return true
}
