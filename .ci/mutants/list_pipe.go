package main

var (
	pipeTests  = []string{"./proxy/front", "./proxy/sidecar"}
	childTests = []string{"./proxy"}
)

// pipeMutants weaken the stdio half towards the client, and what the sidecar's own
// children get to see.
var pipeMutants = []mutant{
	{name: "pipe: a refused notification is answered", file: "proxy/front/stdio_out.go", old: "case s.kind == wire.Notification || s.kind == wire.Response:", new: "case s.kind == wire.Response:", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a refused response is answered", file: "proxy/front/stdio_out.go", old: "case s.kind == wire.Notification || s.kind == wire.Response:", new: "case s.kind == wire.Notification:", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a lost session is silence", file: "proxy/front/stdio_out.go", old: "\treturn s.silence(a)\n", new: "\treturn nil\n", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: messages of several lines", file: "proxy/front/stdio_out.go", old: "if c == '\\n' || c == '\\r' {", new: "if c == '\\r' {", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: the session of a refused initialize", file: "proxy/front/stdio_out.go", old: `if s.session != "" && a.Outcome == pipeline.Allowed {`, new: `if s.session != "" {`, pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: printing goes on after the end", file: "proxy/front/stdio.go", old: "\tp.out.close()\n", new: "", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a long line passes", file: "proxy/front/stdio.go", old: "\tcase l.large:\n", new: "\tcase false:\n", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: requests without a bound", file: "proxy/front/stdio.go", old: "\tcase p.slots <- struct{}{}:\n\tdefault:\n\t\tp.alone(ctx, p.refuse(l, tooMany), o)\n\t\treturn\n", new: "\tcase p.slots <- struct{}{}:\n\tdefault:\n\t\tgo func() { p.slots <- struct{}{} }()\n", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: notifications are overtaken", file: "proxy/front/stdio.go", old: "\tdefault:\n\t\tp.alone(ctx, p.call(l), o)\n", new: "\tdefault:\n\t\tgo p.alone(ctx, p.call(l), o)\n", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a cancellation overtakes", file: "proxy/front/stdio.go", old: "case o.Cancels != nil && p.cancelLater(l, o):", new: "case false && p.cancelLater(l, o):", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: initialize names a session", file: "proxy/front/stdio.go", old: "\t\tc.Head.Session = \"\" // it opens one\n", new: "", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: calls are not cut at the end", file: "proxy/front/stdio.go", old: "p.cutAfter(drainTime)", new: "p.cutAfter(10 * drainTime)", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: the session stays open", file: "proxy/front/stdio.go", old: "\t\tp.endSession(s)\n", new: "", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a stream without a credential", file: "proxy/front/stdio_session.go", old: " || p.opts.Authenticated && p.shown.Len() == 0", new: "", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a refused stream is opened for ever", file: "proxy/front/stdio_session.go", old: "\t\tif !w.again() {\n", new: "\t\tif false {\n", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a stream starts over", file: "proxy/front/stdio_session.go", old: "wire.Watch, s.id, w.last", new: "wire.Watch, s.id, \"\"", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a lost session stays lost", file: "proxy/front/stdio_renew.go", old: "s.renews = c.Head.Session != \"\"", new: "s.renews = false", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a session for each request that lost its own", file: "proxy/front/stdio_renew.go", old: "s == nil || s.id != lost {", new: "s == nil {", pkgs: pipeTests, run: "Stdio"},
	{name: "pipe: a session of another revision", file: "proxy/front/stdio_renew.go", old: "if agreedVersion(r.answer) != version {", new: "if agreedVersion(r.answer) == version+\"x\" {", pkgs: pipeTests, run: "Stdio"},
	{name: "session: lost ones look like unknown tools", file: "proxy/pipeline/inspect_input.go", old: "\tif p.sessions.ended(c.Session) {", new: "\tif false {", pkgs: []string{"./proxy/sidecar"}, run: "UpstreamLoses"},
	{name: "pipe: its session expires", file: "proxy/pipeline/session.go", old: "return !s.piped && (", new: "return (", pkgs: pipeTests, run: "Pipe"},
	{name: "pipe: the token file is read once", file: "proxy/sidecar/pipe.go", old: "\treturn token\n}\n\n// anyone is", new: "\ts.opts.Token, s.opts.TokenFile = identity.NewSecret(token), \"\"\n\treturn token\n}\n\n// anyone is", pkgs: []string{"./proxy/sidecar"}, run: "Pipe"},

	{name: "child: sees the sidecar's settings", file: "proxy/sidecar/child.go", old: " && !config.IsOwnVariable(variable)", new: "", pkgs: childTests, run: "Environment"},
	{name: "child: sees the sidecar's credentials", file: "proxy/sidecar/child.go", old: " && !s.own.holds(value)", new: " && !s.own.holds(value[:0])", pkgs: childTests, run: "Environment"},
	{name: "child: a credential inside a value", file: "proxy/sidecar/secret.go", old: "len(secret) >= secrets.ShortestOwn && strings.Contains(text, secret)", new: "false", pkgs: childTests, run: "Environment"},
	{name: "child: a credential by name", file: "proxy/sidecar/child.go", old: "\t\tif s.own.holds(value) {\n", new: "\t\tif false {\n", pkgs: childTests, run: "Environment"},
	{name: "child: serve hands on everything", file: "proxy/sidecar/child.go", old: "if u.EnvAllow == nil && s.cfg.Local {", new: "if true {", pkgs: childTests, run: "Environment"},
	{name: "child: a credential that is not used", file: "proxy/sidecar/secret.go", old: "\t\tfiles = append(files, unused.File, unused.ClientSecretFile)\n", new: "\t\t_ = unused\n", pkgs: childTests, run: "Environment"},
	{name: "child: the caller's token", file: "proxy/sidecar/secret.go", old: "\ts.own.learn(\"the caller's token\", s.opts.Token.Reveal())\n\ts.callerToken()\n", new: "", pkgs: childTests, run: "Environment"},
	{name: "child: says the sidecar's credentials", file: "proxy/sidecar/secret.go", old: "secrets.Redact(text, s.own.list()...)", new: "secrets.Redact(text)", pkgs: childTests, run: "Stderr"},
	{name: "child: says secrets", file: "proxy/sidecar/child.go", old: "name, s.redactChild(line))", new: "name, line)", pkgs: childTests, run: "Stderr"},
	{name: "child: says a key line by line", file: "proxy/sidecar/child.go", old: "if !key.hold(line) {", new: "if key.hold(line); true {", pkgs: childTests, run: "Stderr"},
	{name: "wrap: stderr blocks", file: "proxy/cli/wrap.go", old: "\tio.Err = stderr\n", new: "", pkgs: childTests, run: "UnreadStderr"},
	{name: "wrap: a closed stderr kills", file: "proxy/cli/wrap.go", old: "\tsignal.Notify(broken, syscall.SIGPIPE)\n", new: "\tsignal.Notify(broken, syscall.SIGHUP)\n", pkgs: childTests, run: "UnreadStderr|ClosedStdout"},
	{name: "wrap: two tokens", file: "proxy/cli/wrap.go", old: `if !o.Token.Empty() && o.TokenFile != "" {`, new: "if false {", pkgs: childTests, run: "ExitCodes"},
	{name: "wrap: a server that ends is not noticed", file: "proxy/sidecar/pipe.go", old: "\t\tcase <-c.Done():\n", new: "\t\tcase <-make(chan struct{}):\n", pkgs: childTests, run: "ExitCodes"},
	{name: "wrap: a server that cannot be started is not noticed", file: "proxy/sidecar/pipe.go", old: "\t\tcase err := <-c.failed:\n", new: "\t\tcase err := <-make(chan error):\n", pkgs: childTests, run: "ExitCodes"},
}
