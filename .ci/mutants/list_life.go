package main

// lifeMutants weaken what browsers, certificates and probes are told, and how the
// sidecar starts and ends.
var lifeMutants = []mutant{
	{name: "cors: any origin reads answers", file: "proxy/front/cors.go", old: `origin != "" && h.originAllowed(r)`, new: `origin != ""`, pkgs: frontTests, run: "Preflight|Pages"},
	{name: "cors: a preflight passes before its origin is known", file: "proxy/front/http.go", old: "\tcase isPreflight(r):\n\t\treturn nil\n", new: "", pkgs: frontTests, run: "Preflight|Pages"},
	{name: "cors: a refused preflight is answered", file: "proxy/front/http.go", old: "if refused == nil && isPreflight(r) {", new: "if isPreflight(r) {", pkgs: frontTests, run: "Preflight|Pages"},
	{name: "cors: caches mix origins", file: "proxy/front/cors.go", old: "\thead.Add(\"Vary\", \"Origin\")\n", new: "", pkgs: frontTests, run: "Preflight|Pages"},
	{name: "cors: any header is allowed", file: "proxy/front/cors.go", old: "ok && isToken(param)", new: "isToken(name) || ok && param != \"\"", pkgs: frontTests, run: "Preflight|Pages|ParamHeaders"},
	{name: "hosts: TLS has the port of plain HTTP", file: "proxy/front/origin.go", old: "if r.TLS != nil {\n\t\t\tport", new: "if false {\n\t\t\tport", pkgs: frontTests, run: "Hosts"},

	{name: "tls: plain HTTP", file: "proxy/sidecar/server.go", old: "return l.server.ServeTLS(l.Listener, \"\", \"\")", new: "return l.server.Serve(l.Listener)", pkgs: sidecarTests, run: "TLS"},
	{name: "tls: files are read once", file: "proxy/sidecar/pem.go", old: "\tif sum == f.seen {", new: "\tif true {", pkgs: sidecarTests, run: "Reload"},
	{name: "tls: files are read for each handshake", file: "proxy/sidecar/pem.go", old: "since >= 0 && since < certificateCheck", new: "since < 0", pkgs: sidecarTests, run: "Reload"},
	{name: "tls: a bad file is reported for ever", file: "proxy/sidecar/pem.go", old: "\tf.seen = sum // said once, however often somebody connects\n", new: "", pkgs: sidecarTests, run: "Reload"},
	{name: "tls: clients need no certificate", file: "proxy/sidecar/tls.go", old: "next.ClientAuth = tls.RequireAndVerifyClientCert", new: "next.ClientAuth = tls.VerifyClientCertIfGiven", pkgs: sidecarTests, run: "ClientCert"},
	{name: "tls: any certificate of a client", file: "proxy/sidecar/tls.go", old: "next.ClientAuth = tls.RequireAndVerifyClientCert", new: "next.ClientAuth = tls.RequireAnyClientCert", pkgs: sidecarTests, run: "ClientCert"},
	{name: "tls: half a list of authorities", file: "proxy/sidecar/pem.go", old: "\t\t\treturn nil, fmt.Errorf(\"block %d of %d is not PEM\", n+1, want)", new: "\t\t\t_ = n\n\t\t\tbreak", pkgs: sidecarTests, run: "Authorit"},
	{name: "tls: probes ask for certificates", file: "proxy/sidecar/tls.go", old: "open.ClientAuth, open.ClientCAs = tls.NoClientCert, nil", new: "_ = tls.NoClientCert", pkgs: sidecarTests, run: "Probes"},
	{name: "tls: the public address is plain HTTP", file: "proxy/config/validate.go", old: "case u.Scheme != \"https\" && c.TLS != nil:", new: "case false:", pkgs: []string{"./proxy/config"}},
	{name: "tls: none on a public listener", file: "proxy/config/validate.go", old: "c.TLS == nil && !c.BehindTLSProxy", new: "false", pkgs: []string{"./proxy/config"}},
	{name: "http2: a refusal ends the connection", file: "proxy/front/http.go", old: "\t\tin.read = true\n", new: "", pkgs: frontTests, run: "Reload|TLS"},

	{name: "probes: any Host", file: "proxy/sidecar/diagnostics.go", old: "case !d.hosts.Allow(r):", new: "case false:", pkgs: sidecarTests, run: "Probes"},
	{name: "probes: ready without a server", file: "proxy/sidecar/diagnostics.go", old: "letsIn && reached && serving.OK", new: "letsIn && (reached || serving.OK) && serving.OK", pkgs: sidecarTests, run: "Read"},
	{name: "probes: ready to the end", file: "proxy/sidecar/diagnostics.go", old: "OK: !s.draining.Load()", new: "OK: true", pkgs: sidecarTests, run: "Probes"},
	{name: "probes: servers are flooded", file: "proxy/sidecar/diagnostics.go", old: "since >= 0 && since < probeAgain", new: "since < 0", pkgs: sidecarTests, run: "Read"},
	{name: "probes: a server is asked for ever", file: "proxy/sidecar/diagnostics.go", old: "a.yes || !a.asked.IsZero()", new: "!a.asked.IsZero()", pkgs: sidecarTests, run: "Read"},
	{name: "probes: at the endpoint's address", file: "proxy/config/listener.go", old: "case at == endpoint && !takesFreePort(at):", new: "case false:", pkgs: []string{"./proxy/config"}},
	{name: "healthcheck: any certificate", file: "proxy/cli/healthcheck.go", old: "!bytes.Equal(state.PeerCertificates[0].Raw, block.Bytes)", new: "bytes.Equal(nil, block.Bytes)", pkgs: []string{"./proxy/cli"}, run: "OnlyCert"},
	{name: "healthcheck: redirects are followed", file: "proxy/cli/healthcheck.go", old: "return http.ErrUseLastResponse", new: "return nil", pkgs: []string{"./proxy/cli"}, run: "Healthcheck"},

	{name: "audit file: a rotation forgets the disk", file: "proxy/audit/reopen.go", old: "} else if err := w.file.Sync(); err != nil {", new: "} else if err := error(nil); err != nil {", pkgs: auditTests, run: "Reopen"},
	{name: "audit file: a rotation finds what was lost", file: "proxy/audit/reopen.go", old: "\t\tw.lost = w.written\n", new: "", pkgs: auditTests, run: "Reopen"},
	{name: "audit file: a rotation into nothing", file: "proxy/audit/reopen.go", old: "\t\t_ = f.Close()\n\t\treturn ErrClosed", new: "\t\tw.file = f\n\t\treturn nil", pkgs: auditTests, run: "Reopen"},

	{name: "slow: a body that does not come is waited for", file: "proxy/front/http.go", old: "if errors.Is(err, io.EOF) {", new: "if err != nil || errors.Is(err, io.EOF) {", pkgs: sidecarTests, run: "Slow"},
	{name: "slow: no time for a body", file: "proxy/front/http.go", old: "_ = rc.SetReadDeadline(time.Now().Add(h.opts.ClientTime))", new: "_ = rc", pkgs: sidecarTests, run: "Slow"},
	{name: "slow: a body is waited for where there is none", file: "proxy/front/http.go", old: "if r.ContentLength != 0 {", new: "if true {", pkgs: sidecarTests, run: "Silent"},
	{name: "slow: no time for an answer", file: "proxy/front/sink.go", old: "_ = s.rc.SetWriteDeadline(time.Now().Add(s.clientTime))", new: "_ = s.clientTime", pkgs: sidecarTests, run: "DoesNotRead"},
	{name: "slow: silence is slowness", file: "proxy/front/sink.go", old: "\t\t_ = s.rc.SetWriteDeadline(time.Time{})\n", new: "", pkgs: sidecarTests, run: "DoesNotRead"},
	{name: "slow: no time for a head", file: "proxy/sidecar/server.go", old: "ReadHeaderTimeout: min(headerTime, s.opts.ClientTime),", new: "", pkgs: sidecarTests, run: "Slow|Handshake"},
	{name: "server: connections without end", file: "proxy/sidecar/server.go", old: "if open.Add(1) > limit {", new: "if open.Add(1) < 0 {", pkgs: sidecarTests, run: "ConnectionCap"},
	{name: "server: ended connections count", file: "proxy/sidecar/server.go", old: "open.Add(-1)", new: "_ = limit", pkgs: sidecarTests, run: "ConnectionCap"},
	{name: "server: streams without end", file: "proxy/sidecar/server.go", old: "\t\t\tMaxConcurrentStreams: maxStreams,\n", new: "\t\t\tMaxConcurrentStreams: 100 * maxStreams,\n", pkgs: sidecarTests, run: "StreamCap"},

	{name: "life: waiting streams use up the drain", file: "proxy/sidecar/life.go", old: "\t\te.pipeline.Drain()\n", new: "\t\t_ = e\n", pkgs: sidecarTests, run: "Drain"},
	{name: "life: calls in flight are cut", file: "proxy/sidecar/life.go", old: "if err := s.listener.server.Shutdown(ctx); err != nil {", new: "if err := s.listener.server.Close(); err != nil || ctx != nil {", pkgs: sidecarTests, run: "Drain"},
	{name: "life: probes stay", file: "proxy/sidecar/life.go", old: "\ts.probes.close() // last, so that somebody can see what is going on\n", new: "", pkgs: sidecarTests, run: "Left"},
	{name: "probes: all servers together are one more", file: "proxy/sidecar/diagnostics.go", old: "own := s.servers()", new: "own := s.endpoints", pkgs: sidecarTests, run: "Readiness"},
	{name: "life: wrap ends with a rotation", file: "proxy/cli/wrap.go", old: "\tdefer onHangup(s.ReopenAudit)()\n", new: "", pkgs: []string{"./proxy/cli"}, run: "Hangup"},
}
