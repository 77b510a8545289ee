package main

var (
	judgeTests = []string{"./proxy/sidecar"}
	cliTests   = []string{"./proxy/cli"}
)

// toolMutants have the tools for people say yes where the sidecar says no, hide what a
// change would open, or let what others wrote act on a terminal.
var toolMutants = []mutant{
	{name: "judge: everything is allowed", file: "proxy/sidecar/judge.go", old: "t.record.Outcome == pipeline.Allowed.String() && t.reached", new: "t.record.Outcome != \"\"", pkgs: judgeTests, run: "Judge"},
	{name: "judge: tokens grant everything", file: "proxy/sidecar/judge.go", old: "	if q.AnyScopes {\n		e, _", new: "	if true {\n		e, _", pkgs: judgeTests, run: "Judge"},
	{name: "judge: names that resolve inside", file: "proxy/sidecar/judge.go", old: "	s.opts.Resolver = t.resolver\n", new: "", pkgs: judgeTests, run: "Judge"},
	{name: "judge: handles go unmentioned", file: "proxy/sidecar/judge.go", old: "range t.handles {\n		open", new: "range t.handles[:0] {\n		open", pkgs: judgeTests, run: "Judge"},
	{name: "judge: names go unmentioned", file: "proxy/sidecar/judge.go", old: "range t.resolver.names() {", new: "range t.resolver.names()[:0] {", pkgs: judgeTests, run: "Judge"},
	{name: "judge: arguments end the call", file: "proxy/sidecar/judge.go", old: "case args[0] != '{' || !json.Valid(args):", new: "case args[0] != '{':", pkgs: judgeTests, run: "Judge"},
	{name: "check: a denial exits with 0", file: "proxy/cli/check.go", old: "	if !v.Allowed {\n		return exit(ExitDenied, nil)\n	}\n", new: "", pkgs: cliTests, run: "TestCheck"},
	{name: "tools: texts reach a terminal as they are", file: "proxy/cli/page.go", old: "			args[i] = visible(a)\n", new: "			args[i] = a\n", pkgs: cliTests, run: "Harmless"},
	{name: "tools: texts begin lines", file: "proxy/cli/page.go", old: "return strings.Join(strings.FieldsFunc(escaped(s), func(r rune) bool { return r == '\\n' }), `\\n`)", new: "return escaped(s)", pkgs: cliTests, run: "Harmless"},
	{name: "tools: JSON reaches a terminal as it is", file: "proxy/cli/page.go", old: "io.WriteString(w, escaped(b.String()))", new: "io.WriteString(w, b.String())", pkgs: cliTests, run: "Harmless"},
	{name: "remedies: what weakens is not marked", file: "proxy/cli/remedy.go", old: "to everybody whom another row allows it\", Weakens: true,", new: "to everybody whom another row allows it\",", pkgs: cliTests, run: "TestCheck|Remedies"},
	{name: "remedies: rows beside a denying one", file: "proxy/cli/remedy.go", old: "	if e.Rule != \"\" {", new: "	if false {", pkgs: cliTests, run: "Remedies"},
	{name: "remedies: roles that are denied too", file: "proxy/cli/remedy.go", old: " && engine.Decide(role, asked).Allowed {", new: " {", pkgs: cliTests, run: "Remedies"},
	{name: "explain: roles of long ago count today", file: "proxy/cli/explain.go", old: " || d.Allowed != engine.Decide(\"user:\"+e.Subject, asked, e.Roles...).Allowed {", new: " {", pkgs: cliTests, run: "TestExplain"},
	{name: "explain: the policy has not changed", file: "proxy/cli/explain.go", old: "if e.Policy != engine.Revision() && e.Policy != \"\" {", new: "if false {", pkgs: cliTests, run: "TestExplain"},
	{name: "explain: an intent is an outcome", file: "proxy/cli/explain.go", old: "Unfinished: f.Outcome == nil,", new: "Unfinished: false,", pkgs: cliTests, run: "TestExplain"},
	{name: "policy test: everything is as expected", file: "proxy/cli/policytest.go", old: "r.OK = len(r.Wrong) == 0", new: "r.OK = true", pkgs: cliTests, run: "PolicyTest"},
	{name: "policy test: any rule will do", file: "proxy/cli/policytest.go", old: "if e.Rule != \"\" && !strings.Contains(r.Rule, e.Rule) {", new: "if false {", pkgs: cliTests, run: "PolicyTest"},
	{name: "policy test: any reason will do", file: "proxy/cli/policytest.go", old: "if e.Reason != \"\" && e.Reason != r.Reason {", new: "if false {", pkgs: cliTests, run: "PolicyTest"},
	{name: "policy test: a file may ask nothing", file: "proxy/config/expectations.go", old: "if len(file.Tests) == 0 {", new: "if false {", pkgs: cliTests, run: "PolicyTest"},
	{name: "matrix: everything is allowed", file: "proxy/cli/policymatrix.go", old: "	if d.Allowed {", new: "	if true {", pkgs: cliTests, run: "Matrix"},
	{name: "matrix: nobody else is asked about", file: "proxy/cli/policymatrix.go", old: "append(slices.Compact(subjects), anybodyElse)", new: "slices.Compact(subjects)", pkgs: cliTests, run: "PolicyWithout"},
	{name: "policy show: what observes seems to enforce", file: "proxy/cli/policyshow.go", old: "	if cfg.Preset == config.PresetObserve {", new: "	if false {", pkgs: cliTests, run: "PolicyWithout"},
	{name: "apply: expectations do not matter", file: "proxy/cli/policyapply.go", old: " && (a.Tests == nil || a.Tests.Failed == 0)", new: "", pkgs: cliTests, run: "PolicyApply"},
	{name: "apply: expectations are asked of the old policy", file: "proxy/cli/policyapply.go", old: "sidecar.JudgeOptions{Policy: next, Tools: listed}", new: "sidecar.JudgeOptions{Tools: listed}", pkgs: cliTests, run: "PolicyApply"},
	{name: "apply: a dry run writes", file: "proxy/cli/policyapply.go", old: "return !f.dryRun && len", new: "return len", pkgs: cliTests, run: "PolicyApply"},
	{name: "apply: any revision will do", file: "proxy/cli/policyapply.go", old: "if f.revision != \"\" && f.revision != a.Before {", new: "if false {", pkgs: cliTests, run: "PolicyApply"},
	{name: "apply: what others did is undone", file: "proxy/cli/policyapply.go", old: "store.Replace(ctx, a.rows, a.Before)", new: "store.Replace(ctx, a.rows, \"\")", pkgs: cliTests, run: "PolicyApply"},
	{name: "apply: nobody looks at what is stored", file: "proxy/cli/policyapply.go", old: "	if !sameRows(stored.Rows, a.rows) {", new: "	if false {", pkgs: cliTests, run: "PolicyApply"},
	{name: "apply: rows that go are not shown", file: "proxy/cli/policyapply.go", old: "range a.Removed {", new: "range a.Removed[:0] {", pkgs: cliTests, run: "PolicyApply"},
	{name: "apply: decisions that change are not shown", file: "proxy/cli/policyapply.go", old: "if was.Allowed != is.Allowed {", new: "if was.Allowed && !is.Allowed {", pkgs: cliTests, run: "PolicyApply"},
	{name: "file store: another writer was faster", file: "policy/file.go", old: "		if now != from {", new: "		if now == \"\" {", pkgs: policyTests, run: "FileStore"},
	{name: "file store: writers do not keep each other out", file: "policy/file.go", old: "os.O_CREATE|os.O_EXCL|os.O_WRONLY", new: "os.O_CREATE|os.O_WRONLY", pkgs: policyTests, run: "FileStore|FileReplace"},
	{name: "file store: rows outside the grammar", file: "policy/file.go", old: "		_, texts := parseRow(fields)\n", new: "		var texts []string\n", pkgs: policyTests, run: "FileStore"},
	{name: "file store: a policy that anybody may write", file: "policy/file.go", old: "file.Chmod(mode)", new: "file.Chmod(mode|0o666)", pkgs: policyTests, run: "FileReplace"},
	{name: "init: servers write lines", file: "proxy/cli/starter.go", old: "	return visible(s)\n", new: "	return s\n", pkgs: cliTests, run: "Init"},
	{name: "init: servers write keys", file: "proxy/cli/starter.go", old: "		return \"its name cannot stand in a policy\"\n", new: "		return \"\"\n", pkgs: cliTests, run: "Init"},
	{name: "init: names that no configuration takes", file: "proxy/cli/starter.go", old: "		return \"its name cannot stand in a configuration\"\n", new: "		return \"\"\n", pkgs: cliTests, run: "Init"},
	{name: "init: a server's word beats the name", file: "proxy/cli/starter.go", old: "	case deletes:", new: "	case deletes && !says(readOnly, true):", pkgs: cliTests, run: "Guess"},
	{name: "init: what destroys wants no confirmation", file: "proxy/cli/starter.go", old: "		entry += \", consent: confirm\"\n", new: "", pkgs: cliTests, run: "Init"},
	{name: "init: files are overwritten", file: "proxy/cli/init.go", old: "err == nil && !f.force {\n			return exit", new: "err == nil && false {\n			return exit", pkgs: cliTests, run: "Init"},
	{name: "init: links are followed", file: "proxy/cli/init.go", old: "		target = file + \".new\"\n		_ = os.Remove(target)\n", new: "		out, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0o600)\n		if err == nil {\n			_, err = out.WriteString(text)\n			return errors.Join(err, out.Close())\n		}\n", pkgs: cliTests, run: "Init"},
	{name: "init: names of servers are YAML", file: "proxy/cli/init.go", old: "	if !nameable(f.name) || strings.ContainsAny(f.name, \"/:@.\") {", new: "	if strings.ContainsAny(f.name, \"/\") {", pkgs: cliTests, run: "Init"},
	{name: "init: a server lists without end", file: "proxy/sidecar/listing.go", old: "if len(all) == l.limits.Tools || ", new: "if ", pkgs: cliTests, run: "Init"},
	{name: "audit: objects are not redacted", file: "proxy/audit/audit.go", old: "&e.Object, &e.Action, ", new: "", pkgs: []string{"./proxy/audit"}},
}
