package pipeline

import (
	"math"
	"net/http"
	"strconv"

	"mcp-sidecar/proxy/wire"
)

// headerParam is an argument that the tool's schema mirrors into a header
// (MCP 2026-07-28, basic/transports/streamable-http, "Custom Headers from Tool
// Parameters").
type headerParam struct {
	path []string // members from the arguments on: ["options", "region"]
	name string   // "Mcp-Param-Region"
}

// agreeParams compares the mirrored headers with the arguments. Headers that the
// schema does not name are not passed on: nobody has checked them.
func (c *Call) agreeParams() error {
	if c.Era != Modern {
		return nil
	}
	for _, h := range c.tool.headers {
		if c.Transport == Stdio {
			// Nobody has mirrored it, so nobody has decided by it.
			if body, ok := primitive(c.Msg, c.Msg.At(c.Args, h.path...)); ok {
				c.params = append(c.params, wire.Header{Name: h.name, Value: body})
			}
			continue
		}
		values := c.Head.Params[http.CanonicalHeaderKey(h.name)]
		arg := c.Msg.At(c.Args, h.path...)
		body, mirrored := primitive(c.Msg, arg)
		if !mirrored {
			if len(values) > 0 {
				return mismatch("header mismatch: " + h.name + " is sent for an argument that is absent, null or no primitive")
			}
			continue
		}
		if len(values) != 1 {
			return mismatch("header mismatch: " + h.name + " is missing or sent more than once")
		}
		said, ok := decodeHeader(values[0])
		if !ok || !samePrimitive(said, body, c.Msg.Nodes[arg].Kind == '0') {
			return mismatch("header mismatch: " + h.name + " does not match the argument")
		}
		c.params = append(c.params, wire.Header{Name: h.name, Value: body})
	}
	return nil
}

// rebuildParams takes the header values from the patched request.
func (c *Call) rebuildParams(lim wire.Limits) error {
	if c.Era != Modern || len(c.tool.headers) == 0 {
		return nil
	}
	m, err := wire.Scan(c.request, lim)
	if err != nil {
		return failed(err)
	}
	args := m.At(m.Params, "arguments")
	c.params = c.params[:0]
	for _, h := range c.tool.headers {
		if body, ok := primitive(m, m.At(args, h.path...)); ok {
			c.params = append(c.params, wire.Header{Name: h.name, Value: body})
		}
	}
	return nil
}

// primitive returns a string, boolean or integer as a header shows it.
func primitive(m *wire.Message, i int) (string, bool) {
	if i == wire.Absent {
		return "", false
	}
	switch m.Nodes[i].Kind {
	case '"':
		return m.Text(i), true
	case 't', 'f':
		return string(m.Value(i)), true
	case '0':
		n, ok := safeInteger(string(m.Value(i)))
		return strconv.FormatInt(n, 10), ok
	}
	return "", false
}

// safeInteger reads an integer within what JavaScript holds exactly; only those
// may be mirrored.
func safeInteger(s string) (int64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53-1 {
		return 0, false
	}
	return int64(f), true
}

// samePrimitive compares numbers by value: 42.0 is 42.
func samePrimitive(header, body string, number bool) bool {
	if header == body {
		return true
	}
	n, ok := safeInteger(header)
	return number && ok && strconv.FormatInt(n, 10) == body
}
