package schema

import (
	"fmt"
	"regexp/syntax"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Work is counted in schema evaluations and, for patterns, in steps of the
// regular expression machine.
const (
	maxWork      = 2 << 20 // per value; a second or two at worst
	maxInPlace   = 64      // schemas judging the same value inside each other
	maxPrograms  = 100_000 // instructions of all patterns of one schema
	stepsPerWork = 32      // machine steps that cost about one evaluation
	bytesPerWork = 256     // bytes of a string that cost about one evaluation to read
)

// plan knows what an evaluation will cost before the engine starts it. The
// engine cannot be interrupted, and a loop of references would overflow its
// stack, which ends the process. So the plan follows every reference and every
// alternative for a given value first and counts.
type plan struct {
	root     *jsonschema.Schema
	nodes    map[*jsonschema.Schema]node
	programs map[string]int // instructions of a pattern
	total    int            // instructions of all patterns
}

// node lists what s leads to.
type node struct {
	same    []*jsonschema.Schema // judge the same value as s
	members []*jsonschema.Schema // may judge any member of an object
	items   []*jsonschema.Schema // may judge any item of an array
}

// newPlan follows the references of root and measures its patterns.
func newPlan(root *jsonschema.Schema) (*plan, error) {
	p := &plan{root: root, nodes: map[*jsonschema.Schema]node{}, programs: map[string]int{}}
	if err := p.add(root); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *plan) add(s *jsonschema.Schema) error {
	if s == nil {
		return fmt.Errorf("%w: null is no schema", ErrSchema)
	}
	target, err := p.target(s)
	if err != nil {
		return err
	}
	p.nodes[s] = node{
		same:    append(sameValue(s), present(target)...),
		members: present(s.AdditionalProperties, s.UnevaluatedProperties),
		items:   present(s.Items, s.AdditionalItems, s.Contains, s.UnevaluatedItems),
	}
	if err := p.addPatterns(s); err != nil {
		return err
	}
	for _, sub := range subschemas(s) {
		if err := p.add(sub); err != nil {
			return err
		}
	}
	return nil
}

// target resolves s's reference; nil without one. Nested ids and dynamic
// references would change what "#" means; tools that generate schemas for MCP
// servers do not emit them.
func (p *plan) target(s *jsonschema.Schema) (*jsonschema.Schema, error) {
	switch {
	case s.DynamicRef != "" || s.ID != "":
		return nil, fmt.Errorf("%w: nested $id and $dynamicRef are not supported", ErrSchema)
	case s.Ref == "":
		return nil, nil
	case !strings.HasPrefix(s.Ref, "#"):
		return nil, fmt.Errorf("%w: external $ref", ErrSchema)
	}
	target := follow(p.root, s.Ref)
	if target == nil {
		return nil, fmt.Errorf("%w: $ref leads nowhere", ErrSchema)
	}
	return target, nil
}

func (p *plan) addPatterns(s *jsonschema.Schema) error {
	if err := p.addPattern(s.Pattern); err != nil {
		return err
	}
	for pattern := range s.PatternProperties {
		if err := p.addPattern(pattern); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) addPattern(pattern string) error {
	if _, known := p.programs[pattern]; known || pattern == "" {
		return nil
	}
	const longest = 4 << 10 // 7 bytes can ask for 1,000 instructions
	if len(pattern) > longest {
		return fmt.Errorf("%w: pattern longer than %d bytes", ErrSchema, longest)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil { // look-ahead, for example
		return fmt.Errorf("%w: unsupported pattern", ErrSchema)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return fmt.Errorf("%w: unsupported pattern", ErrSchema)
	}
	p.programs[pattern] = len(program.Inst)
	p.total += len(program.Inst)
	if p.total > maxPrograms {
		return fmt.Errorf("%w: its patterns are too large", ErrSchema)
	}
	return nil
}

// affordable reports whether v can be judged within the limits.
func (p *plan) affordable(v any) bool {
	m := meter{plan: p, left: maxWork}
	m.judge(p.root, v, 0)
	return m.left >= 0
}

// meter walks schema and value together as the engine would if nothing failed
// early. It stops when its budget is negative.
type meter struct {
	*plan
	left int
}

func (m *meter) judge(s *jsonschema.Schema, v any, inPlace int) {
	m.left--
	if inPlace > maxInPlace {
		m.left = -1
	}
	if m.left < 0 {
		return
	}
	// The engine joins the error texts of all failed alternatives.
	m.left -= len(s.Enum) + len(s.Required) + 2*len(s.AnyOf)
	for _, sub := range m.nodes[s].same {
		m.judge(sub, v, inPlace+1)
	}
	switch v := v.(type) {
	case text:
		m.left -= len(v) / bytesPerWork
		m.match(s.Pattern, string(v))
	case object:
		m.judgeMembers(s, v)
	case array:
		m.judgeItems(s, v)
	}
}

func (m *meter) match(pattern, s string) {
	if pattern != "" {
		m.left -= 1 + len(s)*m.programs[pattern]/stepsPerWork
	}
}

func (m *meter) judgeMembers(s *jsonschema.Schema, o object) {
	for name, v := range o {
		if sub := s.Properties[name]; sub != nil {
			m.judge(sub, v, 0)
		}
		for pattern, sub := range s.PatternProperties {
			m.match(pattern, name)
			m.judge(sub, v, 0)
		}
		for _, sub := range m.nodes[s].members {
			m.judge(sub, v, 0)
		}
		if s.PropertyNames != nil {
			m.judge(s.PropertyNames, text(name), 0)
		}
		if m.left < 0 {
			return
		}
	}
}

func (m *meter) judgeItems(s *jsonschema.Schema, a array) {
	if s.UniqueItems {
		m.left -= weight(a)
	}
	for i, v := range a {
		if i < len(s.PrefixItems) {
			m.judge(s.PrefixItems[i], v, 0)
		}
		if i < len(s.ItemsArray) {
			m.judge(s.ItemsArray[i], v, 0)
		}
		for _, sub := range m.nodes[s].items {
			m.judge(sub, v, 0)
		}
		if m.left < 0 {
			return
		}
	}
}

// weight is what it costs to read v completely once.
func weight(v any) int {
	w := 1
	switch v := v.(type) {
	case text:
		w += len(v) / bytesPerWork
	case object:
		for _, member := range v {
			w += weight(member)
		}
	case array:
		for _, item := range v {
			w += weight(item)
		}
	}
	return w
}
