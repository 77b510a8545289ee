// Package front is the client side of the sidecar. It frames bytes: it turns an
// HTTP request into a [pipeline.Call] and the call's answers back into HTTP.
// What it refuses itself (a foreign Host or Origin, a wrong media type) becomes
// a call as well, so that it is audited like any other.
package front

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// clientTime is the default of Options.ClientTime.
const clientTime = 30 * time.Second

// Options configure a Handler.
type Options struct {
	Endpoints []Endpoint
	Hosts     []string // accepted Host values: host, or host:port
	Origins   []string // accepted Origin values
	// MaxHeaders bounds the header block of a request, in bytes. Zero does not.
	MaxHeaders int
	// ClientTime is how long a client may take to send a body, and to accept each
	// piece of an answer. There is no time for the whole of an answer, which may be
	// a stream. Zero means 30 seconds.
	ClientTime time.Duration
	// Pages answer at further paths, outside of MCP. What they read and write, and
	// under which Host they are asked, is bounded here.
	Pages map[string]http.Handler
}

// Handler serves the MCP endpoints and their metadata documents.
type Handler struct {
	opts    Options
	routes  routes
	hosts   Hosts
	origins map[string]bool
}

// NewHandler returns a handler for o.
func NewHandler(o Options) *Handler {
	if o.ClientTime == 0 {
		o.ClientTime = clientTime
	}
	return &Handler{opts: o, routes: newRoutes(o.Endpoints), hosts: NewHosts(o.Hosts...), origins: set(o.Origins)}
}

func set(values []string) map[string]bool {
	m := make(map[string]bool, len(values))
	for _, v := range values {
		m[strings.ToLower(v)] = true
	}
	return m
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	if r.ContentLength != 0 { // left in place, it would end a stream that has nothing to read
		_ = rc.SetReadDeadline(time.Now().Add(h.opts.ClientTime))
	}
	path := routed(r)
	if e := h.routes.endpoints[path]; e != nil {
		h.serveMCP(w, r, rc, e)
		return
	}
	// A deadline outlives its request on the connection, so whoever writes sets one.
	_ = rc.SetWriteDeadline(time.Now().Add(h.opts.ClientTime))
	if document := h.routes.metadata[path]; document != nil {
		document.ServeHTTP(w, r)
		return
	}
	if page := h.opts.Pages[path]; page != nil {
		h.servePage(w, r, page)
		return
	}
	h.routes.notFound(w)
}

// servePage asks of a page what is asked of an endpoint before its body is read.
// Whether a page of another origin may send what it sends, the page knows itself.
func (h *Handler) servePage(w http.ResponseWriter, r *http.Request, page http.Handler) {
	if h.tooLarge(r) {
		http.Error(w, "the request headers exceed the size limit", http.StatusRequestHeaderFieldsTooLarge)
		return
	}
	if !h.hosts.Allow(r) {
		http.Error(w, "this Host is not served; add it to allowed_hosts, or set public_url", http.StatusForbidden)
		return
	}
	page.ServeHTTP(w, r)
}

func (h *Handler) serveMCP(w http.ResponseWriter, r *http.Request, rc *http.ResponseController, e *Endpoint) {
	refused := h.refusal(r)
	h.share(w, r)
	if refused == nil && isPreflight(r) {
		_ = rc.SetWriteDeadline(time.Now().Add(h.opts.ClientTime))
		answerPreflight(w, r)
		return
	}
	in := &body{r: r.Body, rc: rc, read: r.ContentLength == 0}
	if r.ProtoMajor > 1 {
		// A body that is not read holds up nothing there, and to close the
		// connection would end other clients' requests.
		in.read = true
	}
	c := &pipeline.Call{
		Transport: pipeline.HTTP,
		Head:      head(r),
		Body:      pipeline.Body{Reader: in, Size: r.ContentLength},
		Verb:      verb(r.Method),
		Refused:   refused,
	}
	e.Pipeline.Handle(r.Context(), c, &sink{w: w, rc: rc, in: in, clientTime: h.opts.ClientTime, metadata: e.MetadataURL})
}

func verb(method string) wire.Verb {
	switch method {
	case http.MethodDelete:
		return wire.End
	case http.MethodGet:
		return wire.Watch
	}
	return wire.Send
}

