package main

// Of following a policy while decisions are made.
var policyMutants = []mutant{
	liveMutant("for ever", "return age < 0 || age >= l.opts.MaxAge", "return age < -1<<62"),
	liveMutant("a moment longer", "age >= l.opts.MaxAge //", "age > l.opts.MaxAge //"),
	liveMutant("a clock that was set back", "return age < 0 || age", "return age"),
	liveMutant("what cannot be read is confirmed", "	case err != nil:\n\t\treturn err\n\tcase now == s.source:", "	case err != nil, now == s.source:"),
	liveMutant("confirmed when it was answered, with what was before", "l.confirm(&state{engine: engine, source: rows.Revision, confirmed: asked})", "_ = engine\n\tl.confirm(&state{engine: s.engine, source: rows.Revision, confirmed: asked})"),
	liveMutant("bad rows are read with every look", "case l.bad.err != nil && now == l.bad.revision:", "case false:"),
	liveMutant("bad rows are an empty policy", "		l.bad = badPolicy{rows.Revision, err}\n\t\treturn &l.bad", "		engine, _ = CompileRows(Rows{}, nil)"),
	liveMutant("files that are being written", "case l.opts.Settle && now != l.seen:", "case false:"),
	liveMutant("a panic ends following", "			err = fmt.Errorf(\"panic of type %T\", v)", "			panic(fmt.Sprint(v))"),
	liveMutant("said with every look", "text == l.reason {", "text == \"\" {"),
	liveMutant("nobody says that nothing is decided", "if l.stale = !l.stale; l.stale {", "if l.stale = !l.stale; false {"),
	liveMutant("roles from the configuration are lost", "CompileRows(rows, l.opts.Extra)\n\t}", "CompileRows(rows, nil)\n\t}"),
	followMutant("old policies decide", "proxy/pipeline/authorize.go", "if err != nil && c.Verb != wire.End {", "if false {"),
	followMutant("sessions cannot be ended", "proxy/pipeline/authorize.go", "if err != nil && c.Verb != wire.End {", "if err != nil {"),
	followMutant("streams keep the policy under which they began", "proxy/pipeline/execute.go", "p.shows(now, c, row.kind, uri)", "now != nil && p.visible(c, row.kind, uri)"),
	followMutant("the file is read once", "proxy/sidecar/sidecar.go", "	s.busy.Go(func() { s.followPolicy(s.life) })\n", ""),
	followMutant("max_age is not heeded", "proxy/sidecar/policy.go", "MaxAge: s.cfg.Policy.Age(), ", ""),
	followMutant("ready although nothing is decided", "proxy/sidecar/policy.go", "return c, !h.Stale", "return c, true"),
	followMutant("changes are not on record", "proxy/sidecar/policy.go", "		s.recordPolicy(e, \"changed\", \"\")\n", ""),
}

func liveMutant(name, was, now string) mutant {
	return mutant{name: "policy: " + name, file: "policy/live.go", old: was, new: now, pkgs: []string{"./policy"}, run: "Live"}
}

func followMutant(name, file, was, now string) mutant {
	return mutant{name: "policy: " + name, file: file, old: was, new: now, pkgs: []string{"./proxy/sidecar"}, run: "Policy"}
}
