package pipeline

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"mcp-sidecar/proxy/wire"
)

// reconcile makes sure that redaction left a tool result that is still what it
// says: structured content that fits the published schema, and a text view that
// equals it where it did before.
func (o *output) reconcile(body []byte) ([]byte, error) {
	before := o.m.Member(o.tool, "structuredContent")
	if before == wire.Absent {
		return body, nil
	}
	after, err := wire.Scan(body, o.p.opts.Limits.Answer)
	if err != nil {
		return nil, failed(fmt.Errorf("inspected message: %w", err))
	}
	tool := o.toolIn(after)
	if tool == wire.Absent {
		return body, nil
	}
	now := after.Value(after.Member(tool, "structuredContent"))
	if string(now) == string(o.m.Value(before)) && len(o.labels) == 0 {
		return body, nil
	}
	if fits, err := o.c.tool.output.fits(o.p.opts.Compile, now); err != nil || !fits {
		return nil, blocked("secrets", "schema", "blocked: the redacted result no longer matches the tool's output schema")
	}
	return o.equalViews(body, after, tool)
}

// toolIn finds the tool result in the message as it has become.
func (o *output) toolIn(after *wire.Message) int {
	switch o.tool {
	case o.m.Result:
		return after.Result
	case o.m.Member(o.m.Result, "result"): // of a task
		return after.Member(after.Result, "result")
	case o.m.Member(o.m.Params, "result"): // of a task whose state is notified
		return after.Member(after.Params, "result")
	}
	return wire.Absent
}

// equalViews replaces a text block that was the JSON of the structured content,
// and no longer is, by the JSON of what the structured content has become.
func (o *output) equalViews(body []byte, after *wire.Message, tool int) ([]byte, error) {
	old, list := o.m.Member(o.tool, "content"), after.Member(tool, "content")
	if old == wire.Absent || list == wire.Absent {
		return body, nil
	}
	was, now := o.m.Value(o.m.Member(o.tool, "structuredContent")), after.Value(after.Member(tool, "structuredContent"))
	before, present := canonical(was), canonical(now)
	var originals []string
	for b := range o.m.Children(old) {
		originals = append(originals, o.m.Text(o.m.Member(b, "text")))
	}
	var patches []wire.Patch
	n := 0
	for b := range after.Children(list) {
		if n >= len(originals) {
			break
		}
		text := after.Member(b, "text")
		if mayEqual(originals[n], was) && canonical([]byte(originals[n])) == before && canonical([]byte(after.Text(text))) != present {
			patches = append(patches, after.ReplaceText(text, string(now)))
		}
		n++
	}
	return wire.Splice(body, patches)
}

// mayEqual says whether text is worth comparing with the object or array value:
// servers write the same JSON into both, give or take white space. It keeps the
// work linear when an upstream sends many blocks.
func mayEqual(text string, value []byte) bool {
	return text != "" && len(value) > 0 && text[0] == value[0] && len(text) <= 4*len(value) && len(value) <= 4*len(text)
}

// canonical returns JSON in the form of RFC 8785, but for what opts say, or "" when
// it is none.
func canonical(json []byte, opts ...jsontext.Options) string {
	v := jsontext.Value(slices.Clone(json))
	if v.Canonicalize(opts...) != nil {
		return ""
	}
	return string(v)
}
