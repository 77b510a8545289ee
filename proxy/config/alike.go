package config

import (
	"maps"
	"slices"
	"strings"
)

// alike maps characters that are read as others to those (Unicode Technical
// Standard 39, section 4, as far as it is about letters and digits of ASCII), and
// two letters that together look like one.
var alike = strings.NewReplacer("0", "o", "1", "l", "i", "l", "|", "l", "rn", "m", "vv", "w")

// LookAlike returns the same text for names that a reader could take for one
// another: it ignores case and look-alike characters. It is meant for names whose
// alphabet is ASCII; elsewhere characters of other scripts look alike too.
func LookAlike(name string) string { return alike.Replace(strings.ToLower(name)) }

// checkLookAlikes refuses servers that a reader of a tool list, a policy or the
// audit file could take for one another (tool shadowing).
func (c *Config) checkLookAlikes(k *checker) {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		folded := LookAlike(name)
		if other, taken := seen[folded]; taken {
			k.badKey(child("upstreams", name), "looks like the upstream %s; choose a name that cannot be taken for it", other)
			continue
		}
		seen[folded] = name
	}
}

// checkMerged refuses tools whose names would not be offered where servers are
// merged.
func (c *Config) checkMerged(k *checker) {
	if !c.Merge {
		return
	}
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(c.Tools)) {
		merged := strings.Replace(key, "/", ".", 1)
		folded := LookAlike(merged)
		switch other, taken := seen[folded]; {
		case !toolName.MatchString(merged):
			k.badKey(child("tools", key), "is no tool name of at most 128 characters once merge puts the upstream's name in front")
		case taken:
			k.badKey(child("tools", key), "looks like %s; merge could not offer either", other)
		default:
			seen[folded] = key
		}
	}
}
