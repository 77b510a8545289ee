package pipeline

import (
	"net/url"
	"strings"

	"mcp-sidecar/proxy/wire"
)

// readTarget reads what the message acts on.
func (c *Call) readTarget() error {
	at := c.Msg.Member(c.Msg.Params, c.method.target)
	c.targetKind = c.method.kind
	if c.method.kind == aRef {
		return c.readRef(at)
	}
	if c.Target = c.Msg.Text(at); c.Target == "" {
		return malformed(wire.CodeInvalidParams, "params", "params."+c.method.target+" is missing or not a string")
	}
	if c.method.kind == aResource {
		return checkURI(c.Target)
	}
	return nil
}

// readRef reads what a completion refers to; it is authorized like that.
func (c *Call) readRef(ref int) error {
	m := c.Msg
	for i := range m.ChildrenOf(ref) {
		if wire.FoldsTo(m.Name(i), "type", "name", "uri") {
			return malformed(wire.CodeInvalidRequest, "member-case", "a member of params.ref is spelled with the wrong case")
		}
	}
	switch m.Text(m.Member(ref, "type")) {
	case "ref/prompt":
		c.targetKind, c.Target = aPrompt, m.Text(m.Member(ref, "name"))
	case "ref/resource":
		c.targetKind, c.Target = aResource, m.Text(m.Member(ref, "uri"))
	}
	if c.Target == "" {
		return malformed(wire.CodeInvalidParams, "params", "params.ref names neither a prompt nor a resource")
	}
	if c.targetKind == aResource {
		return checkURI(c.Target)
	}
	return nil
}

// checkURI refuses spellings under which two readers see two resources: a rule
// about file:///a/secret must not be passed by as file:///a/b/../secret or
// file:///a/%73ecret (RFC 3986 section 6.2.2).
func checkURI(uri string) error {
	refuse := malformed(wire.CodeInvalidParams, "uri", "the resource URI is not in canonical form")
	path := uri
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		if path = uri[:i]; i+1 == len(uri) || uri[i:i+2] == "?#" {
			return refuse // nothing is asked, and nothing follows
		}
	}
	if strings.HasSuffix(uri, "#") || strings.HasSuffix(authorityOf(path), ":") {
		return refuse
	}
	path = slashes.Replace(path) // whoever decodes before it splits sees segments there
	if file, ok := strings.CutPrefix(strings.ToLower(path), "file://"); ok && strings.Contains(file, "//") {
		return refuse
	}
	for _, segment := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return refuse
		}
	}
	for i := 0; i < len(uri); i++ {
		if uri[i] < ' ' || uri[i] == 0x7f {
			return refuse
		}
		if uri[i] != '%' || i+2 >= len(uri) {
			continue
		}
		high, ok := hexDigit(uri[i+1])
		low, also := hexDigit(uri[i+2])
		if c := high<<4 | low; ok && also && (isUnreserved(c) || c == '\\' || c < ' ') {
			return refuse
		}
	}
	return nil
}

var slashes = strings.NewReplacer("%2F", "/", "%2f", "/")

// isUnreserved says whether c never needs percent-encoding (RFC 3986 section 2.3).
func isUnreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// normalURI is uri with scheme and host in lower case and percent-encodings in
// upper case (RFC 3986 section 6.2.2.1), as policies name it. A fragment is part of
// the same resource (section 3.5) and left out: a rule about the one holds for it.
func normalURI(uri string) string {
	uri, _, _ = strings.Cut(uri, "#")
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return uri
	}
	out := strings.ToLower(scheme) + ":"
	if authority := authorityOf(uri); authority != "" {
		out, rest = out+"//", rest[2+len(authority):]
		if at := strings.LastIndexByte(authority, '@') + 1; at > 0 { // a user's name has a case
			out, authority = out+upperEscapes(authority[:at]), authority[at:]
		}
		if _, err := url.Parse("x://" + authority); err == nil {
			authority = strings.ToLower(authority)
		}
		out += authority
	}
	return out + upperEscapes(rest)
}

// authorityOf is what stands between the slashes of uri (RFC 3986 section 3.2).
func authorityOf(uri string) string {
	_, rest, _ := strings.Cut(uri, ":")
	authority, found := strings.CutPrefix(rest, "//")
	if !found {
		return ""
	}
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority = authority[:i]
	}
	return authority
}

func upperEscapes(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToUpper(string(b[i+1:i+3])))
		}
	}
	return string(b)
}
