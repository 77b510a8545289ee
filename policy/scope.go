package policy

import "strings"

// MissingScopes returns the scopes of need that a token with the scopes have
// was not granted, in the order of need; nil, without allocation, when none is
// missing. A token's "documents:*" covers every "documents:<action>": one
// level, only at the end and only after a colon. A lone "*" covers nothing.
// Scopes compare exactly, upper and lower case included (RFC 6749 section 3.3).
func MissingScopes(have, need []string) []string { return Hierarchy(nil).Missing(have, need) }

// granted never says yes to an empty scope: it stands for a requirement that
// got lost, not for the lack of one.
func granted(have []string, need string) bool {
	if need == "" {
		return false
	}
	for _, h := range have {
		if h == need || covers(h, need) {
			return true
		}
	}
	return false
}

// covers says whether held is a wildcard for need's last level.
func covers(held, need string) bool {
	prefix, ok := strings.CutSuffix(held, "*")
	if !ok || len(prefix) < 2 || !strings.HasSuffix(prefix, ":") {
		return false
	}
	action, ok := strings.CutPrefix(need, prefix)
	return ok && action != "" && !strings.Contains(action, ":")
}
