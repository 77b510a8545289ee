package front

import (
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// MetadataPath is where RFC 9728 section 3.1 puts the metadata of a resource: in
// front of the resource's own path.
const MetadataPath = "/.well-known/oauth-protected-resource"

// What pages may send to ask for the metadata. Clients in browsers name their
// protocol version there too.
const (
	metadataMethods = "GET, OPTIONS"
	metadataHeaders = "Content-Type, Mcp-Protocol-Version"
)

// documents are the metadata of endpoints, by path. The root has none unless there is
// an endpoint at Path, which then is the only one or that of all servers together:
// of several, none could speak for the others. It has the same document: MCP lets
// clients look there for an endpoint with a path (2026-07-28, basic/authorization,
// "Protected Resource Metadata Discovery Requirements").
func documents(endpoints []Endpoint) map[string]http.Handler {
	found := map[string]http.Handler{}
	for _, e := range endpoints {
		if e.Metadata == nil {
			continue
		}
		found[MetadataPath+e.Path] = document(e.Metadata)
		if e.Path == Path {
			found[MetadataPath] = found[MetadataPath+e.Path]
		}
	}
	return found
}

// document serves m to whoever asks. It tells where to log in, so it cannot wait for a
// login, and it comes from the configuration alone, so every page may read it.
func document(m *oauthex.ProtectedResourceMetadata) http.Handler {
	serve := auth.ProtectedResourceMetadataHandler(m)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch r.Method {
		case http.MethodGet:
			h.Set("X-Content-Type-Options", "nosniff")
			serve.ServeHTTP(w, r)
		case http.MethodOptions:
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Allow-Methods", metadataMethods)
			h.Set("Access-Control-Allow-Headers", metadataHeaders)
			h.Set("Access-Control-Max-Age", pageMemory)
			w.WriteHeader(http.StatusNoContent)
		default:
			h.Set("Allow", metadataMethods)
			h.Set("Access-Control-Allow-Origin", "*")
			writeJSON(w, http.StatusMethodNotAllowed, []byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"the metadata is read with GET"}}`))
		}
	})
}
