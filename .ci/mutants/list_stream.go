package main

var streamTests = []string{"./proxy/pipeline", "./proxy/sidecar"}

// streamMutants weaken what is bound to a session or a principal: streams, what
// upstreams ask, tokens in messages, tasks, handles, state and URIs.
var streamMutants = []mutant{
	{name: "carrier: a token in _meta travels on", file: "proxy/pipeline/credential.go", old: "return i == c.carrier })", new: "return i == c.carrier && false })", pkgs: streamTests, run: "Meta|Pipe"},
	{name: "carrier: it counts over HTTP", file: "proxy/pipeline/credential.go", old: "case c.Transport != Stdio:", new: "case false:", pkgs: streamTests, run: "Meta|Pipe"},
	{name: "carrier: it may be one of two", file: "proxy/pipeline/credential.go", old: "case c.Head.Authorization.Len() > 0:", new: "case false:", pkgs: streamTests, run: "Meta|Pipe"},
	{name: "carrier: it may stand elsewhere as well", file: "proxy/pipeline/credential.go", old: "	c.carrier = at\n	c.present(m.Text(at))\n	switch", new: "	c.carrier = at\n	switch", pkgs: streamTests, run: "Meta|Pipe"},
	{name: "pipe: anything passes before a token is there", file: "proxy/pipeline/authenticate.go", old: "c.method != nil && c.method.unauthenticated && !p.delegates())", new: "true)", pkgs: streamTests, run: "Meta|Pipe"},
	{name: "pipe: no token is needed over HTTP to open a session", file: "proxy/pipeline/authenticate.go", old: "if c.Transport == Stdio && c.tokens().Len() == 0 &&", new: "if c.tokens().Len() == 0 &&", pkgs: streamTests, run: "Meta|Pipe|Denied"},
	{name: "pipe: everybody shares", file: "proxy/pipeline/authenticate.go", old: "c.Transport == Stdio && p.opts.SharedPipe", new: "c.Transport == Stdio", pkgs: streamTests, run: "Pipe"},

	{name: "watch: 2026-07-28 has streams", file: "proxy/pipeline/receive.go", old: "case c.Head.Version.Value == revisionModern, c.Verb", new: "case c.Verb", pkgs: streamTests, run: "Watch|Denied"},
	{name: "watch: without a session", file: "proxy/pipeline/receive.go", old: "c.Verb == wire.Watch && c.Head.Session == \"\"", new: "false", pkgs: streamTests, run: "Watch|Denied"},
	{name: "watch: any event id goes to the upstream", file: "proxy/pipeline/event.go", old: "return id, hmac.Equal([]byte(k.mark(session, id)), []byte(marked))", new: "return id, true", pkgs: streamTests, run: "Watch|Event"},
	{name: "watch: an event id is good in every session", file: "proxy/pipeline/event.go", old: "h.Write([]byte(session + \"\\x00\" + id))", new: "h.Write([]byte(id))", pkgs: streamTests, run: "Watch|Event"},
	{name: "watch: any text may be an event id", file: "proxy/pipeline/event.go", old: "|| !isVisible(marked) {", new: "{", pkgs: streamTests, run: "Watch|Event"},
	{name: "watch: event ids of any length", file: "proxy/pipeline/event.go", old: "|| len(marked) > maxEventID+markSize ", new: "", pkgs: streamTests, run: "Watch|Event"},
	{name: "watch: any number of streams", file: "proxy/pipeline/session.go", old: "if c.Session.watching >= maxWatching {", new: "if false {", pkgs: streamTests, run: "Watch"},
	{name: "watch: streams are not given back", file: "proxy/pipeline/session.go", old: "	c.Session.watching--\n", new: "", pkgs: streamTests, run: "Watch"},
	{name: "watch: streams outlive their token", file: "proxy/pipeline/execute.go", old: "if expiry := c.Principal.Expiry; !expiry.IsZero() {", new: "if expiry := c.Principal.Expiry; expiry.IsZero() {", pkgs: streamTests, run: "Watch"},
	{name: "asked: progress on nothing", file: "proxy/pipeline/authorize.go", old: "case c.method.need == ownAsked && !c.Session", new: "case false && !c.Session", pkgs: streamTests, run: "NotificationsPass"},
	{name: "watch: anybody's progress passes", file: "proxy/pipeline/execute.go", old: "return c.owns(m, token) || c.Verb == wire.Watch && (", new: "return c.owns(m, token) || c.Verb == wire.Watch && (true || ", pkgs: streamTests, run: "Watch"},
	{name: "resume: an answer to nothing passes", file: "proxy/pipeline/relay.go", old: "up.memo == nil {", new: "up.memo == nil && false {", pkgs: streamTests, run: "Watch|Resume"},
	{name: "resume: an answer that comes again is not inspected", file: "proxy/pipeline/relay.go", old: "c.result, err = p.inspectAnswer(c.memo, c.Msg)", new: "c.result = c.Msg.Raw", pkgs: streamTests, run: "Resume"},
	{name: "updates: of any resource", file: "proxy/pipeline/execute.go", old: "err == nil && checkURI(uri) == nil && p.shows(now, c, row.kind, uri)", new: "err == nil && now != nil && uri != \"\"", pkgs: streamTests, run: "Updates"},

	{name: "asked: what the client does not offer", file: "proxy/pipeline/authorize.go", old: "!c.Session.declared(c.method.capability)", new: "false", pkgs: streamTests, run: "Asked|Upstream|Refused"},
	{name: "asked: an id is used twice", file: "proxy/pipeline/asked.go", old: "case s.asked[a.id] != nil:", new: "case false:", pkgs: streamTests, run: "Asked"},
	{name: "asked: any number waits", file: "proxy/pipeline/asked.go", old: "case len(s.asked) >= maxOpen:", new: "case false:", pkgs: streamTests, run: "Asked"},
	{name: "asked: an answer counts twice", file: "proxy/pipeline/asked.go", old: "	delete(s.asked, key)\n", new: "", pkgs: streamTests, run: "Asked"},
	{name: "asked: any response passes", file: "proxy/pipeline/asked.go", old: "c.pending == nil {", new: "c.pending == nil && false {", pkgs: streamTests, run: "Asked|Denied"},
	{name: "asked: a question is not inspected", file: "proxy/pipeline/relay.go", old: "c.result, err = p.inspectOutput(c, c.Msg)", new: "c.result = c.Msg.Raw", pkgs: streamTests, run: "Asked"},

	{name: "tasks: without the rules of their tool", file: "proxy/pipeline/given.go", old: "c.rule, c.tool.output = o.tool, p.opts.Rules[o.tool], o.output", new: "c.rule = o.tool, p.opts.Rules[\"\"]", pkgs: streamTests, run: "Task"},
	{name: "tasks: ask for what nobody offers", file: "proxy/pipeline/inspect_task.go", old: "if refusal := o.c.checkInputRequests(m, f); refusal != nil {", new: "if refusal := o.c.checkInputRequests(m, f); false {", pkgs: streamTests, run: "InputRequests"},
	{name: "tasks: anybody's", file: "proxy/pipeline/given.go", old: "if !ok {\n\t\t// The same words", new: "if !ok && false {\n\t\t// The same words", pkgs: streamTests, run: "Task|Denied"},
	{name: "tasks: answers about tasks teach", file: "proxy/pipeline/given.go", old: "c.method == nil || c.method.need == ownTask ||", new: "c.method == nil ||", pkgs: streamTests, run: "Task"},
	{name: "handles: in another case", file: "proxy/pipeline/given.go", old: "refusal := c.ambiguous(name)", new: "refusal := c.ambiguous(\"\")", pkgs: streamTests, run: "Handle"},
	{name: "handles: anybody's", file: "proxy/pipeline/given.go", old: "p.given.holds(c.Principal.Key(), handleID", new: "true || p.given.holds(c.Principal.Key(), handleID", pkgs: streamTests, run: "Handle"},
	{name: "handles: every member is one", file: "proxy/pipeline/given.go", old: "if m.Name(i) == name {", new: "if m.Name(i) == name || true {", pkgs: streamTests, run: "Handle"},
	{name: "handles: a list of them", file: "proxy/pipeline/given.go", old: "if at == wire.Absent {\n\t\treturn nil", new: "if at == wire.Absent || c.Msg.Nodes[at].Kind == '[' {\n\t\treturn nil", pkgs: streamTests, run: "Handle"},

	{name: "state: it is not sealed", file: "proxy/pipeline/seal.go", old: "p.seal.seal(m.Text(at), c.binding(p.opts.Server))", new: "m.Text(at)", pkgs: streamTests, run: "State|Sealer"},
	{name: "state: for any principal", file: "proxy/pipeline/seal.go", old: "server, c.Principal.Key(), c.Method", new: "server, \"\", c.Method", pkgs: streamTests, run: "State"},
	{name: "state: for any target", file: "proxy/pipeline/seal.go", old: "c.Method, c.Target, arguments)", new: "c.Method, \"\", arguments)", pkgs: streamTests, run: "State"},
	{name: "state: for integers that look alike", file: "proxy/pipeline/seal.go", old: "jsontext.CanonicalizeRawInts(false)", new: "jsontext.CanonicalizeRawInts(true)", pkgs: streamTests, run: "State"},
	{name: "state: for any arguments", file: "proxy/pipeline/seal.go", old: "canonical(c.argumentsWithoutToken(), ", new: "canonical(nil, ", pkgs: streamTests, run: "State"},
	{name: "state: for ever", file: "proxy/pipeline/seal.go", old: " || uint64(s.now().Unix()) > binary.BigEndian.Uint64(plain)", new: "", pkgs: streamTests, run: "State|Sealer"},
	{name: "state: servers ask for what is not offered", file: "proxy/pipeline/seal.go", old: "at == wire.Absent || c.Msg.Nodes[at].Kind != '{' {", new: "at == wire.Absent && false {", pkgs: streamTests, run: "InputRequests"},
	{name: "state: any key is long enough", file: "proxy/sidecar/build.go", old: "len(key) < shortestKey", new: "false", pkgs: streamTests, run: "SealKey"},

	{name: "rate: nobody waits", file: "proxy/pipeline/authorize.go", old: "; wait > 0 {", new: "; false {", pkgs: streamTests, run: "Rate"},
	{name: "rate: refused requests cost too", file: "proxy/pipeline/rate.go", old: "if b.tokens < 1 {\n\t\tr.buckets[owner] = b", new: "if b.tokens < 1 {\n\t\tb.tokens--\n\t\tr.buckets[owner] = b", pkgs: streamTests, run: "Rate"},
	{name: "rate: a long silence is saved up", file: "proxy/pipeline/rate.go", old: "bucket{min(float64(limit.Burst), b.tokens+max(0, gained)), now}", new: "bucket{b.tokens + max(0, gained), now}", pkgs: streamTests, run: "Rate"},
	{name: "rate: who waits is forgotten", file: "proxy/pipeline/rate.go", old: "if b.refilled(limit, now).tokens >= float64(limit.Burst) {", new: "if b.at.Before(now.Add(time.Hour)) {", pkgs: streamTests, run: "Rate"},

	{name: "uri: dot segments", file: "proxy/pipeline/target.go", old: `if segment == "." || segment == ".." {`, new: `if segment == "." {`, pkgs: streamTests, run: "URI|Denied"},
	{name: "uri: backslashes", file: "proxy/pipeline/target.go", old: `return r == '/' || r == '\\' })`, new: `return r == '/' })`, pkgs: streamTests, run: "URI|Denied"},
	{name: "uri: encoded letters", file: "proxy/pipeline/target.go", old: "(isUnreserved(c) ||", new: "(false ||", pkgs: streamTests, run: "URI|Denied"},
	{name: "uri: empty segments of files", file: "proxy/pipeline/target.go", old: `strings.Contains(file, "//")`, new: `strings.Contains(file, "////////")`, pkgs: streamTests, run: "URI|Denied"},
	{name: "uri: an empty query", file: "proxy/pipeline/target.go", old: `i+1 == len(uri) || uri[i:i+2] == "?#" {`, new: "false {", pkgs: streamTests, run: "URI|Denied"},
	{name: "uri: an empty fragment", file: "proxy/pipeline/target.go", old: `strings.HasSuffix(uri, "#") ||`, new: "", pkgs: streamTests, run: "URI|Denied"},
	{name: "uri: an empty port", file: "proxy/pipeline/target.go", old: `|| strings.HasSuffix(authorityOf(path), ":") {`, new: "{", pkgs: streamTests, run: "URI|Denied"},
	{name: "uri: a fragment makes another object", file: "proxy/pipeline/target.go", old: `uri, _, _ = strings.Cut(uri, "#")`, new: "", pkgs: streamTests, run: "URI|Denied"},
	{name: "uri: control characters", file: "proxy/pipeline/target.go", old: "if uri[i] < ' ' || uri[i] == 0x7f {", new: "if false {", pkgs: streamTests, run: "URI"},
	{name: "uri: a host's case makes another object", file: "proxy/pipeline/target.go", old: "authority = strings.ToLower(authority)", new: "_ = authority", pkgs: streamTests, run: "URI|Denied"},
	{name: "uri: a scheme's case makes another object", file: "proxy/pipeline/target.go", old: "out := strings.ToLower(scheme) + \":\"", new: "out := scheme + \":\"", pkgs: streamTests, run: "URI|Denied"},
	{name: "resources: anybody reads", file: "proxy/pipeline/authorize.go", old: "case c.method.need == access:\n\t\treturn p.authorizeTarget(ctx, c)", new: "case c.method.need == access && c.targetKind == aTool:\n\t\treturn p.authorizeTarget(ctx, c)", pkgs: streamTests, run: "Denied"},
	{name: "subscriptions: to anything", file: "proxy/pipeline/authorize.go", old: "case c.method.need == filter:\n\t\treturn p.authorizeFilter(ctx, c)", new: "case c.method.need == filter:\n\t\treturn nil", pkgs: streamTests, run: "Denied"},
}
