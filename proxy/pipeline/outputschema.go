package pipeline

import (
	"bytes"
	"cmp"
	"errors"
	"sync"

	"mcp-sidecar/guards"
)

// schemaGuard is the name under which the check of structured content has its
// mode.
const schemaGuard = "schema"

// outputSchema is a tool's published schema of its structured content. It is
// compiled when the first result needs it, and shared by all calls.
type outputSchema struct {
	raw  []byte
	once sync.Once
	test func(value []byte) (place string, fits bool, err error)
	err  error
}

// newOutputSchema keeps a copy of raw; nil when there is none.
func newOutputSchema(raw []byte) *outputSchema {
	if raw == nil {
		return nil
	}
	return &outputSchema{raw: bytes.Clone(raw)}
}

// fits says whether value is what the schema describes. Everything fits where
// there is no schema, or nobody to judge.
func (s *outputSchema) fits(compile Compile, value []byte) (bool, error) {
	switch {
	case s == nil || compile == nil:
		return true, nil
	case len(value) > maxJudged:
		return false, errTooLarge
	}
	s.once.Do(func() {
		s.err = errors.New("the schema was not compiled") // stands when compile panics
		s.test, s.err = compile(s.raw)
	})
	if s.err != nil {
		return false, s.err
	}
	_, fits, err := s.test(value)
	return fits, err
}

// maxJudged bounds structured content that is held to its schema, in bytes: to be
// judged it is decoded, which takes many times its size.
const maxJudged = 1 << 20

// fitsSchema blocks the tool result at node root when its structured content is not
// what the tool has published: a program that reads it relies on that (MCP,
// server/tools, "Output Schema"). What cannot be judged passes, since a hostile
// upstream could have published no schema; the operator is told. A result that
// failed owes nothing.
func (o *output) fitsSchema(root int) error {
	m, schema := o.m, o.c.tool.output
	value := m.Value(m.Member(root, "structuredContent"))
	mode := o.p.modeOf(schemaGuard, o.c)
	if value == nil || schema == nil || mode == guards.Off || m.IsTrue(m.Member(root, "isError")) {
		return nil
	}
	fits, err := schema.fits(o.p.opts.Compile, value)
	switch {
	case err != nil:
		tool := cmp.Or(o.c.runs, o.c.Target)
		o.p.inventories.at(o.p.serverOf(o.c)).warnOnce(tool+" outputSchema", func() {
			o.p.opts.Log.Warn("structured results of the tool are not held to its schema", "tool", tool, "why", err.Error())
		})
		return nil
	case fits:
		return nil
	case o.p.except(schemaGuard, o.c, o.c.rule).Has("mismatch"):
		return nil
	case mode == guards.Observe:
		o.c.observed(schemaGuard + ": mismatch")
		return nil
	}
	return blocked(schemaGuard, "mismatch", "blocked: the result does not match the tool's output schema")
}

var errTooLarge = errors.New("the result is too large to be judged")
