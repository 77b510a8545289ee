package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/casbin/casbin/v2"
)

// Limits of one policy. Above them it is refused whole.
const (
	MaxBytes = 16 << 20 // of the source
	MaxRows  = 200_000  // with the rows from the configuration

	maxProblems = 1000 // reported at once
)

// rolesKey is the configuration key that the extra roles come from.
const rolesKey = "auth.roles"

// Problem is one reason why a policy was refused.
type Problem struct {
	File string // as given to Load, or the configuration key
	Line int    // from 1; 0 when the problem has no line
	Text string
}

func (p Problem) String() string { return place(p.File, p.Line) + ": " + p.Text }

func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// Problems is the error of a policy that was refused: every problem, one
// "FILE:LINE: text" a line.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// add keeps a broken megabyte from filling the screen.
func (p *Problems) add(problem Problem) {
	switch len(*p) {
	case maxProblems + 1:
		return
	case maxProblems:
		problem = Problem{File: problem.File, Text: fmt.Sprintf("more than %d problems, the rest is not shown", maxProblems)}
	}
	*p = append(*p, problem)
}

// LoadFile is [Load] for a file, which messages name by path.
func LoadFile(path string, extra map[string][]string) (*Engine, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening policy: %w", err)
	}
	defer f.Close() // read only: nothing is lost when closing fails
	return Load(f, path, extra)
}

// Load reads a policy and compiles it; name stands for it in messages and
// rules. extra holds roles from the configuration ("user:alice" → "role:admin")
// and is treated like g rows. A policy with a single problem is refused whole;
// the error then is [Problems] with all of them. Rows that occur twice count
// once, roles may form a cycle, and inheritance ends after ten steps.
func Load(r io.Reader, name string, extra map[string][]string) (*Engine, error) {
	src, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading policy %q: %w", name, err)
	}
	l := newLoader()
	l.file(name, src)
	return l.compile(revision(src), extra)
}

// CompileRows is [Load] for rows that a [Store] has read.
func CompileRows(rows Rows, extra map[string][]string) (*Engine, error) {
	l := newLoader()
	for _, r := range rows.Rows {
		if l.full || len(l.problems) > maxProblems {
			break
		}
		l.add(rows.Name, r.Line, slices.Clone(r.Fields))
	}
	return l.compile(rows.Revision, extra)
}

// compile makes an engine of what was collected, and of the roles from the
// configuration.
func (l *loader) compile(source string, extra map[string][]string) (*Engine, error) {
	l.configuration(extra)
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	e, err := NewEnforcer()
	if err != nil {
		return nil, err
	}
	if err := l.feed(e); err != nil {
		return nil, err
	}
	return Compile(e, revisionWith(source, extra), l.at)
}

// loader collects checked rows and problems.
type loader struct {
	rows     map[string][][]string // by row type, in order, without repetitions
	seen     map[string]string     // row → where it stands first
	keeps    bool                  // rows are wanted as they stand
	kept     []Row                 // then, in order
	full     bool                  // MaxRows is exceeded, the rest is not read
	problems Problems
}

func newLoader() *loader {
	return &loader{rows: map[string][][]string{}, seen: map[string]string{}}
}

// file reads all rows of a source. Casbin's own reader is not used: it splits
// leniently and skips what it does not understand.
func (l *loader) file(name string, src []byte) {
	if len(src) > MaxBytes {
		l.fail(name, 0, fmt.Sprintf("policy is larger than %d bytes", MaxBytes))
		return
	}
	r := csv.NewReader(bytes.NewReader(src))
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = '#', -1, true
	for !l.full && len(l.problems) <= maxProblems {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			l.fail(name, bad.StartLine, bad.Err.Error())
			continue
		}
		line, _ := r.FieldPos(0)
		l.add(name, line, fields)
	}
}

// configuration adds the extra roles in a fixed order.
func (l *loader) configuration(extra map[string][]string) {
	for _, member := range slices.Sorted(maps.Keys(extra)) {
		for _, role := range extra[member] {
			l.add(rolesKey, 0, []string{"g", member, role})
		}
	}
}

// add checks one row. Blanks around a column carry no meaning.
func (l *loader) add(name string, line int, fields []string) {
	for i := range fields {
		fields[i] = strings.Trim(fields[i], " \t")
	}
	if len(fields) == 1 && fields[0] == "" {
		return
	}
	r, problems := parseRow(fields)
	for _, text := range problems {
		l.fail(name, line, text)
	}
	if len(problems) == 0 {
		l.keep(r, name, line)
	}
}

// keep takes a row unless it is known: Casbin refuses a whole batch in which
// one row occurs twice.
func (l *loader) keep(r row, name string, line int) {
	key := r.String()
	if _, known := l.seen[key]; known || l.full {
		return
	}
	if l.full = len(l.seen) == MaxRows; l.full {
		l.fail(name, line, fmt.Sprintf("policy has more than %d rows", MaxRows))
		return
	}
	l.seen[key] = place(name, line)
	l.rows[r.kind] = append(l.rows[r.kind], r.cols)
	if l.keeps {
		l.kept = append(l.kept, Row{Fields: append([]string{r.kind}, r.cols...), Line: line})
	}
}

func (l *loader) fail(name string, line int, text string) {
	l.problems.add(Problem{File: name, Line: line, Text: text})
}

// feed hands the rows to Casbin.
func (l *loader) feed(e *casbin.Enforcer) error {
	for _, kind := range rowTypes {
		add := e.AddNamedGroupingPolicies
		if kind == "p" {
			add = e.AddNamedPolicies
		}
		if len(l.rows[kind]) == 0 {
			continue
		}
		if ok, err := add(kind, l.rows[kind]); err != nil || !ok {
			return fmt.Errorf("casbin refused the %s rows (%t): %w", kind, ok, err)
		}
	}
	return nil
}

// at says where a row stands.
func (l *loader) at(kind string, cols []string) string {
	return l.seen[row{kind: kind, cols: cols}.String()]
}

// revision is a short hash of a source.
func revision(src []byte) string {
	sum := sha256.Sum256(src)
	return hex.EncodeToString(sum[:])[:12]
}

// revisionWith is the revision of a policy that is made of a source and of roles from
// the configuration: the source's own where there are none.
func revisionWith(source string, extra map[string][]string) string {
	if len(extra) == 0 {
		return source
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q", source)
	for _, member := range slices.Sorted(maps.Keys(extra)) {
		fmt.Fprintf(h, "%q %q", member, extra[member])
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
