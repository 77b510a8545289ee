package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
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
