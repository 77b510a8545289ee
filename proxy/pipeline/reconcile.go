package pipeline

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"mcp-sidecar/proxy/wire"
)

// reconcile makes sure that redaction left a result that is still what it says:
// structured content that fits the published schema, and a text view that equals
// it where it did before.
func (o *output) reconcile(body []byte) ([]byte, error) {
	before := o.m.Member(o.m.Result, "structuredContent")
	if o.c.Method != "tools/call" || before == wire.Absent {
		return body, nil
	}
	after, err := wire.Scan(body, o.p.opts.Limits.Answer)
	if err != nil {
		return nil, failed(fmt.Errorf("inspected message: %w", err))
	}
	now := after.Value(after.At(after.Result, "structuredContent"))
	if string(now) == string(o.m.Value(before)) && len(o.labels) == 0 {
		return body, nil
	}
	if o.c.tool.output != nil && o.p.opts.Validate != nil {
		if err := o.p.opts.Validate(o.c.tool.output, now); err != nil {
			return nil, blocked("secrets", "schema", "blocked: the redacted result no longer matches the tool's output schema")
		}
	}
	return o.equalViews(body, after, now)
}

// equalViews replaces a text block that was the JSON of the structured content,
// and no longer is, by the JSON of what the structured content has become.
func (o *output) equalViews(body []byte, after *wire.Message, now []byte) ([]byte, error) {
	old, list := o.m.At(o.m.Result, "content"), after.At(after.Result, "content")
	if old == wire.Absent || list == wire.Absent {
		return body, nil
	}
	was := o.m.Value(o.m.Member(o.m.Result, "structuredContent"))
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

// canonical returns JSON in the form of RFC 8785, or "" when it is none.
func canonical(json []byte) string {
	v := jsontext.Value(slices.Clone(json))
	if v.Canonicalize() != nil {
		return ""
	}
	return string(v)
}
