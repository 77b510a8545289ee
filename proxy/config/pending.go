package config

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// silence is the value with which a key that is not built yet says nothing and
// is therefore accepted.
type silence uint8

const (
	never silence = iota
	emptyList
	emptyMapping
)

// pendingSetting is a key of the file format that this build does not serve.
type pendingSetting struct {
	key   string
	quiet silence
}

// pending lists those keys by the struct that will hold them. A key leaves this
// table when it becomes a field.
var pending = map[reflect.Type][]pendingSetting{
	reflect.TypeFor[Config](): {
		{"allow", emptyList},
	},
}

// pendingConsent are values of consent that are not built yet.
var pendingConsent = []string{"elicit"}

// pendingKey finds key among the pending ones of t.
func pendingKey(t reflect.Type, key string) (pendingSetting, bool) {
	for _, p := range pending[t] {
		if p.key == key {
			return p, true
		}
	}
	return pendingSetting{}, false
}

// saysNothing reports whether n leaves the pending setting as this build has it.
func (p pendingSetting) saysNothing(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.SequenceNode:
		return p.quiet == emptyList && len(n.Values) == 0
	case *ast.MappingNode:
		return p.quiet == emptyMapping && len(n.Values) == 0
	}
	return false
}
