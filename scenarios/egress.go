package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Hosts of the demo that lead elsewhere.
const (
	rebindHost = "rebind.example"          // public when it is asked for first, loopback afterwards
	nat64Host  = "[64:ff9b::a9fe:a9fe]"    // the metadata service, by way of NAT64
	movedPath  = "/moved-to-metadata"      // of policyHost
	nat64Path  = "/moved-to-nat64"         // of policyHost
	insideText = "recovery code 7731-0042" // what a service on loopback tells whoever asks
)

// outward has the server fetch what passes every check of the argument: a name whose address
// changes afterwards, and redirects of an honest host. What stops those is the egress proxy,
// which the sidecar hands to the server that it starts.
func outward() scenario {
	fetch := func(label, url string) trial {
		return trial{
			label: label, own: true, send: byEgress,
			user: "alice", tool: "import_url", args: args{"url": url, "created_by": "alice"},
			direct: answer{allowed, "imported " + url + " as document id={new}"},
		}
	}
	attack := func(label, url, refused, what, host string) trial {
		t := fetch(label, url)
		t.harmful = true
		t.proxied = answer{rejected, refused}
		t.effects = []effect{reachedEgress("yes", "yes"), hit(what, host, "yes", "no"), inNewDocument("secret in the new document", "yes", "no")}
		return t
	}
	const policy = "https://" + policyHost
	public := fetch("public page           ->", policy+"/policy.txt")
	public.proxied = public.direct
	public.effects = []effect{hit("example.com hit", policyHost, "yes", "yes")}

	return scenario{
		name:  "egress",
		title: "DNS rebinding and redirects (egress proxy)",
		trials: []trial{
			public,
			attack("name that is rebound  ->", "https://"+rebindHost+"/recovery", `Get "https://`+rebindHost+`/recovery": Forbidden`, "loopback service hit", rebindHost),
			attack("redirect to metadata  ->", policy+movedPath, `fetching "`+policy+movedPath+`": 403 Forbidden`, "metadata service hit", metadataHost),
			attack("redirect to NAT64     ->", policy+nat64Path, `fetching "`+policy+nat64Path+`": 403 Forbidden`, "metadata service hit", nat64Host),
		},
	}
}

// byEgress calls the tool where the server reaches the outside by the sidecar's proxy, and
// straight where there is none.
func byEgress(ctx context.Context, c *column, e *event) answer {
	at := c.users[e.trial.user]
	if c.outward != nil {
		at = c.outward
	}
	a := at.call(ctx, "", e.trial.tool, e.trial.args)
	if id, ok := namedID(a.Text); ok && a.Outcome == allowed {
		e.imported = at.call(ctx, "", "read_document", args{"id": id}).Text
	}
	return a
}

// inNewDocument looks for what only the inside could tell in what the call has imported.
func inNewDocument(name, direct, proxied string) effect {
	return effect{name, direct, proxied, func(_ context.Context, _ *column, e event) string {
		return yesNo(strings.Contains(e.imported, insideText) || strings.Contains(e.imported, "SecretAccessKey"))
	}}
}

// reachedEgress looks whether the check of the argument let the call through, so that it is the
// proxy that stops it.
func reachedEgress(direct, proxied string) effect {
	return effect{"call reached the server", direct, proxied, func(_ context.Context, c *column, e event) string {
		if c.outwards == "" {
			return yesNo(e.answer.Outcome == allowed)
		}
		for _, r := range c.outwards.since(0) {
			if r.calls(e.trial.tool) && strings.Contains(string(r.body), fmt.Sprint(e.trial.args["url"])) {
				return "yes"
			}
		}
		return "no"
	}}
}

// startEgress starts a sidecar whose server reaches the outside by the egress proxy only. A
// name server of the demo's own is asked for names, and the fakes play every public address.
func (l *lab) startEgress(ctx context.Context) error {
	if !l.owns() || !slices.ContainsFunc(l.options.chosen(), func(s scenario) bool { return s.name == outward().name }) {
		return nil
	}
	public := netip.MustParseAddr("93.184.215.14")
	names, err := startNameserver(ctx, map[string][]netip.Addr{
		policyHost + ".": {public},
		rebindHost + ".": {public, netip.MustParseAddr("127.0.0.1")},
	})
	if err != nil {
		return err
	}
	l.closers = append(l.closers, names.close)
	behind := &column{name: "behind the egress proxy"}
	server, err := l.pipedServer(behind, "docserver-egress", append(l.serviceToken(), "--egress-proxy", "env")...)
	if err != nil {
		return err
	}
	if err := l.folder.config(egressConfig, anyPort, l.issuerURL, l.policyAt(throughEgress(server, names.addr, l.fakes.addr)...)...); err != nil {
		return err
	}
	p, err := l.start(ctx, "mcp-sidecar-egress", "mcp-sidecar", "serve", "-c", l.folder.path(egressConfig))
	if err != nil {
		return err
	}
	l.audits = append(l.audits, tape(l.folder.path(auditOf("egress"))))
	alice, err := connect(ctx, p.url, l.options.revision, l.tokens["alice"])
	if err != nil {
		return fmt.Errorf("the sidecar with the egress proxy: %w\n%s", err, l.tails())
	}
	l.closers = append(l.closers, alice.close)
	l.proxied.outward, l.proxied.outwards = alice, behind.recorder.(tape)
	return nil
}

// throughEgress is a sidecar that starts server, asks the name server at names, and dials the
// fakes in place of every public host.
func throughEgress(server []string, names, fakes string) []replacement {
	egress := fmt.Sprintf("egress:\n  dial: { \"93.184.215.14:443\": %q }\ndns:\n  server: %s\n", fakes, names)
	return []replacement{
		startedBy(server), {exampleAudit, "file: " + auditOf("egress")}, {exampleState, exampleState + "-egress"},
		{exampleDNS, egress},
		{"    shared: true\n", "    shared: true\n    egress: { http_ports: [80] }\n"},
	}
}
