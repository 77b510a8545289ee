package main

// Of the forward proxy for servers.
var egressMutants = []mutant{
	egressMutant("any password", "proxy/egress/egress.go", "ConstantTimeCompare(given[:], g.sum[:]) != 1", "ConstantTimeCompare(given[:], g.sum[:]) == 2"),
	egressMutant("two credentials", "proxy/egress/egress.go", "!ok || len(r.Header[\"Proxy-Authorization\"]) != 1", "!ok"),
	egressMutant("own listeners are reached", "proxy/egress/egress.go", ", Own: o.Own}", "}"),
	egressMutant("the host list is ignored", "proxy/egress/egress.go", "Hosts: g.rule.Hosts, ", ""),
	egressMutant("plain ports are those of CONNECT", "proxy/egress/serve.go", "g.dial(ctx, address, g.rule.PlainPorts)", "g.dial(ctx, address, []int{80, 443, 8443})"),
	egressMutant("plain http without being asked", "proxy/egress/serve.go", "if len(g.rule.PlainPorts) == 0 {", "if false {"),
	egressMutant("tunnels that are not recorded", "proxy/egress/serve.go", "if err = p.let(e); err != nil {\n\t\t\t_ = far.Close()", "if bad := p.let(e); bad != nil && false {\n\t\t\t_ = far.Close()"),
	egressMutant("requests that are not recorded", "proxy/egress/serve.go", "if err := g.proxy.let(e); err != nil {", "if err := g.proxy.let(e); false {"),
	egressMutant("redirects are passed on", "proxy/egress/serve.go", "if b := ssrf.Redirect(location); b != nil {", "if b := ssrf.Redirect(location); false {"),
	egressMutant("any authority", "proxy/egress/serve.go", "err != nil || r.URL.Host != r.RequestURI", "err != nil"),
	egressMutant("no bound of connections", "proxy/egress/egress.go", "g.revoked || g.active >= g.proxy.opts.Concurrent", "g.revoked"),
	egressMutant("tunnels outlive their grant", "proxy/egress/egress.go", "for c := range open {\n\t\t_ = c.Close()\n\t}", "_ = open"),
	egressMutant("a grant outlives its process", "proxy/egress/egress.go", "delete(g.proxy.grants, g.user)", "_ = g.user"),
	egressMutant("what was sent ahead is lost", "proxy/egress/serve.go", "io.MultiReader(ahead, near)", "io.MultiReader(near, ahead)"),
	egressMutant("processes without a way out", "proxy/sidecar/child.go", "		Attend: s.grantEgress(name),\n", ""),
	egressMutant("passwords in logs", "proxy/sidecar/egress.go", "s.own.learn(\"the egress proxy's passwords\", s.egress.Mark())", "_ = s.egress.Mark()"),
	egressMutant("own listeners are not known", "proxy/sidecar/egress.go", "if sameListener(l.Addr(), a) {", "if sameListener(l.Addr(), a) && false {"),
	egressMutant("public_url is not known", "proxy/sidecar/egress.go", " || s.isPublic(a)", ""),
	egressMutant("rules of one server for all", "proxy/sidecar/egress.go", "string(password.Reveal()), egressRule(rule)", "string(password.Reveal()), egress.Rule{}"),
}

func egressMutant(name, file, was, now string) mutant {
	return mutant{name: "egress: " + name, file: file, old: was, new: now, pkgs: []string{"./proxy/egress", "./proxy/sidecar"}, run: "Refused$|Tunnel|SentAhead|Rebinding|Plain$|NotRecorded|Revoked$|Limits$|Silence|Grants|Egress|IsOwn"}
}
