package main

var (
	carrierTests = []string{"./proxy/sidecar"}
	recheckTests = []string{"./proxy/pipeline"}
	revokedTests = []string{"./proxy/identity", "./proxy/sidecar"}
)

// carrierMutants take a token from where none may stand, let two pass, let one
// travel on, or keep open what was opened with one.
var carrierMutants = []mutant{
	{name: "carrier: two tokens on one message", file: "proxy/pipeline/authenticate.go", old: "	if c.doubt != nil {", new: "	if false {", pkgs: carrierTests, run: "Denied|Argument|Pipe"},
	{name: "carrier: two tokens on a large message", file: "proxy/pipeline/authenticate.go", old: "	if c.doubt != nil {", new: "	if c.doubt != nil && !c.verified {", pkgs: carrierTests, run: "Denied|Argument"},
	{name: "carrier: refused headers come back as ids", file: "proxy/pipeline/call.go", old: "[...]identity.Secrets{c.Head.Authorization, c.Head.QueryTokens}", new: "[...]identity.Secrets{c.Head.QueryTokens}", pkgs: carrierTests, run: "Denied"},
	{name: "carrier: the second header comes back as an id", file: "proxy/pipeline/call.go", old: "for i := range values.Len() {", new: "for i := range min(1, values.Len()) {", pkgs: carrierTests, run: "Denied"},
	{name: "carrier: the query comes back as an id", file: "proxy/pipeline/call.go", old: "[...]identity.Secrets{c.Head.Authorization, c.Head.QueryTokens}", new: "[...]identity.Secrets{c.Head.Authorization}", pkgs: carrierTests, run: "Denied"},
	{name: "carrier: a header without a scheme comes back as an id", file: "proxy/pipeline/call.go", old: "	if _, token, ok := strings.Cut(value, \" \"); ok {\n		value = token\n	}", new: "	_, value, _ = strings.Cut(value, \" \")", pkgs: carrierTests, run: "Denied"},
	{name: "carrier: the header is forgotten beside _meta", file: "proxy/pipeline/call.go", old: "c.presented.Add(identity.NewSecret(credential))", new: "c.presented = identity.NewSecrets(credential)", pkgs: carrierTests, run: "Denied"},

	{name: "argument: it counts although nobody asked for that", file: "proxy/sidecar/endpoint.go", old: "if s.cfg.Auth == nil || !s.cfg.Auth.TokenArgument {", new: "if s.cfg.Auth == nil {", pkgs: carrierTests, run: "Denied|Argument"},
	{name: "argument: it counts for prompts", file: "proxy/pipeline/credential.go", old: ` || m.Method != "tools/call" {`, new: " {", pkgs: carrierTests, run: "Denied"},
	{name: "argument: it counts beside another token", file: "proxy/pipeline/credential.go", old: "	if c.tokens().Len() == 0 {", new: "	if true {", pkgs: carrierTests, run: "Denied|Argument"},
	{name: "argument: a second token passes", file: "proxy/pipeline/credential.go", old: "	case c.argument != 0 && !carried:", new: "	case false:", pkgs: carrierTests, run: "Denied|Argument"},
	{name: "argument: a second token comes back as an id", file: "proxy/pipeline/credential.go", old: "		c.present(c.Msg.Text(c.argument))\n", new: "", pkgs: carrierTests, run: "Denied"},
	{name: "argument: a tool is given the caller's token as its own", file: "proxy/pipeline/credential.go", old: "	case own && carried:", new: "	case false:", pkgs: carrierTests, run: "Denied"},
	{name: "argument: a tool is given the header's token as its own", file: "proxy/pipeline/credential.go", old: "		return c.checkOwnArgument()", new: "		return nil", pkgs: carrierTests, run: "Denied"},
	{name: "argument: a tool with another spelling has none", file: "proxy/pipeline/credential.go", old: "if own == name || wire.FoldsTo(own, name) {", new: "if own == name {", pkgs: carrierTests, run: "Denied|Argument"},
	{name: "argument: a tool with any schema has none", file: "proxy/pipeline/credential.go", old: "	return t.known && !t.plain", new: "	return false", pkgs: carrierTests, run: "Denied|Argument"},
	{name: "argument: it travels on under another spelling", file: "proxy/pipeline/credential.go", old: "\t\treturn refusal // left", new: "\t\t_ = refusal // left", pkgs: carrierTests, run: "Denied"},
	{name: "argument: it travels on", file: "proxy/pipeline/inspect_input.go", old: "return i == c.carrier || c.Msg", new: "return c.Msg", pkgs: carrierTests, run: "Argument"},
	{name: "argument: it travels on where nothing is changed", file: "proxy/pipeline/inspect_input.go", old: "		return c.argumentPatches(own, hidden)", new: "		return nil, nil", pkgs: carrierTests, run: "Argument"},
	{name: "argument: guards see it", file: "proxy/pipeline/inspect_input.go", old: "		if i == c.carrier {", new: "		if false {", pkgs: []string{"./proxy/pipeline"}, run: "Argument"},
	{name: "argument: it names the origin of a result", file: "proxy/pipeline/inspect_output.go", old: "if i == wire.Absent || i == c.carrier {", new: "if i == wire.Absent {", pkgs: carrierTests, run: "Argument"},
	{name: "argument: the same again, when an answer comes once more", file: "proxy/pipeline/asked.go", old: ", carrier: c.carrier,", new: ",", pkgs: []string{"./proxy/pipeline"}, run: "Argument"},
	{name: "argument: state belongs to a token", file: "proxy/pipeline/credential.go", old: "	if c.carrier == 0 || c.carrier != c.argument {\n		return m.Value(args)", new: "	if true {\n		return m.Value(args)", pkgs: carrierTests, run: "Argument"},
	{name: "argument: it may stand elsewhere behind it", file: "proxy/pipeline/credential.go", old: "if c.holdsCredential(int(c.Msg.Nodes[c.argument].Next), until) {", new: "if false {", pkgs: carrierTests, run: "Denied"},
	{name: "argument: other hosts may send it", file: "proxy/config/validate_caller.go", old: "	case listenDefect(c.Listen) == \"\" && !isLoopback(listenHost(c.Listen)):\n		k.bad(\"auth.token_argument\"", new: "	case false:\n		k.bad(\"auth.token_argument\"", pkgs: []string{"./proxy/config"}},
	{name: "argument: other hosts may send it through a proxy", file: "proxy/config/validate_caller.go", old: "	case c.BehindTLSProxy, u != nil", new: "	case u != nil", pkgs: []string{"./proxy/config"}},
	{name: "argument: other hosts may send it under a public name", file: "proxy/config/validate_caller.go", old: "	case c.BehindTLSProxy, u != nil && !isLoopback(u.Hostname()):", new: "	case c.BehindTLSProxy, u == nil && false:", pkgs: []string{"./proxy/config"}},
	{name: "argument: it is set by two", file: "proxy/config/validate_caller.go", old: "if strings.EqualFold(name, TokenArgumentName) {", new: "if false {", pkgs: []string{"./proxy/config"}},
	{name: "recheck: never", file: "proxy/sidecar/recheck.go", old: "\t\te.pipeline.Recheck()\n", new: "\t\t_ = e\n", pkgs: carrierTests, run: "Revoked"},
	{name: "recheck: a refused token keeps its stream", file: "proxy/pipeline/recheck.go", old: "	case err == nil || errors.As(err, &refusal):", new: "	case err == nil || errors.As(err, &refusal) && refusal == nil:", pkgs: recheckTests, run: "Recheck"},
	{name: "recheck: somebody else's token keeps a stream", file: "proxy/pipeline/recheck.go", old: "good := err == nil && who.Key() == s.owner", new: "good := err == nil && who.Key() != \"\"", pkgs: recheckTests, run: "Recheck"},
	{name: "recheck: an expired token was revoked", file: "proxy/pipeline/recheck.go", old: "	case errors.Is(err, identity.ErrExpired):", new: "	case false:", pkgs: recheckTests, run: "Recheck"},
	{name: "recheck: patience without end", file: "proxy/pipeline/recheck.go", old: "	case now.Sub(verified) >= unverifiedTime:", new: "	case now.Sub(verified) >= 1000*unverifiedTime:", pkgs: recheckTests, run: "Recheck"},
	{name: "recheck: no patience", file: "proxy/pipeline/recheck.go", old: "	case now.Sub(verified) >= unverifiedTime:", new: "	case now.Sub(verified) >= 0:", pkgs: recheckTests, run: "Recheck"},
	{name: "recheck: patience is not renewed", file: "proxy/pipeline/recheck.go", old: "		s.verified = now\n", new: "		_ = now\n", pkgs: recheckTests, run: "Recheck"},
	{name: "recheck: one question after the other while one hangs", file: "proxy/pipeline/recheck.go", old: "		if !busy {", new: "		if !busy || true {", pkgs: recheckTests, run: "Recheck"},
	{name: "recheck: streams that have ended are remembered", file: "proxy/pipeline/recheck.go", old: "		delete(o.all, s)\n", new: "", pkgs: recheckTests, run: "Recheck"},
	{name: "recheck: a panic ends everything", file: "proxy/pipeline/recheck.go", old: "		if v := recover(); v != nil {\n			err = ", new: "		if v := any(nil); v != nil {\n			err = ", pkgs: recheckTests, run: "Recheck"},
	{name: "revoked: nobody looks at the list", file: "proxy/identity/verifiers.go", old: "if err := vs.Revoked.check(token, d, p); err != nil {", new: "if err := vs.Revoked.check(token, d, p); false && err != nil {", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: the list is read once", file: "proxy/sidecar/recheck.go", old: "		s.verifiers.Revoked.Look()\n", new: "", pkgs: carrierTests, run: "Revoked"},
	{name: "revoked: a bad list does not keep from starting", file: "proxy/sidecar/verifier.go", old: "			return fmt.Errorf(\"%w: auth.revoked_file: %w\", ErrConfig, err)", new: "			return nil", pkgs: carrierTests, run: "Revoked"},
	{name: "revoked: by hash", file: "proxy/identity/revoked.go", old: "	if l.tokens[d] {\n		return true\n	}\n", new: "", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: one form of a signature", file: "proxy/identity/revoked.go", old: "ok && l.tokens[other] {", new: "ok && l.tokens[other] && false {", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: by id", file: "proxy/identity/revoked.go", old: "	if !p.TokenID.Empty() && l.ids", new: "	if false && l.ids", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: ids of any issuer", file: "proxy/identity/revoked.go", old: "l.ids[claimOf{p.Issuer, p.TokenID.Reveal()}]", new: "l.ids[claimOf{\"https://idp.example\", p.TokenID.Reveal()}] || l.ids[claimOf{\"https://other.example\", p.TokenID.Reveal()}]", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: signed tokens have no id", file: "proxy/identity/jwt.go", old: "		TokenID: c.ID, Issued: optionalDate(c.IssuedAt),\n", new: "		Issued: optionalDate(c.IssuedAt),\n", pkgs: carrierTests, run: "Revoked"},
	{name: "revoked: nobody knows when signed tokens were issued", file: "proxy/identity/jwt.go", old: "		TokenID: c.ID, Issued: optionalDate(c.IssuedAt),\n", new: "		TokenID: c.ID,\n", pkgs: carrierTests, run: "Revoked"},
	{name: "revoked: introspected tokens have no id", file: "proxy/identity/introspection.go", old: "		TokenID: a.ID, Issued: optionalDate(a.IssuedAt),\n", new: "		Issued: optionalDate(a.IssuedAt),\n", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: by subject", file: "proxy/identity/revoked.go", old: "	return listed && (", new: "	return false && listed && (", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: tokens of the second itself pass", file: "proxy/identity/revoked.go", old: "!p.Issued.After(until))", new: "p.Issued.Before(until))", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: tokens that do not say when they were issued pass", file: "proxy/identity/revoked.go", old: "until.IsZero() || p.Issued.IsZero() ||", new: "until.IsZero() || !p.Issued.IsZero() &&", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: the last entry of a user counts", file: "proxy/identity/revoked.go", old: "	if old, listed := l.subjects[c]; listed && (", new: "	if old, listed := l.subjects[c]; false && listed && (", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: a list that is being written is short", file: "proxy/identity/revoked.go", old: ", r.previous != nil && r.previous.holds(token, d, p):", new: ":", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: a list that takes two looks to write is short", file: "proxy/identity/revoked.go", old: "	if list != nil && r.previous != nil {\n", new: "	if list == nil && r.previous != nil {\n", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: nobody is ever taken off", file: "proxy/identity/revoked.go", old: "		r.previous = nil\n", new: "", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: a bad list is empty", file: "proxy/identity/revoked.go", old: "	list, err := parseRevoked(text)\n	if err == nil {\n", new: "	list, err := parseRevoked(text)\n	if err != nil {\n		list, err = parseRevoked(nil)\n	}\n	if err == nil {\n", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: a list may stay unreadable", file: "proxy/identity/revoked.go", old: "	case !passed(r.read, r.opts.Now(), RevokedPatience):\n		return nil\n	}\n	return errRevokedUnknown", new: "	case !passed(r.read, r.opts.Now(), RevokedPatience):\n		return nil\n	}\n	return nil", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: a moment longer", file: "proxy/identity/revoked.go", old: "	case !passed(r.read, r.opts.Now(), RevokedPatience):\n		return nil", new: "	case !passed(r.read, r.opts.Now(), RevokedPatience+1):\n		return nil", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: a bad list is as good as new", file: "proxy/identity/revoked.go", old: "	r.failure = err.Error()\n", new: "	r.failure, r.read = err.Error(), r.opts.Now()\n", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: said with every look", file: "proxy/identity/revoked.go", old: "	if err.Error() == r.failure {", new: "	if err.Error() == \"\" {", pkgs: revokedTests, run: "Revoked"},
	{name: "revoked: probes do not see that nobody is let in", file: "proxy/sidecar/diagnostics.go", old: "checks[0].OK && letsIn && reached", new: "checks[0].OK && (letsIn || true) && reached", pkgs: carrierTests, run: "Revoked"},
	{name: "revoked: probes do not see a bad list", file: "proxy/sidecar/diagnostics.go", old: "	return []Check{c}, letsIn", new: "	c.OK, c.Why = true, \"\"\n	return []Check{c}, letsIn", pkgs: carrierTests, run: "Revoked"},
	{name: "revoked: nobody says that an issuer is not known", file: "proxy/identity/revoked.go", old: "if foreign := list.foreign(r.opts.Issuers); len(foreign) > 0 {", new: "if foreign := list.foreign(r.opts.Issuers); len(foreign) > 1<<20 {", pkgs: revokedTests, run: "Revoked"},

	// What the canary of the whole suite is for: tests that look for something else
	// turn red.
	{name: "canary: a token is logged", file: "proxy/pipeline/authenticate.go", old: "	token, err := c.token()\n", new: "	token, err := c.token()\n	p.opts.Log.Info(\"verifying\", \"token\", token.Reveal())\n", pkgs: carrierTests, run: "TestListsAreFiltered|TestMetadata|TestSilentSessions"},
	{name: "canary: a token is recorded", file: "proxy/pipeline/record.go", old: "Would: c.Would,", new: "Would: c.presented,", pkgs: carrierTests, run: "TestListsAreFiltered|TestMetadata|TestSilentSessions"},
	{name: "canary: a token is sent to the server", file: "proxy/pipeline/execute.go", old: "Session: c.upstreamSession(), Owner: c.Principal.Key(), Delegated: c.delegated()}\n	if c.Verb", new: "Session: append(c.presented, \"\")[0], Owner: c.Principal.Key(), Delegated: c.delegated()}\n	if c.Verb", pkgs: carrierTests, run: "TestListsAreFiltered|TestSilentSessions"},
	{name: "canary: a token comes back", file: "proxy/pipeline/answer.go", old: "`,\"audit_id\":`...), c.ID)\n", new: "`,\"audit_id\":`...), c.ID+append(c.presented, \"\")[0])\n", pkgs: carrierTests, run: "TestFailedInitialize|TestSilentSessions"},
	{name: "argument: nobody is warned", file: "proxy/sidecar/summary.go", old: "if s.cfg.Auth != nil && s.cfg.Auth.TokenArgument {", new: "if false {", pkgs: carrierTests, run: "Argument"},
}
