package identity

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// RoleRule says which roles follow from a claim. A token does not name roles of
// ours: its issuer's words are mapped to them one by one, and a word that is not
// mapped means nothing. The zero rule gives no role.
type RoleRule struct {
	path  []string
	roles map[string][]string
}

// NewRoleRule returns the rule for the claim at path. Dots go one level down; a
// backslash takes the meaning from the character behind it, so that a name with
// dots can be written: https://idp\.example/roles.
func NewRoleRule(path string, roles map[string][]string) (RoleRule, error) {
	if path == "" && len(roles) == 0 {
		return RoleRule{}, nil
	}
	members, err := splitClaim(path)
	return RoleRule{members, roles}, err
}

func splitClaim(path string) ([]string, error) {
	var members []string
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 == len(path):
			return nil, errors.New("a claim path ends in a backslash")
		case c == '\\':
			i++
			b.WriteByte(path[i])
		case c == '.':
			members = append(members, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	members = append(members, b.String())
	if slices.Contains(members, "") {
		return nil, errors.New("a claim path has an empty part")
	}
	return members, nil
}

// of returns the roles that follow from object, a JSON object that was read
// strictly before. A claim of another shape than a word or a list of words gives
// none.
func (r RoleRule) of(object []byte) []string {
	if len(r.path) == 0 {
		return nil
	}
	value := jsontext.Value(object)
	for _, member := range r.path {
		var members map[string]jsontext.Value
		if json.Unmarshal(value, &members) != nil {
			return nil
		}
		value = members[member]
	}
	var words stringList
	if value == nil || json.Unmarshal(value, &words) != nil {
		return nil
	}
	var roles []string
	for _, w := range words {
		roles = append(roles, r.roles[w]...)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// Directory gives roles to users by a file, which it follows. A nil Directory
// gives none.
type Directory struct {
	roles *followed[map[string][]string]
}

// DirectoryOptions say where the roles of users are.
type DirectoryOptions struct {
	File  string
	Parse func(text []byte) (map[string][]string, error) // "user:alice" to her roles
	Now   func() time.Time                               // nil: time.Now
	Log   *slog.Logger                                   // nil: nothing is logged
}

// NewDirectory reads the file, which must be usable.
func NewDirectory(o DirectoryOptions) (*Directory, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	roles, err := follow(o.File, o.Parse, o.Now, o.Log)
	if err != nil {
		return nil, err
	}
	return &Directory{roles}, nil
}

// of returns the roles of p together with those that p already has.
func (d *Directory) of(p Principal) []string {
	if d == nil {
		return p.Roles
	}
	own := d.roles.get()["user:"+p.Subject]
	if len(own) == 0 {
		return p.Roles
	}
	roles := slices.Concat(p.Roles, own)
	slices.Sort(roles)
	return slices.Compact(roles)
}
