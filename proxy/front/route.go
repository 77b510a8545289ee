package front

import (
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"mcp-sidecar/proxy/pipeline"
)

// Path is where the only MCP endpoint answers, and where the path of each of
// several ends: see [PathOf].
const Path = "/mcp"

// PathOf is the path of a server's endpoint among several.
func PathOf(server string) string { return "/" + server + Path }

// Endpoint is one path at which MCP is spoken.
type Endpoint struct {
	Path     string
	Pipeline *pipeline.Pipeline
	// Metadata is the protected-resource metadata that challenges point to. Nil
	// where nobody is authenticated.
	Metadata *oauthex.ProtectedResourceMetadata
	// MetadataURL is the address of that document, built from the configured
	// public URL and never from a request.
	MetadataURL string
}

// routes finds what answers at a path.
type routes struct {
	endpoints map[string]*Endpoint
	metadata  map[string]http.Handler
	nothing   []byte // the answer where there is nothing
}

func newRoutes(endpoints []Endpoint) routes {
	t := routes{endpoints: map[string]*Endpoint{}, metadata: documents(endpoints)}
	var paths []string
	for _, e := range endpoints {
		t.endpoints[e.Path] = &e
		paths = append(paths, e.Path)
	}
	slices.Sort(paths)
	text := "nothing here; the MCP endpoint is "
	if len(paths) > 1 {
		text = "nothing here; the MCP endpoints are "
	}
	t.nothing = []byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"` + text + strings.Join(paths, ", ") + `"}}`)
	return t
}

// routed is the path by which r is routed. It is compared as it was sent: a proxy
// in front that decides by the path must not read another one than we do.
func routed(r *http.Request) string { return r.URL.EscapedPath() }

func (t routes) notFound(w http.ResponseWriter) { writeJSON(w, http.StatusNotFound, t.nothing) }
