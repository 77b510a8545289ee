// Package schema checks JSON values against a tool's published JSON Schema: a
// structured result after secrets were cut out of it, arguments after a guard
// changed them. It wraps github.com/google/jsonschema-go (drafts 2020-12 and 7)
// for schemas and values that a hostile upstream wrote:
//
//   - A reference leads into the same document or the schema is refused;
//     nothing is ever fetched.
//   - Size, depth and work are bounded, since references may loop and a few
//     nested alternatives can ask for more comparisons than a lifetime has.
//   - Errors name the place in the schema, never a piece of the value.
//
// Input is expected to have passed the strict scan of the proxy: valid UTF-8,
// no duplicate members.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Name is the guard's name in configuration, findings and audit records.
const Name = "schema"

// InputName is the name under which arguments are held to their schema.
const InputName = "input_schema"

// Limits in bytes and nesting levels.
const (
	MaxSchema = 64 << 10 // one schema
	MaxValue  = 16 << 20 // one value
	MaxDepth  = 64       // arrays and objects inside each other, in both
)

// Errors that a caller may tell apart with [errors.Is].
var (
	ErrMismatch = errors.New("value does not match the schema")
	ErrInvalid  = errors.New("not valid JSON")
	ErrTooLarge = errors.New("too large to be checked")
	ErrSchema   = errors.New("schema cannot be used")
)

// Schema is a compiled JSON Schema. It is immutable and safe for concurrent use.
type Schema struct {
	resolved *jsonschema.Resolved
	plan     *plan
}

// Compile prepares schema for use. The error wraps [ErrSchema] or [ErrTooLarge].
func Compile(schema []byte) (s *Schema, err error) {
	defer recoverTo(&err, ErrSchema)
	switch {
	case len(schema) > MaxSchema:
		return nil, fmt.Errorf("schema of %d bytes: %w", len(schema), ErrTooLarge)
	case depth(schema) > MaxDepth:
		return nil, fmt.Errorf("schema nested deeper than %d: %w", MaxDepth, ErrTooLarge)
	}
	var root jsonschema.Schema
	if err := json.Unmarshal(schema, &root); err != nil {
		return nil, fmt.Errorf("%w: not a JSON Schema", ErrSchema)
	}
	if err := checkDialect(&root); err != nil {
		return nil, err
	}
	root.ID = "" // only matters to references that are refused
	p, err := newPlan(&root)
	if err != nil {
		return nil, err
	}
	resolved, err := root.Resolve(&jsonschema.ResolveOptions{Loader: refuseToLoad})
	if err != nil {
		return nil, fmt.Errorf("%w: it does not resolve", ErrSchema)
	}
	return &Schema{resolved, p}, nil
}

// checkDialect refuses drafts whose keywords would be read with another meaning.
func checkDialect(root *jsonschema.Schema) error {
	switch strings.TrimSuffix(root.Schema, "#") {
	case "", "https://json-schema.org/draft/2020-12/schema":
		root.Schema = ""
	case "http://json-schema.org/draft-07/schema", "https://json-schema.org/draft-07/schema":
		root.Schema = "http://json-schema.org/draft-07/schema#"
	default:
		return fmt.Errorf("%w: unknown $schema", ErrSchema)
	}
	return nil
}

// refuseToLoad is the second lock: newPlan has refused such references already.
func refuseToLoad(*url.URL) (*jsonschema.Schema, error) {
	return nil, errors.New("remote schemas are not loaded")
}

// Validate reports whether value, one JSON text, matches s. The error wraps
// [ErrMismatch], [ErrInvalid] or [ErrTooLarge]; each means that the value must
// not be taken for valid.
func (s *Schema) Validate(value []byte) (err error) {
	defer recoverTo(&err, ErrMismatch)
	switch {
	case len(value) > MaxValue:
		return fmt.Errorf("value of %d bytes: %w", len(value), ErrTooLarge)
	case depth(value) > MaxDepth:
		return fmt.Errorf("value nested deeper than %d: %w", MaxDepth, ErrTooLarge)
	}
	v, err := decode(value)
	if err != nil {
		return err
	}
	if !s.plan.affordable(v) {
		return fmt.Errorf("value needs more than %d comparisons: %w", maxWork, ErrTooLarge)
	}
	if err := s.resolved.Validate(v); err != nil {
		return fmt.Errorf("%w at %s", ErrMismatch, place(err))
	}
	return nil
}

// Fits says whether value matches s, and if not, which place of s objects: a JSON Pointer, or
// nothing where its names are no plain words, since whoever wrote the schema chose them. The
// error says that this could not be judged: it wraps [ErrInvalid] or [ErrTooLarge].
func (s *Schema) Fits(value []byte) (place string, fits bool, err error) {
	err = s.Validate(value)
	if !errors.Is(err, ErrMismatch) {
		return "", err == nil, err
	}
	if at, ok := strings.CutPrefix(err.Error(), ErrMismatch.Error()+" at \""); ok {
		if at = strings.TrimSuffix(at, `"`); strings.Trim(at, plainPointer) == "" {
			place = at
		}
	}
	return place, false, nil
}

const plainPointer = "/_$-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// place returns the innermost schema that objected, as a JSON Pointer. The
// engine wraps one "validating POINTER: " around the other; what stands in the
// last one quotes the value and is left out.
func place(err error) string {
	at := "root"
	for inner := errors.Unwrap(err); inner != nil; err, inner = inner, errors.Unwrap(inner) {
		prefix := strings.TrimSuffix(err.Error(), ": "+inner.Error())
		at = strings.TrimPrefix(prefix, "validating ")
	}
	const longest = 128
	return fmt.Sprintf("%q", at[:min(len(at), longest)])
}

// recoverTo turns a panic of the engine into an error: a value that could not be
// judged is not valid.
func recoverTo(err *error, kind error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: the engine failed", kind)
	}
}

// depth returns how deep arrays and objects of a JSON text are nested. It runs
// before any recursive reader.
func depth(text []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// decode reads one JSON text.
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, ErrInvalid
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, ErrInvalid
	}
	return convert(v)
}
