package main

// Of following a policy while decisions are made.
var policyMutants = []mutant{
	liveMutant("for ever", "return age < 0 || age >= l.opts.MaxAge", "return age < -1<<62"),
	liveMutant("a moment longer", "age >= l.opts.MaxAge //", "age > l.opts.MaxAge //"),
	liveMutant("a clock that was set back", "return age < 0 || age", "return age"),
	liveMutant("what cannot be read is confirmed", "	case err != nil:\n\t\treturn err\n\tcase now == s.source:", "	case err != nil, now == s.source:"),
	liveMutant("confirmed when it was answered, with what was before", "l.confirm(&state{engine: engine, source: rows.Revision, confirmed: asked})", "_ = engine\n\tl.confirm(&state{engine: s.engine, source: rows.Revision, confirmed: asked})"),
	liveMutant("bad rows are read with every look", "case l.bad != nil && now == l.bad.revision:", "case false:"),
	liveMutant("bad rows are an empty policy", "		l.bad = &badPolicy{rows.Revision, err}\n\t\treturn l.bad", "		engine, _ = CompileRows(Rows{}, nil)"),
	liveMutant("files that are being written", "case l.opts.Settle && now != l.seen:", "case false:"),
	liveMutant("a panic ends following", "			err = fmt.Errorf(\"panic of type %T\", v)", "			panic(fmt.Sprint(v))"),
	liveMutant("whoever is told ends following", "_ = guarded(func() error { l.opts.Notify(e); return nil })", "l.opts.Notify(e)"),
	liveMutant("said with every look", "text == l.reason {", "text == \"\" {"),
	liveMutant("the same failure in other words is another", "text := \"unreachable\" //", "text := err.Error() //"),
	liveMutant("nobody says that nothing is decided", "if l.stale = !l.stale; l.stale {", "if l.stale = !l.stale; false {"),
	liveMutant("roles from the configuration are lost", "CompileRows(rows, l.opts.Extra)\n\t}", "CompileRows(rows, nil)\n\t}"),
	followMutant("old policies decide", "proxy/pipeline/authorize.go", "if err != nil && c.Verb != wire.End {", "if false {"),
	followMutant("sessions cannot be ended", "proxy/pipeline/authorize.go", "if err != nil && c.Verb != wire.End {", "if err != nil {"),
	followMutant("streams keep the policy under which they began", "proxy/pipeline/execute.go", "p.shows(now, c, row.kind, uri)", "now != nil && p.visible(c, row.kind, uri)"),
	followMutant("the file is read once", "proxy/sidecar/sidecar.go", "	s.busy.Go(func() { s.followPolicy(s.life) })\n", ""),
	followMutant("max_age is not heeded", "proxy/sidecar/policy.go", "MaxAge: s.cfg.Policy.Age(), ", ""),
	followMutant("ready although nothing is decided", "proxy/sidecar/policy.go", "return c, !h.Stale", "return c, true"),
	followMutant("a change waits for advice about the one before", "proxy/sidecar/policy.go", "len(rows.Rows) > maxLinted {", "len(rows.Rows) > 1000*maxLinted {"),
	followMutant("changes are not on record", "proxy/sidecar/policy.go", "		s.recordPolicy(e, \"changed\", \"\")\n", ""),
	storeMutant("rows of another moment than the revision", "policy/postgres.go", "isolation level repeatable read, read only", "isolation level read committed, read only"),
	storeMutant("whoever writes last wins", "policy/postgres.go", "if from != \"\" && now != from {", "if false {"),
	storeMutant("writers do not wait for each other", "policy/postgres.go", "selectRevision+\" for update\"", "selectRevision"),
	storeMutant("rows without an order", "policy/postgres.go", "Order(\"seq\")", "Order(\"id\")"),
	storeMutant("rows that cannot be read are left out", "policy/postgres.go", "	if len(problems) > 0 {\n\t\treturn rows, problems", "	if false {\n\t\treturn rows, problems"),
	storeMutant("one database is another", "policy/postgres.go", "|| '-' || left(state::text, 8)", "|| '-' || left(one::text, 8)"),
	storeMutant("what was restored is what was lost", "policy/migrations/0001_policy.sql", "state = gen_random_uuid(), ", ""),
	storeMutant("a permission without an effect allows", "policy/postgres.go", "least = 5", "least = 1"),
	storeMutant("other programs' operators", "policy/postgres.go", "set search_path to ''", "select 1"),
	storeMutant("a schema that another program has made", "policy/postgres.go", "if foreign, err := s.foreign(ctx); err != nil || foreign {", "if foreign, err := s.foreign(ctx); err != nil || foreign && false {"),
	storeMutant("nobody listens", "policy/postgres.go", "l.Listen(ctx, policyChannel)", "l.Listen(ctx, \"another_channel\")"),
	storeMutant("nobody says that changes are not told", "policy/postgres.go", "return unavailable(err) // the listener", "return nil // the listener"),
	storeMutant("an id that the adapter does not know", "policy/postgres.go", "append([]string{r.kind}, r.cols...)", "append([]string{r.kind, \"\"}, r.cols...)"),
	storeMutant("plaintext to other hosts", "policy/dsn.go", "if !local && !o.AllowPlaintext {", "if false {"),
	storeMutant("TLS that verifies nobody", "policy/dsn.go", "if !o.InsecureTLS {", "if false {"),
	storeMutant("any host's certificate", "policy/dsn.go", "&tls.Config{ServerName: host, RootCAs: roots,", "&tls.Config{ServerName: host, InsecureSkipVerify: true, RootCAs: roots,"),
	storeMutant("any authority's certificate", "policy/dsn.go", "RootCAs: roots, MinVersion", "RootCAs: roots, InsecureSkipVerify: len(root) > 0, MinVersion"),
	storeMutant("names that look local", "policy/dsn.go", "host == \"localhost\" ||", "strings.HasPrefix(host, \"localhost\") ||"),
	storeMutant("the error quotes the URL", "policy/dsn.go", "dsnError(\"is not a URL\")", "dsnError(\"is not a URL: %w\", err)"),
	storeMutant("parameters twice", "policy/dsn.go", "case len(all) > 1:", "case false:"),
	storeMutant("any parameter", "policy/dsn.go", "case name != \"sslmode\" && name != \"sslrootcert\" && name != \"host\":", "case false:"),
	storeMutant("the grammar is no constraint: objects", "policy/migrations/0001_policy.sql", "v1 ~ '^([*]|[A-Za-z0-9_.:@-]+/[*]|[A-Za-z0-9_.:/@-]+)$' and", "v1 <> '' and"),
	storeMutant("the grammar is no constraint: effects", "policy/migrations/0001_policy.sql", "v3 in ('allow', 'deny'))),", "v3 <> '')),"),
	storeMutant("the grammar is no constraint: roles", "policy/migrations/0001_policy.sql", "v1 ~ '^role:[A-Za-z0-9_.:/@-]+$')),", "v1 <> '')),"),
	storeMutant("the grammar is no constraint: once", "policy/migrations/0001_policy.sql", "  constraint casbin_rule_once unique (ptype, v0, v1, v2, v3, v4, v5),\n", ""),
	storeMutant("deletions are not counted", "policy/migrations/0001_policy.sql", "after insert or update or delete or truncate", "after insert"),
	storeMutant("nobody is told", "policy/migrations/0001_policy.sql", "  perform pg_notify('sidecar_policy', now_at::text);\n", ""),
	boundMutant("patterns match a part", "`\\A(?:` + expression + `)\\z`", "`(?:` + expression + `)`"),
	boundMutant("patterns match a line", "`\\A(?:` + expression + `)\\z`", "`(?m)^(?:` + expression + `)$`"),
	boundMutant("any type of value", "	if kind != guards.String {\n\t\tif r.Except", "	if false {\n\t\tif r.Except"),
	boundMutant("numbers in strings", "	if kind != guards.Number {", "	if false {"),
	boundMutant("numbers that take memory", "e > maxExponent || e < -maxExponent", "e == 1<<40"),
	boundMutant("numbers that cannot be compared", "case !ok:", "case !ok && false:"),
	boundMutant("steps upwards", "segment == \".\" || segment == \"..\" || ", ""),
	boundMutant("steps upwards that the prefix begins", "begun := prefix[strings.LastIndexByte(prefix, '/')+1:]", "begun := \"\""),
	boundMutant("escaped steps upwards", " || hasEscapedStep(rest) {", " {"),
	boundMutant("escapes of another kind", "if err != nil || hasEscapedStep(rest) {", "if err != nil && decoded != \"\" || hasEscapedStep(rest) {"),
	boundMutant("escaped characters that look like steps", "stays(begun, rest) && stays(begun, decoded)", "stays(begun, rest) && decoded != \"%\""),
	boundMutant("overlong steps", "case !utf8.ValidString(rest):", "case false:"),
	boundMutant("other slashes", "\\u2044\\u2215\\u29f5\\u29f8", ""),
	boundMutant("blanks behind dots", " || strings.Contains(segment, \" \") && strings.Trim(segment, \" .\") == \"\"", ""),
	boundMutant("another root below a prefix", " || strings.HasSuffix(prefix, \"/\") && strings.HasPrefix(rest, \"/\")", ""),
	boundMutant("null is there", "if r.Required && kind == guards.Null && ", "if false && "),
	boundMutant("characters that look like steps", "folded != rest && strings.ContainsAny(folded, \"./%:\")", "false"),
	boundMutant("parameters of a segment", "\";?#\"", "\"?#\""),
	boundMutant("queries and fragments", "\";?#\"", "\";\""),
	boundMutant("hosts that end so", "strings.CutSuffix(name, \".\"+domain)", "strings.CutSuffix(name, domain)"),
	boundMutant("hosts in other letters", "if err != nil || !strings.EqualFold(name, value) {", "if err != nil {"),
	boundMutant("arguments that must be there", "if rules[name].Required && !slices", "if false && !slices"),
	boundMutant("other spellings of a name", "variantOf(a.Name, rules); is && ", "variantOf(a.Name, rules); is && false && "),
	followMutant("nobody bounds arguments", "proxy/sidecar/build.go", "argument.New(bounds), marker", "argument.New(nil), marker"),
	lintMutant("roles of roles have no members", "		for _, role := range l.parents[subject] {\n\t\t\treach(role)", "		for _, role := range l.parents[subject][:0] {\n\t\t\treach(role)"),
	lintMutant("denials of others outweigh", "denies && allows && l.always(subject, other.Fields[1]):", "denies && allows:"),
	lintMutant("denials in part outweigh", "return inObject && (action", "return (inObject || true) && (action"),
	lintMutant("groups are no objects", "	for member := range l.groups {", "	for member := range map[string]string{} {"),
	lintMutant("all that a server lists", "names[:min(len(names), maxSome)]", "names"),
	lintMutant("as long as a server likes", "name[:min(len(name), maxSomeName)]", "name"),
	{name: "policy lint: servers whose list is there are asked", file: "proxy/cli/policylint.go", old: "if listed[server] != nil {", new: "if false {", pkgs: []string{"./proxy/cli"}, run: "PolicyLint"},
	listedMutant("said with every list", "proxy/sidecar/policy.go", "; !said {\n			s.log.Warn(\"the conf", "; !said || said {\n			s.log.Warn(\"the conf"),
	listedMutant("a client's list is not looked at", "proxy/pipeline/lists.go", "		o.p.tell(o.c, server, tools[server])\n", ""),
	listedMutant("the sidecar's own list is not looked at", "proxy/pipeline/inventory.go", "			p.tell(c, p.serverOf(c), tools)\n", ""),
	listedMutant("schemas of several parts are read in part", "proxy/pipeline/inventory.go", "if info.plain && info.own != nil {", "if info.own != nil {"),
	{name: "policy lint: strict is not", file: "proxy/cli/policylint.go", old: "if f.strict && len(found) > 0 {", new: "if false {", pkgs: []string{"./proxy/cli"}, run: "PolicyLint"},
	{name: "policy: test servers outlive who is killed", file: "scenarios/pgserver/account_linux.go", old: "= syscall.SIGQUIT", new: "= 0 * syscall.SIGQUIT", pkgs: []string{"./scenarios/pgtest"}, run: "Killed"},
	ownerMutant("everything is one's own", "return kind == '\"' && c.Msg.Text(at) == c.Principal.Subject, nil", "return true, nil"),
	ownerMutant("subjects in any case", "c.Msg.Text(at) == c.Principal.Subject, nil", "len(c.Msg.Text(at)) == len(c.Principal.Subject), nil"),
	ownerMutant("who does not say", "	if at == wire.Absent {\n\t\treturn false, nil", "	if at == wire.Absent {\n\t\treturn true, nil"),
	ownerMutant("any handle is one's own", "p.given.holds(c.Principal.Key(), handleID+scalarKey(c.Msg, at)), nil", "p.given.known(handleID+scalarKey(c.Msg, at)), nil"),
	ownerMutant("other spellings of the owner", "if refusal := c.ambiguous(c.rule.Owner); refusal != nil {", "if refusal := c.ambiguous(c.rule.Owner); refusal != nil && false {"),
	ownerMutant("a denial of everybody's does not win", "if !own || !everybodys.Allowed && everybodys.Rule != \"\" {", "if !own {"),
	ownerMutant("a denial of one's own does not win", "if his.Allowed || his.Rule != \"\" || !everybodys.Allowed {", "if his.Allowed || !everybodys.Allowed {"),
	followMutant("the end waits for the database", "proxy/sidecar/sidecar.go", "		err = s.policies.Close() //", "		defer func() { _ = s.policies.Close() }() //"),
	followMutant("a database that is down is no policy", "proxy/sidecar/policy.go", "	case errors.Is(err, policy.ErrUnavailable):\n\t\treturn nil, err", "	case errors.Is(err, policy.ErrUnavailable):\n\t\treturn policy.Fixed(policy.Builtin()), nil"),
	{name: "policy: a database that is down is a configuration error", file: "proxy/cli/offline.go", old: "		return ExitDown", new: "		return ExitConfig", pkgs: []string{"./proxy/cli"}, run: "DatabaseIsDown"},
}

