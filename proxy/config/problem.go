package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is one thing that is wrong. Its message never holds the content of a
// file that the configuration names.
type Problem struct {
	Source  string // file, flag or variable that the value came from; may be empty
	Path    string // the key, such as tools.docs/read_document.wrap; empty for the whole file
	Line    int    // from 1; 0 when the value stands in no file
	Column  int    // from 1, in characters; 0 with Line
	Message string // what is wrong, without the path

	text string // the line, made safe to print
}

// String is one line: SOURCE:LINE:COLUMN: message (path).
func (p Problem) String() string {
	var b strings.Builder
	if p.Source != "" {
		b.WriteString(printable(p.Source))
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Path != "" {
		fmt.Fprintf(&b, " (%s)", cut(printable(p.Path), 200))
	}
	return b.String()
}

// Excerpt shows the line with a caret below the column, two lines that end in a
// newline. It is empty for a problem that stands in no file. Passwords in URLs
// and the values of unknown keys are masked, because excerpts end up in CI logs
// and a misspelled key may hold a secret.
func (p Problem) Excerpt() string {
	if p.Line == 0 {
		return ""
	}
	line, at := window([]rune(p.text), p.Column-1)
	gutter := strconv.Itoa(p.Line)
	return fmt.Sprintf("  %s | %s\n  %s | %s^\n",
		gutter, string(line), strings.Repeat(" ", len(gutter)), strings.Repeat(" ", at))
}

// window cuts a long line to what stands around at; a generated file can be one
// line of a mebibyte.
func window(line []rune, at int) ([]rune, int) {
	const before, after = 80, 80
	if from := at - before; from > 0 && len(line) > before+after {
		line, at = slices.Concat([]rune("…"), line[min(from, len(line)):]), before+1
	}
	if to := at + after; to < len(line) {
		line = slices.Concat(line[:to], []rune("…"))
	}
	return line, at
}

// Errors are all problems of a configuration, in the order of the file.
type Errors []Problem

// maxProblems bounds the list; one mistake in a generated file can repeat on
// every line of it.
const maxProblems = 1000

// Error lists the problems, a line each, without a final newline.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Explain lists the problems like Error, each followed by its excerpt, and ends
// in a newline unless it is empty.
func (e Errors) Explain() string {
	var b strings.Builder
	for _, p := range e {
		b.WriteString(p.String())
		b.WriteByte('\n')
		b.WriteString(p.Excerpt())
	}
	return b.String()
}

// arrange sorts by place, drops repetitions and bounds the list, saying so.
func (e Errors) arrange() Errors {
	slices.SortStableFunc(e, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	e = slices.Compact(e)
	if more := len(e) - maxProblems; more > 0 {
		e = append(e[:maxProblems:maxProblems], Problem{
			Source:  e[0].Source,
			Message: fmt.Sprintf("%d more problems are not listed", more),
		})
	}
	return e
}

// spot is a place in the file, from 1.
type spot struct{ line, column int }

// place is where a key and its value start. A list item has no key of its own,
// so both are the same.
type place struct{ key, value spot }

// origin remembers where values came from, so that a problem found later can
// still name its line.
type origin struct {
	name   string            // the file, as messages call it
	lines  []string          // its text
	places map[string]place  // by path
	masks  map[int][]int     // columns from which a line is not shown
	set    map[string]string // path → flag or variable that replaced the value
}

func newOrigin(name, text string) *origin {
	return &origin{
		name:   name,
		lines:  strings.Split(text, "\n"),
		places: map[string]place{},
		masks:  map[int][]int{},
		set:    map[string]string{},
	}
}

// Override notes that the value at path, such as "listen", now comes from a flag
// or a variable. Problems with it then name that source instead of a line of the
// file, which would not help.
func (c *Config) Override(path, source string) {
	if c.origin == nil {
		c.origin = newOrigin("", "")
	}
	c.origin.set[path] = source
}

// problem makes a Problem at a spot of the file.
func (o *origin) problem(at spot, path, message string) Problem {
	return Problem{Source: o.name, Path: path, Line: at.line, Column: at.column, Message: message, text: o.show(at.line)}
}

// locate turns what a check found into a Problem, as near to its cause as the
// file allows: a missing key is shown at the mapping that lacks it.
func (o *origin) locate(f finding) Problem {
	if o == nil {
		return Problem{Path: f.path, Message: f.message}
	}
	up := prefixes(f.path)
	for _, p := range slices.Backward(up) {
		if source, ok := o.set[p]; ok {
			return Problem{Source: source, Path: f.path, Message: f.message}
		}
	}
	for _, p := range slices.Backward(up) {
		at, ok := o.places[p]
		switch {
		case ok && p == f.path && f.kind == badValue:
			return o.problem(at.value, f.path, f.message)
		case ok:
			return o.problem(at.key, f.path, f.message)
		}
	}
	if o.name == "" {
		return Problem{Path: f.path, Message: f.message}
	}
	return o.problem(spot{1, 1}, f.path, f.message)
}

// mask hides a line of the file from a spot on in every excerpt.
func (o *origin) mask(from spot) {
	o.masks[from.line] = append(o.masks[from.line], from.column)
}

// inURL finds where URLs hold secrets: user information and query values.
var inURL = regexp.MustCompile(`://[^/@\s]*@|[?&][\w.~-]+=[^&\s"',}]*`)

// show is a line as an excerpt may print it, with as many characters as it has
// in the file so that the caret stays right.
func (o *origin) show(line int) string {
	if line < 1 || line > len(o.lines) {
		return ""
	}
	s := strings.TrimSuffix(o.lines[line-1], "\r")
	s = inURL.ReplaceAllStringFunc(s, func(m string) string {
		if name, value, query := strings.Cut(m, "="); query && m[0] != ':' {
			return name + "=" + strings.Repeat("*", utf8.RuneCountInString(value))
		}
		return "://" + strings.Repeat("*", utf8.RuneCountInString(m)-4) + "@"
	})
	if from := o.masks[line]; len(from) > 0 {
		runes := []rune(s)
		s = string(runes[:min(slices.Min(from)-1, len(runes))]) + "…"
	}
	return printable(s)
}

// printable replaces each character that could move a terminal's cursor or hide
// text by one that cannot; the file name and its lines are foreign text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return '\uFFFD'
		}
	}, s)
}

// quote shows foreign text in a message: escaped, and cut so that it cannot bury
// the message.
func quote(s string) string { return strconv.Quote(cut(s, 64)) }

func cut(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit]) + "…"
}

// child is the path of a key below path. A key with other than the usual
// characters is quoted, so that paths stay unambiguous.
func child(path, key string) string {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return !isNameRune(r) && r != ':' && r != '/' && r != '$' }) {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// prefixes returns the paths from the first element down to path itself.
func prefixes(path string) []string {
	var out []string
	for i := 0; i < len(path); {
		if path[i] == '[' {
			quoted, err := strconv.QuotedPrefix(path[i+1:])
			if err != nil {
				quoted = path[i+1 : i+strings.IndexByte(path[i:], ']')]
			}
			i += len(quoted) + 2
		} else {
			end := strings.IndexAny(path[i+1:], ".[")
			if end < 0 {
				end = len(path) - i - 1
			}
			i += 1 + end
		}
		out = append(out, path[:i])
	}
	return out
}
