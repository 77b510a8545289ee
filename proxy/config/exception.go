package config

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Exception lets be what one rule of a guard finds in one tool. All of it must be given.
type Exception struct {
	// Guard is the guard's name in records.
	Guard string `json:"guard" jsonschema:"Guard, by its name in records: argument, command, consent, injection, input_schema, input_secrets, marker_writeback, schema, secrets, ssrf or terminal."`
	// Rule is the rule's id in records.
	Rule string `json:"rule" jsonschema:"Rule of the guard, by its id in records, such as port or aws_access_key."`
	// Tool is the tool, with its server.
	Tool string `json:"tool" jsonschema:"Tool, as UPSTREAM/TOOL."`
	// Reason is for whoever reads the file.
	Reason string `json:"reason" jsonschema:"Why, for whoever reads this file."`
	// Until is when it ends.
	Until Until `json:"until" jsonschema:"Last day on which it counts (UTC), such as 2027-01-31, or the moment at which it ends."`
}

// Until is a moment at which something ends. A date means the end of that day in UTC.
type Until time.Time

// UnmarshalText accepts a date, or a date with time and zone (RFC 3339).
func (u *Until) UnmarshalText(b []byte) error {
	if day, err := time.Parse(time.DateOnly, string(b)); err == nil {
		*u = Until(day.AddDate(0, 0, 1))
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return errors.New("must be a day such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z")
	}
	*u = Until(t)
	return nil
}

// MarshalText returns RFC 3339.
func (u Until) MarshalText() ([]byte, error) { return time.Time(u).MarshalText() }

// exceptable are the guards of which exceptions can be made.
var exceptable = []string{"argument", "command", "consent", "injection", "input_schema", "input_secrets", "marker_writeback", "schema", "secrets", "ssrf", "terminal"}

// unexceptable are rules that nobody can take back: what was not looked at to the end, what
// would break a result, and the sidecar's own credentials.
var unexceptable = []string{"guard-budget", "unredactable", "credential", "schema"}

// Exceptable says whether an exception of rule in guard can be made for tool.
func Exceptable(guard, rule, tool string) bool {
	e := Exception{Guard: guard, Rule: rule, Tool: tool, Reason: "-", Until: Until(time.Unix(1, 0))}
	return len(e.defects()) == 0
}

// defect is what is wrong with one member.
type defect struct {
	key, message string
	absent       bool
}

func (e Exception) defects() (all []defect) {
	say := func(holds bool, key, message string) {
		if !holds {
			all = append(all, defect{key, message, false})
		}
	}
	for _, f := range []struct{ key, value string }{{"guard", e.Guard}, {"rule", e.Rule}, {"tool", e.Tool}, {"reason", e.Reason}} {
		if f.value == "" {
			all = append(all, defect{f.key, f.key + " is required in allow", true})
		}
	}
	if time.Time(e.Until).IsZero() {
		all = append(all, defect{"until", "until is required in allow: an exception without an end is forgotten", true})
	}
	say(e.Guard == "" || slices.Contains(exceptable, e.Guard), "guard", "must be one of "+strings.Join(exceptable, ", "))
	switch {
	case e.Rule == "":
	case !ruleName.MatchString(e.Rule):
		say(false, "rule", "must be one rule by its id, in lower case")
	case slices.Contains(unexceptable, e.Rule):
		say(false, "rule", "cannot be excepted: "+strings.Join(unexceptable, ", ")+" are about what nobody has looked at or what would break, and about the sidecar's own credentials")
	}
	_, name, _ := strings.Cut(e.Tool, "/")
	say(e.Tool == "" || toolName.MatchString(name), "tool", "must be UPSTREAM/TOOL")
	say(e.Reason == "" || isPlainName(e.Reason), "reason", "must be at most 256 printable characters")
	return all
}

func (c *Config) checkExceptions(k *checker) {
	for i, e := range c.Allow {
		at := item("allow", i)
		for _, d := range e.defects() {
			if d.absent {
				k.lacks(at, "%s", d.message)
			} else {
				k.bad(child(at, d.key), "%s", d.message)
			}
		}
		if server, _, ok := strings.Cut(e.Tool, "/"); ok {
			_, known := c.Upstreams[server]
			k.unless(known, child(at, "tool"), "must be of a configured upstream")
		}
		k.unless(!slices.ContainsFunc(c.Allow[:i], func(o Exception) bool {
			return o.Guard == e.Guard && o.Rule == e.Rule && o.Tool == e.Tool
		}), at, "is given twice")
	}
}

// Expired are the exceptions that do not count any more at now. They are no mistakes: what
// they let be is guarded again.
func (c *Config) Expired(now time.Time) Errors {
	var notices Errors
	for i, e := range c.Allow {
		if !now.Before(time.Time(e.Until)) {
			notices = append(notices, c.origin.locate(finding{
				path: child(item("allow", i), "until"), message: "has passed: the exception does not count any more; take it out, or say until when it is needed",
			}))
		}
	}
	return notices
}
