package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
)

// remedy is a change that would allow a refused call, and everything else that it
// allows: nobody is to widen a policy for one call without seeing that.
type remedy struct {
	Change  string `json:"change"`
	Grants  string `json:"grants"`
	Weakens bool   `json:"weakens"` // switches off a protection, or lifts a denial
}

// remedies says what would have allowed what e refuses. It is empty where no change of
// policy, token or configuration would.
func remedies(e audit.Event, cfg *config.Config, engine *policy.Engine) []remedy {
	switch {
	case e.Reason == "scope":
		return forScope(e, cfg)
	case e.Reason == "role" || e.Reason == "unknown-tool" && e.Stage == "authorize":
		return forRole(e, cfg, engine)
	case e.Outcome == "blocked" && e.Guard != "":
		return forGuard(e)
	case e.Outcome == "auth_failed":
		return []remedy{{Change: "a valid token of the caller's, made for this service", Grants: "what its scopes and roles allow"}}
	case e.Outcome == "limited":
		return []remedy{{Change: "the same call later, or a higher limit under limits:", Grants: "as much to every caller", Weakens: true}}
	}
	return nil
}

func forScope(e audit.Event, cfg *config.Config) []remedy {
	var includes map[string][]string
	if cfg != nil && cfg.Auth != nil {
		includes = cfg.Auth.ScopeIncludes
	}
	missing := policy.NewHierarchy(includes).Missing(e.Scopes, e.Needed)
	if len(missing) == 0 {
		return nil
	}
	return []remedy{{
		Change: "a token that grants " + strings.Join(missing, " ") + " as well",
		Grants: "its bearer every tool that asks for that, as far as his roles allow it: " + listed(toolsOf(cfg, func(t config.Tool) bool {
			return slices.ContainsFunc(t.Scopes, func(s string) bool { return slices.Contains(missing, s) })
		})),
	}}
}

// forRole looks for rows. Where a row denies, none that is added helps.
func forRole(e audit.Event, cfg *config.Config, engine *policy.Engine) []remedy {
	asked := policy.Permission{Object: e.Object, Action: e.Action}
	if name := e.Upstream + "/" + e.Name; cfg != nil && e.Reason == "unknown-tool" && cfg.Quarantines() && nameable(e.Name) {
		if _, named := cfg.Tools[name]; !named {
			return []remedy{{Change: "tools: { " + name + ": {} }", Grants: "the tool to everybody whom scopes and policy allow it, as " + means(asked, cfg), Weakens: true}}
		}
	}
	if cfg != nil && cfg.Tools[e.Upstream+"/"+e.Name].Hide {
		return []remedy{{Change: "tools." + e.Upstream + "/" + e.Name + ".hide: false", Grants: "the tool to everybody whom scopes and policy allow it", Weakens: true}}
	}
	if e.Rule != "" {
		return []remedy{{
			Change: "taking away the denying row " + e.Rule + ", and a row that allows; no row that is added outweighs it",
			Grants: "everything that it denies, to everybody whom another row allows it", Weakens: true,
		}}
	}
	if !nameable(e.Object) || !nameable(e.Action) {
		return nil // no row can name it
	}
	subject := "user:" + e.Subject
	var all []remedy
	for _, role := range e.Roles {
		if nameable(role) {
			all = append(all, remedy{Change: fmt.Sprintf("p, %s, %s, %s, allow", role, asked.Object, asked.Action), Grants: means(asked, cfg) + " to everybody with " + role + ": " + listed(holders(engine, role))})
		}
	}
	if !nameable(subject) {
		return all
	}
	for _, role := range engine.Subjects() {
		if strings.HasPrefix(role, "role:") && !slices.Contains(e.Roles, role) && engine.Decide(role, asked).Allowed {
			all = append(all, remedy{Change: fmt.Sprintf("g, %s, %s", subject, role), Grants: "everything that " + role + " may, to " + subject})
		}
	}
	return append(all, remedy{Change: fmt.Sprintf("p, %s, %s, %s, allow", subject, asked.Object, asked.Action), Grants: means(asked, cfg) + " to " + subject + " alone"})
}

