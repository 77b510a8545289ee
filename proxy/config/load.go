package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile bounds the configuration file in bytes.
const maxFile = 1 << 20

// Load reads the file at path and parses it with Parse. The error is Errors, or
// else says that the file could not be read.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return Parse(path, text)
}

// Parse reads text over the defaults. The name is what problems call the file;
// relative file names in it are meant from its folder.
//
// The error, if any, is Errors: what cannot be read as the configuration's shape
// and, beside it, whatever Validate finds in the rest. A Config that is returned
// has the right shape and still needs Validate.
func Parse(name string, text []byte) (*Config, error) {
	o := newOrigin(name, string(text))
	root, problems := parseYAML(o, text, "it starts with version: 1")
	if len(problems) > 0 {
		return nil, problems.arrange()
	}
	cfg := Default()
	cfg.Version = 0 // a file must say which format it is
	cfg.origin = o
	o.places[""] = place{start(root), start(root)}
	d := &decoder{origin: o}
	if !d.object("", root, reflect.ValueOf(cfg).Elem()) {
		return nil, d.problems
	}
	if len(d.problems) == 0 {
		return cfg, nil
	}
	for _, f := range consequencesLeftOut(cfg.check(), d.problems) {
		d.problems = append(d.problems, o.locate(f))
	}
	return nil, d.problems.arrange()
}

// parseYAML returns the file's one mapping. Of an empty file it says how to begin.
func parseYAML(o *origin, text []byte, begin string) (ast.Node, Errors) {
	if p, bad := checkText(o, text); bad {
		return nil, Errors{p}
	}
	tokens := lexer.Tokenize(hideColons(string(text)))
	if bad := tokens.InvalidToken(); bad != nil {
		return nil, Errors{o.problem(spotOf(bad), "", printable(showColons(bad.Error)))}
	}
	if problems := refuse(o, tokens); len(problems) > 0 {
		return nil, problems
	}
	// The parser knows duplicates too, but stops at the first; the decoder
	// reports every one.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Errors{syntaxProblem(o, err)}
	}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			return doc.Body, nil
		}
	}
	return nil, Errors{o.problem(spot{1, 1}, "", "the file is empty; "+begin)}
}

func syntaxProblem(o *origin, err error) Problem {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		return o.problem(spot{1, 1}, "", "the file is not YAML")
	}
	return o.problem(spotOf(e.GetToken()), "", printable(showColons(e.GetMessage())))
}

func spotOf(t *token.Token) spot {
	return spot{t.Position.Line, max(t.Position.Column, 1)}
}

// hiddenColon takes the place of a colon that separates nothing. It is a Unicode
// noncharacter, which checkText keeps out of the file.
const hiddenColon = '\uFDD0'

// hideColons works around a defect of the YAML library: in a flow mapping it
// splits plain text at every colon, so that { user:alice: [role:admin] } and
// { scopes: [documents:read] } are misread. YAML 1.2 (section 7.3.3) makes a
// colon part of plain text when a character follows that is neither space nor a
// flow indicator, unless a quoted key or a bracket ends before it. Those colons
// are exchanged here, one character for one, and exchanged back in every text
// that is read; inside quotes and comments that changes nothing.
func hideColons(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == ':' && i+1 < len(text) && !strings.ContainsRune(" \t\r\n,[]{}", rune(text[i+1])) &&
			(i == 0 || !strings.ContainsRune("\"']}", rune(text[i-1]))) {
			b.WriteRune(hiddenColon)
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func showColons(s string) string { return strings.ReplaceAll(s, string(hiddenColon), ":") }

// checkText refuses bytes that are not plain text, before a parser sees them.
func checkText(o *origin, text []byte) (Problem, bool) {
	switch {
	case len(text) > maxFile:
		return Problem{Source: o.name, Message: "the file is larger than 1 MiB"}, true
	case bytes.HasPrefix(text, []byte("\xEF\xBB\xBF")):
		return o.problem(spot{1, 1}, "", "the file starts with a byte order mark; save it as UTF-8 without one"), true
	case bytes.HasPrefix(text, []byte("\xFE\xFF")), bytes.HasPrefix(text, []byte("\xFF\xFE")):
		return o.problem(spot{1, 1}, "", "the file is UTF-16; save it as UTF-8"), true
	}
	at := spot{1, 1}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if message := textDefect(r, size, text[i+size:]); message != "" {
			return o.problem(at, "", message), true
		}
		i += size
		if at.column++; r == '\n' {
			at = spot{at.line + 1, 1}
		}
	}
	return Problem{}, false
}

// textDefect says what is wrong with a character, given the text behind it.
func textDefect(r rune, size int, rest []byte) string {
	switch {
	case r == utf8.RuneError && size <= 1:
		return "the file is not valid UTF-8 here"
	case r == '\r' && !bytes.HasPrefix(rest, []byte("\n")):
		return "a carriage return must stand before a line feed"
	case r < ' ' && r != '\t' && r != '\n' && r != '\r', r >= 0x7F && r < 0xA0 && r != 0x85:
		return fmt.Sprintf("control character %U; write an escape in double quotes", r)
	case r == 0xFEFF, r >= 0xFDD0 && r <= 0xFDEF, r&0xFFFE == 0xFFFE:
		return fmt.Sprintf("character %U does not belong in text", r)
	case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
		// CVE-2021-42574: the reviewer would read another order than the parser.
		return fmt.Sprintf("character %U changes the reading direction", r)
	}
	return ""
}

// maxNesting bounds the depth of the file; the parser recurses and Go cannot
// recover from an exhausted stack.
const maxNesting = 64

// refuse reports the YAML that this file does not use. Aliases are refused
// because a few of them can grow without bound when they are expanded; the rest
// because two readers may understand it differently.
func refuse(o *origin, tokens token.Tokens) Errors {
	var problems Errors
	var docs documents
	flow, entries, line := 0, 0, 0
	for _, t := range tokens {
		message := refusedTokens[t.Type]
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType:
			if t.Position.Line != line {
				entries, line = 0, t.Position.Line
			}
			entries++ // "- - - -" opens a list in a list
		}
		if docs.second(t) {
			message = "the file must hold one document only"
		}
		if flow+entries > maxNesting {
			return Errors{o.problem(spotOf(t), "", fmt.Sprintf("nested deeper than %d", maxNesting))}
		}
		if message != "" {
			problems = append(problems, o.problem(spotOf(t), "", message))
		}
	}
	return problems
}

var refusedTokens = map[token.Type]string{
	token.AnchorType:     "anchors are not accepted; write the value out where it is used",
	token.AliasType:      "aliases are not accepted; write the value out",
	token.MergeKeyType:   "merge keys are not accepted; write the keys out",
	token.TagType:        "tags are not accepted",
	token.MappingKeyType: "a key is written KEY: VALUE, without ?",
	token.DirectiveType:  "directives are not accepted",
}

// documents finds the start of a second document.
type documents struct{ begun, ended, reported bool }

func (d *documents) second(t *token.Token) bool {
	var second bool
	switch t.Type {
	case token.CommentType, token.SpaceType:
	case token.DirectiveType:
		d.reported = true // refused by itself, and a header must follow it
	case token.DocumentEndType:
		d.ended = true
	default:
		second = d.ended || t.Type == token.DocumentHeaderType && d.begun
		d.begun = true
	}
	report := second && !d.reported
	d.reported = d.reported || second
	return report
}
