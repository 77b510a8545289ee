package main

var stdioTests = []string{"./proxy/backend"}

// stdioMutants weaken what keeps the clients of one child apart, and what ends
// children.
var stdioMutants = []mutant{
	{name: "stdio: ids as they are", file: "proxy/backend/send.go", old: "[]wire.Patch{m.Replace(m.ID, id)}\n\tif", new: "[]wire.Patch{}\n\tif", pkgs: stdioTests},
	{name: "stdio: tokens as they are", file: "proxy/backend/send.go", old: "patches = append(patches, m.Replace(token, id))", new: "_ = token", pkgs: stdioTests},
	{name: "stdio: foreign subscriptions as they are", file: "proxy/backend/send.go", old: "return m.Edit(meta, func(i int) bool { return i == at })", new: "return nil", pkgs: stdioTests},
	{name: "stdio: subscriptions are not renamed for the child", file: "proxy/backend/send.go", old: "return []wire.Patch{m.Replace(at, number(e.id))}\n\t}\n\treturn m.Edit", new: "return nil\n\t}\n\treturn m.Edit", pkgs: stdioTests},
	{name: "stdio: foreign requests are cancelled", file: "proxy/backend/send.go", old: "if e == nil || e.hello != nil {\n\t\t\treturn nil, false", new: "if e == nil || e.hello != nil {\n\t\t\treturn nil, true", pkgs: stdioTests},
	{name: "stdio: answers from another session", file: "proxy/backend/send.go", old: "if !ok || a.party != p {", new: "if !ok {", pkgs: stdioTests},
	{name: "stdio: answers to nothing", file: "proxy/backend/send.go", old: "\t\tdelete(c.asked, key)\n\t\treturn []wire.Patch", new: "\t\treturn []wire.Patch", pkgs: stdioTests},
	{name: "stdio: answers under the client's id", file: "proxy/backend/send.go", old: "return []wire.Patch{m.Replace(m.ID, a.rawID)}, true", new: "return nil, true", pkgs: stdioTests},
	{name: "stdio: initialized comes twice", file: "proxy/backend/send.go", old: "return nil, !again", new: "return nil, true || again", pkgs: stdioTests},
	{name: "stdio: progress on anybody's question", file: "proxy/backend/send.go", old: "if c.s.opts.Shared && !c.gaveToken(", new: "if false && !c.gaveToken(", pkgs: stdioTests},
	{name: "stdio: withdrawn requests are sent", file: "proxy/backend/send.go", old: "continue // nobody waits for it any more", new: "_ = o", pkgs: stdioTests},
	{name: "stdio: a deaf child lives on", file: "proxy/backend/send.go", old: "stuck := time.AfterFunc(c.s.bounds.write,", new: "stuck := time.AfterFunc(1000*c.s.bounds.write,", pkgs: stdioTests},

	{name: "stdio: late answers are for the oldest", file: "proxy/backend/receive.go", old: "\te := c.open[id]\n", new: "\te := c.open[id]\n\tfor _, any := range c.open {\n\t\te = any\n\t}\n", pkgs: stdioTests},
	{name: "stdio: progress nobody asked for", file: "proxy/backend/receive.go", old: "e != nil && e.token != nil {\n\t\t\treturn e.mine", new: "e != nil {\n\t\t\treturn e.mine", pkgs: stdioTests},
	{name: "stdio: any request is a subscription", file: "proxy/backend/receive.go", old: "if e := named(subscription); e != nil && e.listen {", new: "if e := named(subscription); e != nil {", pkgs: stdioTests},
	{name: "stdio: a shared child is asked whom it means", file: "proxy/backend/receive.go", old: "\tif c.mixed {\n\t\treturn nil\n\t}\n\treturn c.first", new: "\treturn c.first", pkgs: stdioTests},
	{name: "stdio: errors without id are for anybody", file: "proxy/backend/receive.go", old: "if len(c.open) != 1 || c.mixed {", new: "if len(c.open) == 0 {", pkgs: stdioTests},
	{name: "stdio: questions to owners", file: "proxy/backend/receive.go", old: "p == nil || !p.session || p.gone {", new: "p == nil || p.gone {", pkgs: stdioTests},
	{name: "stdio: questions without end", file: "proxy/backend/receive.go", old: "if len(c.asked) >= maxAsked {", new: "if false {", pkgs: stdioTests},
	{name: "stdio: two questions under one id", file: "proxy/backend/receive.go", old: "_, open := c.asked[key]; open {", new: "_, open := c.asked[key]; open && false {", pkgs: stdioTests},
	{name: "stdio: a bare CR passes", file: "proxy/backend/receive.go", old: "\toneLine(raw)", new: "\t_ = raw", pkgs: stdioTests},
	{name: "stdio: broken answers are noise", file: "proxy/backend/receive.go", old: "ok && c.fail(id, errBroken)", new: "ok && id < 0", pkgs: stdioTests},
	{name: "stdio: log entries are answers", file: "proxy/backend/receive.go", old: "if envelope.Match(raw) && ", new: "if ", pkgs: stdioTests, run: "Answers"},
	{name: "stdio: tasks without end", file: "proxy/backend/receive.go", old: "c.tasks = c.tasks[max(0, len(c.tasks)-maxTasks):]", new: "", pkgs: stdioTests},
	{name: "stdio: slow clients stop the child", file: "proxy/backend/receive.go", old: "e.box.put(it, c.s.bounds.stall)", new: "e.box.put(it, 1000*c.s.bounds.stall)", pkgs: stdioTests},
	{name: "stdio: slow clients keep their place", file: "proxy/backend/receive.go", old: "\t\te.box.close(errTaken)\n", new: "", pkgs: stdioTests},

	{name: "stdio: log messages nobody asked for", file: "proxy/backend/mux.go", old: "return e.logs //", new: "return true //", pkgs: stdioTests},
	{name: "stdio: own requests take questions", file: "proxy/backend/mux.go", old: "if e.own || e.listen", new: "if e.listen", pkgs: stdioTests},
	{name: "stdio: queues without end", file: "proxy/backend/mux.go", old: "for len(p.queue) > maxQueued || p.queued > maxQueuedBytes && len(p.queue) > 1 {", new: "for false {", pkgs: stdioTests},
	{name: "stdio: dropped questions hang", file: "proxy/backend/mux.go", old: "\tc.post(reply(m.Value(m.ID), notDelivered))", new: "", pkgs: stdioTests},
	{name: "stdio: what is not taken is lost", file: "proxy/backend/mux.go", old: "\t\tif it.loose {\n\t\t\tc.reroute(e.party, it)\n\t\t}\n", new: "\t\t_ = it\n", pkgs: stdioTests},
	{name: "stdio: nobody is told of a cancellation", file: "proxy/backend/mux.go", old: "if unanswered && sent && tell", new: "if false && unanswered && sent && tell", pkgs: stdioTests},
	{name: "stdio: older revisions are cancelled", file: "proxy/backend/mux.go", old: "tell := e.modern ||", new: "tell := true ||", pkgs: stdioTests},
	{name: "stdio: a hanging child stays", file: "proxy/backend/mux.go", old: "\tif hangs {", new: "\tif false && hangs {", pkgs: stdioTests},
	{name: "stdio: a long answer ends", file: "proxy/backend/mux.go", old: "\t\tsilence.restart()\n", new: "", pkgs: stdioTests},
	{name: "stdio: a session's child goes", file: "proxy/backend/mux.go", old: "(c.s.opts.Shared || !e.party.session)", new: "true", pkgs: stdioTests},
	{name: "stdio: refused sessions are open", file: "proxy/backend/mux.go", old: "if !it.refused {\n\t\t\t\tr.Session", new: "if true {\n\t\t\t\tr.Session", pkgs: stdioTests},

	{name: "stdio: statuses of 2026-07-28 for all", file: "proxy/backend/translate.go", old: "if !e.modern || m.Err == wire.Absent {", new: "if m.Err == wire.Absent {", pkgs: stdioTests},
	{name: "stdio: line breaks pass to the child", file: "proxy/backend/translate.go", old: "\toneLine(b[:len(b)-1])\n", new: "", pkgs: stdioTests},
	{name: "stdio: an id in a string counts", file: "proxy/backend/translate.go", old: "`,[ \\t]*\"id\"", new: "`\\\\?\"id\\\\?\"", pkgs: stdioTests},

	{name: "stdio: everybody is nobody", file: "proxy/backend/party.go", old: "if x.Owner == \"\" {", new: "if false {", pkgs: stdioTests},
	{name: "stdio: an owner is a session", file: "proxy/backend/party.go", old: "return \"owner \" + owner", new: "return \"session \" + owner", pkgs: stdioTests},
	{name: "stdio: a session for nobody", file: "proxy/backend/party.go", old: "if err != nil && session {", new: "if false {", pkgs: stdioTests, run: "InitializeLeft"},
	{name: "stdio: children without end", file: "proxy/backend/party.go", old: "if len(s.children) >= s.opts.MaxChildren {", new: "if false {", pkgs: stdioTests},
	{name: "stdio: others' sessions make room", file: "proxy/backend/party.go", old: "(!p.session || p.owner == owner)", new: "(p.owner != \"\" || owner != \"\")", pkgs: stdioTests},
	{name: "stdio: anybody's child is adopted", file: "proxy/backend/party.go", old: "if p.child.useful || p.child.err != nil {", new: "if p.child.err != nil {", pkgs: stdioTests},
	{name: "stdio: no backoff", file: "proxy/backend/party.go", old: "s.opts.Now().Before(f.until)", new: "false", pkgs: stdioTests},
	{name: "stdio: the backoff does not grow", file: "proxy/backend/party.go", old: "\tf.count++\n", new: "", pkgs: stdioTests},
	{name: "stdio: idle children stay", file: "proxy/backend/party.go", old: "longest := ownerIdle", new: "longest := 1000 * ownerIdle", pkgs: stdioTests},
	{name: "stdio: busy children go", file: "proxy/backend/party.go", old: "if p.active == 0 && now.Sub(p.since) >= longest {", new: "if now.Sub(p.since) >= longest {", pkgs: stdioTests},
	{name: "stdio: the session outlives its end", file: "proxy/backend/party.go", old: "\tdelete(s.parties, p.key)\n\tp.child.forsake(p)", new: "\tp.child.forsake(p)", pkgs: stdioTests},

	{name: "stdio: the second initialize is sent", file: "proxy/backend/hello.go", old: "if h = c.hello; h != nil {", new: "if h = c.hello; false {", pkgs: stdioTests},
	{name: "stdio: one refusal is everybody's", file: "proxy/backend/hello.go", old: "(mine || h.answer.Err == wire.Absent)", new: "true", pkgs: stdioTests},
	{name: "stdio: initialize within a session", file: "proxy/backend/stdio.go", old: "if x.Session != \"\" {\n\t\treturn sink.Reply(wire.Reply{Status: 400})", new: "if false {\n\t\treturn sink.Reply(wire.Reply{Status: 400})", pkgs: stdioTests},

	{name: "stdio: the environment is inherited", file: "proxy/backend/process.go", old: "cmd.Env = append([]string{}, o.Env...)", new: "cmd.Env = append(cmd.Environ(), o.Env...)", pkgs: stdioTests},
	{name: "stdio: an empty environment is inherited", file: "proxy/backend/process.go", old: "append([]string{}, o.Env...)", new: "append([]string(nil), o.Env...)", pkgs: stdioTests},
	{name: "stdio: only the child is killed", file: "proxy/backend/process_unix.go", old: "func (p *process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }", new: "func (p *process) kill() { _ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL) }\n\nfunc init() { _ = syscall.SIGKILL }", pkgs: stdioTests},
	{name: "stdio: no group", file: "proxy/backend/process_unix.go", old: "Setpgid: true", new: "Setpgid: false", pkgs: stdioTests},
	{name: "stdio: children outlive the sidecar", file: "proxy/backend/process_linux.go", old: "a.Pdeathsig = syscall.SIGKILL", new: "_ = a", pkgs: stdioTests},
	{name: "stdio: last words are lost", file: "proxy/backend/child.go", old: "\tc.clear(&streams)\n\tc.s.retire(c, errDied, false)", new: "\tc.s.retire(c, errDied, false)\n\tc.clear(&streams)", pkgs: stdioTests},
	{name: "stdio: nobody is killed", file: "proxy/backend/child.go", old: "c.proc.terminate, c.proc.kill}", new: "c.proc.terminate}", pkgs: stdioTests},

	{name: "stdio: a terminal obeys the child", file: "proxy/backend/talk.go", old: "case unicode.IsPrint(r):", new: "case unicode.IsPrint(r) || true:", pkgs: stdioTests},
	{name: "stdio: loud children", file: "proxy/backend/talk.go", old: "if k.tokens < 1 {", new: "if false {", pkgs: stdioTests},
	{name: "stdio: a listener's panic", file: "proxy/backend/talk.go", old: "defer func() { _ = recover() }()\n\tf()", new: "f()", pkgs: stdioTests},
	{name: "stdio: children wait for a terminal", file: "proxy/backend/talk.go", old: "\tselect {\n\tcase k.queue <- f:\n\t\treturn true\n\tdefault:\n\t\treturn false\n\t}", new: "\tk.queue <- f\n\treturn true", pkgs: stdioTests},

	{name: "stdio: mailboxes without end", file: "proxy/backend/mailbox.go", old: "if full && len(b.items) > 0 && !it.final {", new: "if false && full {", pkgs: stdioTests},
	{name: "lines: of any length", file: "proxy/wire/line.go", old: "if long.size+len(chunk) > l.max+1 {", new: "if false {", pkgs: []string{"./proxy/wire"}},
	{name: "lines: the end above the limit", file: "proxy/wire/line.go", old: "if len(line) > l.max {", new: "if false {", pkgs: []string{"./proxy/wire"}},
}
