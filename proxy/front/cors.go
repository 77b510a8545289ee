package front

import (
	"net/http"
	"strings"
)

// What pages of an allowed origin may send and read (Fetch, "CORS protocol").
// There is no wildcard, which every page could use, and no
// Access-Control-Allow-Credentials: a caller shows a token of his own, never the
// cookies or certificates that a browser keeps for him.
const (
	pageMethods = "GET, POST, DELETE"
	pageHeaders = "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, Mcp-Protocol-Version, Mcp-Method, Mcp-Name"
	pageReads   = "Mcp-Session-Id, WWW-Authenticate, Retry-After"
	// pageMemory is how long a browser may remember a preflight, in seconds: short
	// enough that an origin that is no longer allowed notices soon.
	pageMemory = "600"
)

// paramHeader begins the headers that mirror arguments of a call.
const paramHeader = "mcp-param-"

// share lets a page of an allowed origin read the answer, whatever it says: a
// client in a browser needs the challenge of a 401 as much as a result. Without
// allowed origins there is nothing to tell caches apart by.
func (h *Handler) share(w http.ResponseWriter, r *http.Request) {
	if len(h.origins) == 0 {
		return
	}
	head := w.Header()
	head.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && h.originAllowed(r) {
		head.Set("Access-Control-Allow-Origin", origin)
		head.Set("Access-Control-Expose-Headers", pageReads)
	}
}

// isPreflight says whether a browser asks for a page whether it may send a
// request. It asks without the page's token, so this cannot wait for
// authentication.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// answerPreflight tells a browser what pages of this origin may send. It is the
// same for every request: which of them pass is decided when they come.
func answerPreflight(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Access-Control-Allow-Methods", pageMethods)
	head.Set("Access-Control-Allow-Headers", strings.Join(append([]string{pageHeaders}, paramHeaders(r)...), ", "))
	head.Set("Access-Control-Max-Age", pageMemory)
	w.WriteHeader(http.StatusNoContent)
}

// paramHeaders are the Mcp-Param-* headers that r asks for. They are named by
// tools, so that no list could hold them all.
func paramHeaders(r *http.Request) []string {
	var names []string
	for _, list := range r.Header.Values("Access-Control-Request-Headers") {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.ToLower(strings.Trim(name, " \t"))
			if param, ok := strings.CutPrefix(name, paramHeader); ok && isToken(param) {
				names = append(names, name)
			}
		}
	}
	return names
}

// isToken says whether s can be part of a header's name (RFC 9110 section 5.6.2),
// so that nothing else of a request is sent back in a header.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