func boundMutant(name, was, now string) mutant {
	return mutant{name: "argument: " + name, file: "guards/argument/argument.go", old: was, new: now, pkgs: []string{"./guards/argument"}}
}

func lintMutant(name, was, now string) mutant {
	return mutant{name: "policy lint: " + name, file: "policy/lint.go", old: was, new: now, pkgs: []string{"./policy"}, run: "Lint"}
}

func ownerMutant(name, was, now string) mutant {
	return mutant{name: "owner: " + name, file: "proxy/pipeline/authorize.go", old: was, new: now, pkgs: []string{"./proxy/sidecar"}, run: "Owner"}
}

func storeMutant(name, file, was, now string) mutant {
	return mutant{name: "policy: " + name, file: file, old: was, new: now, pkgs: []string{"./policy"}, run: "Postgres|DSN"}
}

func liveMutant(name, was, now string) mutant {
	return mutant{name: "policy: " + name, file: "policy/live.go", old: was, new: now, pkgs: []string{"./policy"}, run: "Live"}
}

func followMutant(name, file, was, now string) mutant {
	return mutant{name: "policy: " + name, file: file, old: was, new: now, pkgs: []string{"./proxy/sidecar"}, run: "Policy|ArgumentRules"}
}

func listedMutant(name, file, was, now string) mutant {
	return mutant{name: "what servers list: " + name, file: file, old: was, new: now, pkgs: []string{"./proxy/sidecar"}, run: "UnlistedIsLogged"}
}
