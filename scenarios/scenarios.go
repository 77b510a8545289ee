package main

import (
	"context"
	"encoding/base64"
	"strings"
)

// scenarios is the whole demo, in the order in which it runs.
func scenarios() []scenario {
	return []scenario{
		matrix(),
		auth(),
		secrets(),
		injection(),
		hidden(),
		command(),
		arguments(),
		scope(),
		consent(),
		ssrf(),
		outward(),
		passthrough(),
		identity(),
		stepUp(),
		sessions(),
		keys(),
		deputy(),
		reload(),
	}
}

// toolNames are the six tools of the document server, sorted.
var toolNames = []string{
	"create_document", "delete_document", "import_url", "read_document", "render_document", "update_document",
}

// scenario is one threat: a section of the output.
type scenario struct {
	name   string // for --only
	title  string // the heading
	trials []trial
}

// trial is one request that is sent to both servers, and all that is expected of
// it. In texts, {id} stands for the ID of the trial's document and {new} for the
// ID that the answer names, and {database} for what the server calls its database.
type trial struct {
	label  string // how its line begins; the matrix prints cells instead
	before string // when set, a line before that begins so and shows the document
	plain  bool   // the line shows the text alone, without ALLOWED or REJECTED
	cell   string // in the matrix: which action of the user's row this is

	// harmful calls must work directly and fail through the sidecar, others must
	// pass both ways.
	harmful bool

	document string // text of a fresh document of alice's; every trial has its own
	deleted  bool   // the document is gone before the call
	user     string // whose connection
	token    string // which token the call carries; empty is the user's own
	tool     string
	args     args

	// overHTTP says that the trial is about what only HTTP has, such as headers and
	// session ids: it is sent over HTTP whatever --transport says.
	overHTTP bool
	headers  map[string]string // that the call carries too, spelled as they are; {token} stands for its token
	way      string            // through what the naive server is reached; empty is straight
	// own says that the trial needs servers that the demo itself has started.
	own    bool
	logsIn bool // the client has no token and finds out where to get one
	// arrange brings about what the trial is about, before anything is measured.
	arrange func(ctx context.Context, c *column, e *event) error
	// send makes the trial's request in another way than by calling tool with the
	// SDK's client.
	send func(ctx context.Context, c *column, e *event) answer

	direct  answer // from the naive server
	proxied answer // from the sidecar
	effects []effect
}

// args are a call's arguments. The value "{id}" becomes the document's ID.
type args = map[string]any

// idArgument is replaced by the ID of the trial's document.
const idArgument = "{id}"

// headersWith fills token into the trial's headers, as it is or in Base64.
func (t trial) headersWith(token string) map[string]string {
	fill := strings.NewReplacer("{token}", token, "{token in Base64}", base64.StdEncoding.EncodeToString([]byte(token)))
	filled := make(map[string]string, len(t.headers))
	for name, value := range t.headers {
		filled[name] = fill.Replace(value)
	}
	return filled
}

// wrapped is how the sidecar returns text of a document: as data between
// delimiters, followed by what the guards say of it.
func wrapped(text, verdict string) string {
	return "<untrusted_content source=\"document:{id}\">\n" + text + "\n</untrusted_content>\n[guard] " + verdict
}

// readHeader is the first line of a document that was read.
const readHeader = "read document id={id} (created_by alice)\n"

const nothingFound = "no threats detected"
