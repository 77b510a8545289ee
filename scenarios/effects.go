package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	credentials "mcp-sidecar/scenarios/canary"
)

// notMeasured is the value of an effect on a server that was started elsewhere
// and cannot be looked into.
const notMeasured = "not measured"

// effect is something that can be measured after a call, beyond what was
// answered, with the value expected in each column.
type effect struct {
	name            string
	direct, proxied string
	measure         func(ctx context.Context, c *column, e event) string
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// returned looks for the document's text in the answer.
func returned(direct, proxied string) effect {
	return effect{"document returned", direct, proxied, read}
}

// leaked counts which of texts occur in the answer.
func leaked(name, direct, proxied string, texts ...string) effect {
	return effect{name, direct, proxied, func(_ context.Context, _ *column, e event) string {
		n := 0
		for _, text := range texts {
			if strings.Contains(e.answer.Text, text) {
				n++
			}
		}
		return strconv.Itoa(n)
	}}
}

// marked looks whether the document's text stands between delimiters that name
// where it comes from.
func marked(direct, proxied string) effect {
	return effect{"text marked as untrusted", direct, proxied, func(_ context.Context, _ *column, e event) string {
		data := fmt.Sprintf("<untrusted_content source=\"document:%d\">\n%s\n</untrusted_content>", e.id, e.trial.document)
		return yesNo(strings.Contains(e.answer.Text, data))
	}}
}

// credentialUpstream looks for the call's token in everything that the document
// server received during the call.
func credentialUpstream(direct, proxied string) effect {
	return effect{"client credential seen upstream", direct, proxied, func(_ context.Context, c *column, e event) string {
		if c.recorder == nil {
			return notMeasured
		}
		for _, r := range e.received {
			if r.holds(e.token) {
				return "yes"
			}
		}
		return "no"
	}}
}

// credentialEver looks for every token of the demo in everything that the document
// server has received so far.
func credentialEver(direct, proxied string) effect {
	return effect{"any client's token upstream so far", direct, proxied, func(_ context.Context, c *column, _ event) string {
		if c.recorder == nil {
			return notMeasured
		}
		var w credentials.Watch
		for name, token := range c.tokens {
			if name != noToken {
				w.Add(name, token)
			}
		}
		return yesNo(slices.ContainsFunc(c.recorder.since(0), func(r recorded) bool { return len(w.Search(r.text())) > 0 }))
	}}
}

// shown says whose credential the document server was shown with the call.
func shown(direct, proxied string) effect {
	return effect{"credential shown to the server", direct, proxied, func(_ context.Context, c *column, e event) string {
		if c.recorder == nil {
			return notMeasured
		}
		whose := map[string]string{e.token: "the client's", c.service: "the sidecar's", "": "none"}
		for _, r := range e.received {
			if !r.calls(e.trial.tool) {
				continue
			}
			if name, known := whose[r.bearer()]; known {
				return name
			}
			return "another"
		}
		return "none"
	}}
}

// replayed tries what the document server was shown at the sidecar's own door, as
// whoever reads the server's logs could.
func replayed(direct, proxied string) effect {
	return effect{"what the server was shown opens the sidecar", direct, proxied, func(ctx context.Context, c *column, e event) string {
		if c.recorder == nil || c.door == nil {
			return notMeasured
		}
		for _, r := range e.received {
			if r.bearer() == "" {
				continue
			}
			a := c.door.users[e.trial.user].call(ctx, r.bearer(), "read_document", args{"id": e.id})
			switch a.Outcome {
			case allowed:
				return "yes"
			case failed:
				return a.Text
			}
		}
		return "no"
	}}
}

// headerUpstream looks whether the document server received the header, in any
// spelling.
func headerUpstream(header, direct, proxied string) effect {
	return effect{"header seen upstream", direct, proxied, func(_ context.Context, c *column, e event) string {
		if c.recorder == nil {
			return notMeasured
		}
		return yesNo(slices.ContainsFunc(e.received, func(r recorded) bool { return r.carries(header) }))
	}}
}

// author asks who made the document that the call was to create.
func author(direct, proxied string) effect {
	return effect{"row says created_by", direct, proxied, func(ctx context.Context, c *column, e event) string {
		id := e.id + 1 // behind the trial's own
		text, there, err := c.look(ctx, id)
		switch m := authorPattern.FindStringSubmatch(text); {
		case err != nil:
			return err.Error()
		case !there:
			return "no row"
		case m == nil:
			return "nobody"
		default:
			return m[1]
		}
	}}
}

var authorPattern = regexp.MustCompile(`\(created_by (\S+)\)`)

// finding looks for label in the sidecar's record of the call. Without a sidecar
// there is no record.
func finding(label, direct, proxied string) effect {
	return effect{"audit says " + label, direct, proxied, func(_ context.Context, c *column, e event) string {
		switch {
		case c.door != nil && c.door != c:
			return "no"
		case c.audit == "":
			return notMeasured
		}
		return yesNo(slices.ContainsFunc(e.audited, func(r recorded) bool { return r.finds(e.trial.tool, label) }))
	}}
}

// reached looks whether the document server received the call at all.
func reached(direct, proxied string) effect {
	return effect{"call reached the server", direct, proxied, func(_ context.Context, c *column, e event) string {
		if c.recorder == nil {
			return notMeasured
		}
		for _, r := range e.received {
			if r.calls(e.trial.tool) {
				return "yes"
			}
		}
		return "no"
	}}
}

// canary looks for the file in the home folder of the server's shell.
func canary(direct, proxied string) effect {
	return effect{"canary", direct, proxied, func(_ context.Context, c *column, _ event) string {
		if c.scratch == "" {
			return notMeasured
		}
		if hasCanary(c.scratch) {
			return "intact"
		}
		return "gone"
	}}
}

// hit looks whether the fake of host was asked for anything during the call.
func hit(name, host, direct, proxied string) effect {
	return effect{name, direct, proxied, func(_ context.Context, c *column, e event) string {
		if c.fakes == nil {
			return notMeasured
		}
		return yesNo(e.hits[host] > 0)
	}}
}

// row asks whether the document is still there.
func row(direct, proxied string) effect {
	return effect{"row", direct, proxied, func(ctx context.Context, c *column, e event) string {
		switch text, there, err := c.look(ctx, e.id); {
		case err != nil:
			return err.Error()
		case there && strings.Contains(text, e.trial.document):
			return "there"
		case there:
			return "another"
		}
		return "gone"
	}}
}

// storedText asks whether the document still has its first text.
func storedText(direct, proxied string) effect {
	return effect{"stored text", direct, proxied, func(ctx context.Context, c *column, e event) string {
		switch text, there, err := c.look(ctx, e.id); {
		case err != nil:
			return err.Error()
		case there && strings.Contains(text, e.trial.document):
			return "unchanged"
		case there:
			return "changed"
		}
		return "gone"
	}}
}

// carriedOutName is what the matrix measures of each cell.
const carriedOutName = "carried out"

// carriedOut says whether an action really happened, by whichever of the
// measures below fits it. Directly it always does.
func carriedOut(measure func(context.Context, *column, event) string, proxied string) effect {
	return effect{carriedOutName, "yes", proxied, measure}
}

// created asks for the document behind the trial's own, which a creation would
// have made.
func created(ctx context.Context, c *column, e event) string {
	_, there, err := c.look(ctx, e.id+1)
	if err != nil {
		return err.Error()
	}
	return yesNo(there)
}

func read(_ context.Context, _ *column, e event) string {
	return yesNo(e.trial.document != "" && strings.Contains(e.answer.Text, e.trial.document))
}

func updated(ctx context.Context, c *column, e event) string {
	text, there, err := c.look(ctx, e.id)
	if err != nil {
		return err.Error()
	}
	content, _ := e.trial.args["content"].(string)
	return yesNo(there && strings.Contains(text, content))
}

func deleted(ctx context.Context, c *column, e event) string {
	_, there, err := c.look(ctx, e.id)
	if err != nil {
		return err.Error()
	}
	return yesNo(!there)
}
