package pipeline

import (
	"bytes"
	"errors"
	"sync"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// schemaGuard is the name under which the check of structured content has its
// mode.
const schemaGuard = "schema"

// outputSchema is a tool's published schema of its structured content. It is
// compiled when the first result needs it, and shared by all calls.
type outputSchema struct {
	raw  []byte
	once sync.Once
	test func(value []byte) (bool, error)
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
func (s *outputSchema) fits(compile func([]byte) (func([]byte) (bool, error), error), value []byte) (bool, error) {
	if s == nil || compile == nil {
		return true, nil
	}
	s.once.Do(func() {
		s.err = errors.New("the schema was not compiled") // stands when compile panics
		s.test, s.err = compile(s.raw)
	})
	if s.err != nil {
		return false, s.err
	}
	return s.test(value)
}

// fitsSchema blocks a tool result whose structured content is not what the tool
// has published: a program that reads it relies on that (MCP, server/tools,
// "Output Schema"). Where a schema cannot be used the result passes, since a
// hostile upstream could have published none. A result that failed owes nothing.
func (o *output) fitsSchema() error {
	m := o.m
	value := m.Member(m.Result, "structuredContent")
	mode := o.p.modeOf(schemaGuard, o.c)
	if value == wire.Absent || mode == guards.Off || m.IsTrue(m.Member(m.Result, "isError")) {
		return nil
	}
	fits, err := o.c.tool.output.fits(o.p.opts.Compile, m.Value(value))
	switch {
	case err != nil || fits:
		return nil
	case mode == guards.Observe:
		o.c.observed(schemaGuard + ": mismatch")
		return nil
	}
	return blocked(schemaGuard, "mismatch", "blocked: the result does not match the tool's output schema")
}
