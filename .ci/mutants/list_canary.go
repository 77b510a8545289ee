package main

import "slices"

// harness is where the canary of the whole suite searches at the end of each test, and
// tests that look for something else.
type harness struct{ name, pkg, tests string }

var (
	sidecarHarness  = harness{"", "./proxy/sidecar", "TestListsAreFiltered|TestMetadata|TestSilentSessions|TestFailedInitialize"}
	frontHarness    = harness{"", "./proxy/front", "TestPaths|TestStdioSession"}
	programHarness  = harness{", in the program", "./proxy", "TestWrapPrintsOnlyMessages|TestCanary$"}
	pipelineHarness = harness{", alone", "./proxy/pipeline", "TestDelegate|TestPipeSession|TestRecheck|TestRefusedSessionEnds"}
)

// leak lets a credential out, which every one of harnesses must notice.
func leak(what, file, old, changed string, harnesses ...harness) (all []mutant) {
	for _, h := range harnesses {
		all = append(all, mutant{name: "canary: " + what + h.name, file: file, old: old, new: changed, pkgs: []string{h.pkg}, run: h.tests})
	}
	return all
}

// canaryMutants let the credential of a caller's out.
var canaryMutants = slices.Concat(
	leak("a token is logged", "proxy/pipeline/authenticate.go", "	token, err := c.token()\n", "	token, err := c.token()\n	p.opts.Log.Info(\"verifying\", \"token\", token.Reveal())\n", sidecarHarness, pipelineHarness, programHarness),
	leak("a token is recorded", "proxy/pipeline/record.go", "Would: c.Would,", "Would: append(c.Would, c.presented.At(0).Reveal()),", sidecarHarness, pipelineHarness, programHarness),
	leak("a token is sent to the server", "proxy/pipeline/execute.go", "Session: c.upstreamSession(), Owner: c.Principal.Key(), Delegated: c.delegated()}\n	if c.Verb", "Session: c.presented.At(0).Reveal(), Owner: c.Principal.Key(), Delegated: c.delegated()}\n	if c.Verb", sidecarHarness, pipelineHarness),
	leak("a token comes back", "proxy/pipeline/answer.go", "`,\"audit_id\":`...), c.ID)\n", "`,\"audit_id\":`...), c.ID+c.presented.At(0).Reveal())\n", sidecarHarness, pipelineHarness, programHarness),
	leak("a token comes back in a header", "proxy/front/http.go", "	h.routes.notFound(w)\n", "	w.Header().Set(\"X-Debug\", r.Header.Get(\"Authorization\"))\n	h.routes.notFound(w)\n", frontHarness),
	leak("a token is handed on as something else", "proxy/front/stdio.go", "identity.NewSecrets(\"Bearer \" + token)\n", "identity.NewSecrets(\"Bearer \" + token)\n			c.Head.Version.Value = token\n", frontHarness),
	leak("a token stays in its message", "proxy/pipeline/credential.go", "return m.Edit(meta, func(i int) bool { return i == c.carrier })", "return m.Edit(meta, func(int) bool { return false })", pipelineHarness, programHarness),
	[]mutant{
		{name: "canary: an answer echoes the caller's token", file: "proxy/pipeline/inspect_output.go", old: "	for i := range c.presented.Len() {\n", new: "	for i := range c.presented.Len() * 0 {\n", pkgs: carrierTests, run: "TestCanaryOfCarriers"},
		{name: "canary: the log of a child echoes a caller's token", file: "proxy/sidecar/shown.go", old: "	if err == nil {\n		r.shown", new: "	if err != nil {\n		r.shown", pkgs: carrierTests, run: "TestCanaryOfCarriers"},
		{name: "canary: a token file is read once", file: "proxy/sidecar/pipe.go", old: "	s.own.learn(\"the caller's token\", token)\n", new: "", pkgs: carrierTests, run: "TestPipeTokenFileIsNotEchoed"},
		{name: "canary: tokens of callers pile up", file: "proxy/sidecar/shown.go", old: "		delete(ring.known, ring.order[ring.next])\n", new: "", pkgs: carrierTests, run: "TestShownTokens"},
		{name: "canary: a server asks with the caller's token", file: "proxy/pipeline/relay.go", old: "presented: c.presented, ", new: "", pkgs: recheckTests, run: "TestEchoOnStreams"},
		{name: "canary: an answer that comes again echoes the caller's token", file: "proxy/pipeline/asked.go", old: ", presented: c.presented,", new: ",", pkgs: recheckTests, run: "TestEchoOnStreams"},
	},
)
