// Package guards is the vocabulary that the guards and the pipeline share: what
// a guard is shown, what it may answer, and how a finding is named. It holds no
// logic. Each guard lives in a package of its own below this one and imports
// nothing of the proxy, so that it can be tested, fuzzed and reused alone.
//
// A guard answers one question (is this safe?) and is independent of who asks:
// it runs whatever authorization said.
package guards

import "context"

// Mode says what becomes of what a guard finds.
type Mode uint8

// The zero value enforces: a guard that nobody configured is on.
const (
	Enforce Mode = iota // findings change or block the message
	Observe             // findings are recorded; the message is untouched
	Off                 // the guard does not run
)

// Finding is one thing that a guard saw. It never holds the text it saw.
type Finding struct {
	Guard string  // which guard: "secrets", "injection", "command", …
	Rule  string  // stable rule id within the guard: "aws_access_key"
	Label string  // what a reader sees: "secret:redacted aws_access_key"
	Start int     // byte offset of the first byte in the inspected text
	End   int     // byte offset behind the last byte
	Score float64 // 0 to 1; deterministic rules say 1
}

// Kind says where in a message a text stands.
type Kind uint8

// Kinds of text that reach the client. The zero value is content.
const (
	Content      Kind = iota // text of a content block, or of an embedded resource
	Structured               // a string inside structuredContent
	Error                    // error.message, or a string inside error.data
	Description              // a string of a tool, prompt or resource listing
	Instructions             // the server's instructions
	Notification             // a string of a notification: progress message, log data
	Metadata                 // any other string: names, titles, URIs, _meta values
	Binary                   // bytes in Base64: only secrets in plain text are looked for
)

// Wrap says when untrusted content is put between delimiters.
type Wrap uint8

// The zero value wraps what a signature flagged.
const (
	WrapFlagged Wrap = iota
	WrapAlways
	WrapOff
)

// Text is one string on its way to the client.
type Text struct {
	Value   string
	Kind    Kind
	Member  string   // name of the object member that holds it, in structured content
	Trusted bool     // the operator vouches for this block (trusted_blocks)
	Wrap    Wrap     // the tool's wrap setting; WrapOff where wrapping would break a format
	Source  string   // names the origin in the delimiter: "document:7"
	Nonce   string   // stands in both delimiters and is new in each message; empty leaves it out
	Own     []string // credentials of the sidecar's own that an answer may echo
	Except  Except   // rules whose findings are let be; nil for none
}

// Except says whether the operator lets be what a rule of the guard at hand finds, and notes
// that it was asked to. A guard must look on as if the rule did not exist: what is excepted
// must not hide what is not.
type Except func(rule string) bool

// Has is e for rule; a nil e excepts nothing.
func (e Except) Has(rule string) bool { return e != nil && e(rule) }

// Output inspects what leaves towards the client.
type Output interface {
	// Name is the guard's name in configuration, findings and audit records.
	Name() string
	// Find reports what it sees, ordered by Start and without overlap. It must
	// not allocate when there is nothing to report.
	Find(t Text) []Finding
	// Change returns the value that the client may read, given what Find
	// reported for this very text. It must return t.Value itself when nothing
	// has to change.
	Change(t Text, found []Finding) string
}

// ArgKind is the JSON type of an argument.
type ArgKind uint8

// JSON types. The zero value is a string.
const (
	String ArgKind = iota
	Number
	Bool
	Null
	Object
	Array
)

// Arg is one value inside a call's arguments. Containers come before what they
// hold. Numbers and literals inside an array stand for one another: an array that
// has any is followed by one Arg of kind Number without a value.
type Arg struct {
	Path  string  // where it stands: "url", "options.url", "urls[]"; "…" when that would be long
	Name  string  // the member name nearest above it: "url", "url", "urls"
	Kind  ArgKind // its JSON type
	Value string  // a string decoded, a number or literal as written; empty for containers
	URL   bool    // the published schema calls it a URL
}

// Call is one tool call on its way to the upstream.
type Call struct {
	Tool        string // with its upstream's name: "docs/import_url"
	Action      string // the catalog's action: "delete"; the bare tool name without an entry
	Args        []Arg
	ReadOnly    bool   // annotations.readOnlyHint is true
	Destructive bool   // annotations.destructiveHint is true, or nothing is known of the tool
	AnyURL      bool   // any argument may be a URL: the schema does not say which, or is not known
	Except      Except // rules of the guard at hand that do not block; nil for none
}

// Edit replaces one first-level argument by a constant that the guard chose.
type Edit struct {
	Name  string
	Value string
}

// Block refuses a call.
type Block struct {
	Rule   string // stable rule id
	Public string // what the client reads; never an echo of a secret
}

// Decision is what an input guard says of a call.
type Decision struct {
	Findings []Finding
	Block    *Block // nil lets the call pass
	Edits    []Edit
}

// Input inspects what leaves towards the upstream.
type Input interface {
	// Name is the guard's name in configuration, findings and audit records.
	Name() string
	// Inspect decides about c. It must not change c. A check that could not be
	// carried out (no answer from a resolver, a cancelled context) is a Block.
	Inspect(ctx context.Context, c *Call) Decision
}