// nameable says whether a row can hold the name. A record may hold only its beginning.
func nameable(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_.:/@-", r)
	}) < 0
}

// means says what a permission comes to.
func means(asked policy.Permission, cfg *config.Config) string {
	tools := toolsOf(cfg, func(t config.Tool) bool {
		return t.Resource == asked.Object && (t.Action == asked.Action || t.Owned() && (t.Action+policy.Own == asked.Action || t.Action+policy.Any == asked.Action))
	})
	if len(tools) == 0 {
		return asked.Action + " on " + asked.Object
	}
	return asked.Action + " on " + asked.Object + " (" + listed(tools) + ")"
}

func toolsOf(cfg *config.Config, wanted func(config.Tool) bool) (names []string) {
	if cfg == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Tools)) {
		if wanted(cfg.Tools[name]) {
			names = append(names, name)
		}
	}
	return names
}

// holders are the users of the policy who have role.
func holders(engine *policy.Engine, role string) (users []string) {
	for _, s := range engine.Subjects() {
		if strings.HasPrefix(s, "user:") && slices.Contains(engine.Roles(s), role) {
			users = append(users, s)
		}
	}
	return users
}

// listed shows the beginning of a list.
func listed(names []string) string {
	const most = 8
	switch {
	case len(names) == 0:
		return "none that the configuration names"
	case len(names) > most:
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// forGuard says how a guard is satisfied, and how it is switched off.
func forGuard(e audit.Event) []remedy {
	var all []remedy
	switch e.Guard {
	case "consent":
		all = append(all, remedy{Change: "confirm=true among the arguments", Grants: "this call; a model can set it by itself, so it is not consent"})
	case "argument":
		all = append(all, remedy{Change: "arguments within what tools." + e.Upstream + "/" + e.Name + ".args allows", Grants: "this call"})
	case "command":
		all = append(all, remedy{Change: "a value of the argument that tools." + e.Upstream + "/" + e.Name + ".args lists under enum, or, with command, one that does nothing but be an argument", Grants: "this call"})
	case "ssrf":
		all = append(all, remedy{Change: "an https URL of a public host, on a port and of a host that the configuration allows", Grants: "this call"})
	case "input_schema":
		all = append(all, remedy{Change: "arguments as the tool's inputSchema has them; tools/list shows it", Grants: "this call"})
	case "input_secrets":
		all = append(all, remedy{Change: "arguments without a secret", Grants: "this call"})
	case "marker_writeback":
		all = append(all, remedy{Change: "arguments without the marks of a redaction", Grants: "this call"})
	default:
		all = append(all, remedy{Change: "other arguments", Grants: "this call"})
	}
	if e.Allow != "" {
		all = append(all, remedy{Change: "allow: [" + strings.TrimSuffix(e.Allow, " }") + ", reason: WHY, until: DAY }]", Grants: "every call of this tool what this one rule finds, until that day", Weakens: true})
	}
	if key, ok := guardKeys[e.Guard]; ok && !strings.HasSuffix(e.Name, "…") {
		all = append(all, remedy{Change: "tools." + e.Upstream + "/" + e.Name + ".guards." + key + ": observe", Grants: "every call of this tool by everybody passes this guard, which only records", Weakens: true})
	}
	return all
}

// guardKeys are the guards that a tool's entry can switch, by their names in records.
var guardKeys = map[string]string{
	"argument": "argument", "consent": "consent", "command": "command", "ssrf": "ssrf", "marker_writeback": "marker_writeback", "input_secrets": "input_secrets",
	"secrets": "secrets", "injection": "injection", "terminal": "terminal", "schema": "schema", "input_schema": "input_schema",
}
