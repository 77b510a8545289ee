package main

var (
	credentialTests = []string{"./proxy/identity", "./proxy/backend", "./proxy/sidecar"}
	echoTests       = []string{"./guards/secrets", "./proxy/sidecar"}
)

// credentialMutants show an upstream something else than what it is meant to see,
// or show others what is meant for it.
var credentialMutants = []mutant{
	{name: "shown: is printed", file: "proxy/identity/credential.go", old: "func (c Credential) String() string               { return redacted }", new: "func (c Credential) String() string               { return c.Reveal() }", pkgs: credentialTests, run: "Secret|Credential"},
	{name: "shown: any text of a file", file: "proxy/identity/stored.go", old: "if err = s.opts.Accept(value); err == nil {", new: "if err = nil; err == nil {", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: files are read once", file: "proxy/identity/stored.go", old: "s.opts.File != \"\" && !within(now, s.read, fileCheck)", new: "false && !within(now, s.read, fileCheck)", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: a broken file leaves nothing", file: "proxy/identity/stored.go", old: "\tif s.err = err; err == nil {\n", new: "\tif s.err = err; err != nil {\n\t\ts.value = Credential{}\n\t}\n\tif err == nil {\n", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: a refused file is not looked at", file: "proxy/identity/stored.go", old: "\tcase s.opts.File != \"\":\n\t\ts.look(now)\n", new: "\tcase s.opts.File != \"\":\n", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: a command for each refusal", file: "proxy/identity/stored.go", old: "s.opts.Command != nil && !within(now, s.read, commandAgain)", new: "s.opts.Command != nil", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: a command for each call while it fails", file: "proxy/identity/stored.go", old: "within(now, s.read, commandRetry)", new: "false", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: a command for each caller", file: "proxy/identity/stored.go", old: "s.runs.DoChan(\"\", ", new: "s.runs.DoChan(fmt.Sprint(time.Now(), new(int)), ", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: what a command printed does not age", file: "proxy/identity/stored.go", old: "s.opts.MaxAge > 0 && !within(now, s.read, s.opts.MaxAge)", new: "false && !within(now, s.read, s.opts.MaxAge)", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: an old one stands in for a command that fails", file: "proxy/identity/stored.go", old: "\ts.value = Credential{} // it is too old, or was refused\n", new: "", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: a command ends with its first caller", file: "proxy/identity/stored.go", old: "s.run(context.WithoutCancel(ctx))", new: "s.run(ctx)", pkgs: credentialTests, run: "Stored|Credential"},
	{name: "shown: files of any size", file: "proxy/identity/stored.go", old: ` || len(text) > maxSecret`, new: "", pkgs: credentialTests, run: "SecretFile"},
	{name: "shown: output of any size", file: "proxy/identity/command.go", old: "b.full = b.full || b.text.Len()+len(p) > maxSecret; b.full", new: "b.full", pkgs: credentialTests, run: "Command"},
	{name: "shown: commands inherit the environment", file: "proxy/identity/command.go", old: "append([]string{}, env...) // nil would inherit", new: "append(cmd.Environ(), env...)", pkgs: credentialTests, run: "Command|Credential"},
	{name: "shown: commands see the sidecar's settings", file: "proxy/sidecar/secret.go", old: "\t\treturn config.IsOwnVariable(variable)\n", new: "\t\treturn variable == \"\"\n", pkgs: []string{"./proxy/sidecar"}, run: "Credential"},
	{name: "shown: commands leave processes behind", file: "proxy/identity/command_unix.go", old: "syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)", new: "syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)", pkgs: credentialTests, run: "Command"},
	{name: "shown: nothing is shown where there is none", file: "proxy/backend/http.go", old: "if err == nil && c.Empty() {", new: "if false {", pkgs: credentialTests, run: "Credential"},
	{name: "shown: a refused one is shown again", file: "proxy/backend/http.go", old: "\tif !ok {\n\t\treturn resp, nil\n\t}\n", new: "", pkgs: credentialTests, run: "Credential"},
	{name: "shown: any failure asks for another", file: "proxy/backend/http.go", old: "resp.StatusCode != http.StatusUnauthorized ||", new: "resp.StatusCode < 400 ||", pkgs: credentialTests, run: "Credential"},
	{name: "shown: refused ones are not replaced", file: "proxy/backend/http.go", old: "if err != nil || resp.StatusCode != http.StatusUnauthorized ||", new: "if true ||", pkgs: credentialTests, run: "Credential"},
	{name: "shown: a probe is ready whoever refuses it", file: "proxy/backend/ready.go", old: "case p.nobody && (", new: "case (", pkgs: credentialTests, run: "Ready|Probe|Readiness"},
	{name: "shown: a missing one counts as a failing command", file: "proxy/backend/party.go", old: " && !errors.Is(why, identity.ErrNoCredential)", new: "", pkgs: credentialTests, run: "StdioCredential"},
	{name: "shown: the caller's token is shown", file: "proxy/sidecar/secret.go", old: "\tif value == s.callerToken() {\n", new: "\tif false {\n", pkgs: []string{"./proxy/sidecar"}, run: "Credential"},
	{name: "shown: a missing one reads as a failing upstream", file: "proxy/pipeline/execute.go", old: "\tcase errors.Is(err, identity.ErrNoCredential):\n", new: "\tcase false:\n", pkgs: []string{"./proxy/sidecar"}, run: "Credential"},
	{name: "shown: without one tools are unknown", file: "proxy/pipeline/inventory.go", old: "errors.Is(err, identity.ErrNoCredential) {\n\t\t\t\treturn", new: "false {\n\t\t\t\treturn", pkgs: []string{"./proxy/sidecar"}, run: "Credential"},
	{name: "shown: a missing one is remembered as a failed listing", file: "proxy/pipeline/inventory.go", old: "\t\tcase errors.Is(err, identity.ErrNoCredential): // says nothing of the tools\n", new: "", pkgs: []string{"./proxy/sidecar"}, run: "Credential"},

	{name: "echo: the own credential is no secret", file: "guards/secrets/secrets.go", old: "found := Find(t.Value, t.Own...)", new: "found := Find(t.Value)", pkgs: echoTests, run: "Own"},
	{name: "echo: only the first time", file: "guards/secrets/own.go", old: "\t\t\tat += len(credential)\n", new: "\t\t\tat = len(c.text)\n", pkgs: echoTests, run: "Own"},
	{name: "echo: ordinary words are credentials", file: "guards/secrets/own.go", old: "if len(credential) < ShortestOwn {", new: "if credential == \"\" {", pkgs: echoTests, run: "Own"},
	{name: "echo: nothing where secrets are not guarded", file: "proxy/pipeline/pipeline.go", old: "\t\treturn guards.Enforce\n\t}\n\tif m, ok", new: "\t\treturn guards.Observe\n\t}\n\tif m, ok", pkgs: []string{"./proxy/sidecar"}, run: "Own"},
	{name: "echo: nothing in observe", file: "proxy/pipeline/findings.go", old: "if o.p.opts.Passive { // every other guard observes there", new: "if false {", pkgs: []string{"./proxy/sidecar"}, run: "Own"},
	{name: "echo: nothing in names", file: "proxy/pipeline/findings.go", old: "Wrap: guards.WrapOff, Own: o.own})", new: "Wrap: guards.WrapOff})", pkgs: []string{"./proxy/sidecar"}, run: "Own"},
	{name: "echo: nothing over seams", file: "proxy/pipeline/window.go", old: "Wrap: guards.WrapOff, Own: o.own, Trusted:", new: "Wrap: guards.WrapOff, Trusted:", pkgs: []string{"./proxy/sidecar"}, run: "Own"},
	{name: "echo: nothing inside JSON", file: "proxy/pipeline/nested.go", old: "l.text.Trusted, l.text.Source, o.own, guards.WrapOff", new: "l.text.Trusted, l.text.Source, nil, guards.WrapOff", pkgs: []string{"./proxy/sidecar"}, run: "Own"},
	{name: "echo: only marked", file: "proxy/pipeline/window.go", old: "return g.Name() == redacting || g.Name() == ownCredential }", new: "return g.Name() == redacting }", pkgs: []string{"./proxy/sidecar"}, run: "Own"},
	{name: "echo: the record holds it", file: "proxy/sidecar/build.go", old: "audit.Options{Redact: s.redact,", new: "audit.Options{Redact: func(t string) string { return t },", pkgs: []string{"./proxy/sidecar"}},
	{name: "echo: no guard", file: "proxy/sidecar/endpoint.go", old: "{secrets.OwnGuard{}, secrets.New(), injection.New()}", new: "{secrets.New(), injection.New()}", pkgs: []string{"./proxy/sidecar"}, run: "Own"},
	{name: "echo: what was replaced is forgotten at once", file: "proxy/sidecar/secret.go", old: "const remembered = 3", new: "const remembered = 1", pkgs: []string{"./proxy/sidecar"}, run: "Own"},
}