// body clears the read deadline once the body has been read: left in place, it
// would later look like a client that went away.
type body struct {
	r    io.Reader
	rc   *http.ResponseController
	read bool // to its end
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if errors.Is(err, io.EOF) { // after any other error nobody must wait for the rest
		b.read = true
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

func head(r *http.Request) pipeline.Head {
	h := pipeline.Head{
		Version:       header(r, "Mcp-Protocol-Version"),
		Method:        header(r, "Mcp-Method"),
		Name:          header(r, "Mcp-Name"),
		Session:       r.Header.Get("Mcp-Session-Id"),
		LastEvent:     r.Header.Get("Last-Event-Id"),
		Authorization: identity.NewSecrets(r.Header["Authorization"]...),
	}
	if r.URL.RawQuery != "" {
		h.QueryTokens = identity.NewSecrets(r.URL.Query()["access_token"]...)
	}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "Mcp-Param-") {
			if h.Params == nil {
				h.Params = map[string][]string{}
			}
			h.Params[name] = values
		}
	}
	return h
}

func header(r *http.Request, name string) pipeline.Header {
	v := r.Header[name]
	if len(v) == 0 {
		return pipeline.Header{}
	}
	return pipeline.Header{Value: v[0], Present: true, Several: len(v) > 1}
}

// refusal is what HTTP alone is reason enough to refuse, or nil.
func (h *Handler) refusal(r *http.Request) *pipeline.Rejection {
	switch {
	case h.tooLarge(r):
		return &pipeline.Rejection{Outcome: pipeline.Limited, Code: pipeline.CodeSize, Reason: "header-size", Status: http.StatusRequestHeaderFieldsTooLarge,
			Public: "the request headers exceed the size limit"}
	case !h.hosts.Allow(r):
		return &pipeline.Rejection{Outcome: pipeline.ProtocolRejected, Code: pipeline.CodeOrigin, Reason: "host", Status: http.StatusForbidden,
			Public: "this Host is not served; add it to allowed_hosts, or set public_url"}
	case !h.originAllowed(r):
		return &pipeline.Rejection{Outcome: pipeline.ProtocolRejected, Code: pipeline.CodeOrigin, Reason: "origin", Status: http.StatusForbidden,
			Public: "this Origin is not allowed; add it to allowed_origins"}
	case isPreflight(r):
		return nil
	case r.Method != http.MethodPost && r.Method != http.MethodDelete && r.Method != http.MethodGet:
		return &pipeline.Rejection{Outcome: pipeline.ProtocolRejected, Code: pipeline.CodeMethod, Reason: "http-method", Status: http.StatusMethodNotAllowed,
			Allow: "POST, GET, DELETE", Public: "this HTTP method is not served here"}
	case r.Method == http.MethodPost && !isJSON(r):
		return &pipeline.Rejection{Outcome: pipeline.ProtocolRejected, Code: wire.CodeInvalidRequest, Reason: "media-type", Status: http.StatusBadRequest,
			Public: "the body must be application/json, not encoded"}
	}
	return nil
}

func (h *Handler) tooLarge(r *http.Request) bool {
	return h.opts.MaxHeaders > 0 && headerBytes(r) > h.opts.MaxHeaders
}

// headerBytes is the size of the header block as HTTP/1.1 writes it, line breaks
// included.
func headerBytes(r *http.Request) int {
	n := len(r.Method) + len(" ") + len(r.RequestURI) + len(" HTTP/1.1\r\n") + len("Host: \r\n") + len(r.Host) + len("\r\n")
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	return n
}

func isJSON(r *http.Request) bool {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" || len(r.Header["Content-Type"]) > 1 || r.Header.Get("Content-Encoding") != "" {
		return false
	}
	charset := params["charset"]
	return charset == "" || strings.EqualFold(charset, "utf-8")
}

// challenge writes WWW-Authenticate. Only fixed phrases and scopes from the
// configuration stand in it: claim values of a token never do.
func challenge(c *pipeline.Challenge, metadata string) string {
	var parts []string
	if c.Error != "" {
		parts = append(parts, `error="`+c.Error+`"`)
	}
	if c.Description != "" {
		parts = append(parts, `error_description="`+c.Description+`"`)
	}
	if len(c.Scope) > 0 {
		parts = append(parts, `scope="`+strings.Join(c.Scope, " ")+`"`)
	}
	if metadata != "" {
		parts = append(parts, `resource_metadata="`+metadata+`"`)
	}
	return strings.TrimSpace("Bearer " + strings.Join(parts, ", "))
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
