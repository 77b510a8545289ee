package main

var (
	frontTests   = []string{"./proxy/front", "./proxy/sidecar"}
	backendTests = []string{"./proxy/backend", "./proxy/sidecar"}
	auditTests   = []string{"./proxy/audit", "./proxy/sidecar"}
	sidecarTests = []string{"./proxy/sidecar", "./proxy/cli"}
)

// edgeMutants weaken the HTTP halves, the audit file and the wiring.
var edgeMutants = []mutant{
	{name: "front: any Host", file: "proxy/front/http.go", old: "case !h.hosts.Allow(r):", new: "case false:", pkgs: frontTests},
	{name: "front: any Origin that is in Host", file: "proxy/front/origin.go", old: "host == strings.ToLower(r.Host) && isOwnAddress(r, host)", new: "host == strings.ToLower(r.Host)", pkgs: frontTests},
	{name: "front: any own address as Origin", file: "proxy/front/origin.go", old: "host == strings.ToLower(r.Host) && isOwnAddress(r, host)", new: "isOwnAddress(r, host)", pkgs: frontTests},
	{name: "front: any Origin", file: "proxy/front/http.go", old: "case !h.originAllowed(r):", new: "case false:", pkgs: frontTests},
	{name: "front: several Origins", file: "proxy/front/origin.go", old: "if len(values) != 1 {", new: "if len(values) == 0 {", pkgs: frontTests},
	{name: "front: an empty Origin is none", file: "proxy/front/origin.go", old: "\tif !present {", new: "\tif !present || values[0] == \"\" {", pkgs: frontTests},
	{name: "front: any port", file: "proxy/front/origin.go", old: "if port != portOf(own) {", new: "if port == \"\" {", pkgs: frontTests},
	{name: "front: localhost is everywhere", file: "proxy/front/origin.go", old: "return own.Addr().IsLoopback()", new: "return true", pkgs: frontTests},
	{name: "front: any address", file: "proxy/front/origin.go", old: "return err == nil && addr.Unmap() == own.Addr().Unmap()", new: "return err == nil && addr.IsValid()", pkgs: frontTests},
	{name: "front: forwarding headers count", file: "proxy/front/origin.go", old: "host := strings.ToLower(r.Host)", new: "host := strings.ToLower(r.Host)\n\tif f := r.Header.Get(\"X-Forwarded-Host\"); f != \"\" {\n\t\thost = f\n\t}", pkgs: frontTests},
	{name: "front: any HTTP method", file: "proxy/front/http.go", old: "case r.Method != http.MethodPost && r.Method != http.MethodDelete && r.Method != http.MethodGet:", new: "case false:", pkgs: frontTests},
	{name: "front: any media type", file: "proxy/front/http.go", old: "case r.Method == http.MethodPost && !isJSON(r):", new: "case false:", pkgs: frontTests},
	{name: "front: several media types", file: "proxy/front/http.go", old: ` || len(r.Header["Content-Type"]) > 1`, new: "", pkgs: frontTests},
	{name: "front: encoded bodies", file: "proxy/front/http.go", old: ` || r.Header.Get("Content-Encoding") != ""`, new: "", pkgs: frontTests},
	{name: "front: any charset", file: "proxy/front/http.go", old: `return charset == "" || strings.EqualFold(charset, "utf-8")`, new: "return charset == charset+\"\"", pkgs: frontTests},
	{name: "front: headers of any size", file: "proxy/front/http.go", old: "case h.opts.MaxHeaders > 0 && headerBytes(r) > h.opts.MaxHeaders:", new: "case false:", pkgs: frontTests},
	{name: "front: no challenge", file: "proxy/front/sink.go", old: "if a.Challenge != nil {", new: "if false {", pkgs: frontTests},
	{name: "front: a refused call's session is announced", file: "proxy/front/sink.go", old: "\t\th.Del(\"Mcp-Session-Id\")", new: "\t\t_ = \"Mcp-Session-Id\"", pkgs: frontTests},
	{name: "front: answers may be cached", file: "proxy/front/http.go", old: "\th.Set(\"Cache-Control\", \"no-store\")\n\th.Set(\"X-Content-Type-Options\"", new: "\th.Set(\"X-Content-Type-Options\"", pkgs: frontTests},
	{name: "front: tokens in the query are not noticed", file: "proxy/front/http.go", old: `	if r.URL.RawQuery != "" {`, new: "	if false {", pkgs: frontTests},

	{name: "backend: compressed answers", file: "proxy/backend/http.go", old: `enc != "" && enc != "identity"`, new: "false && enc != \"\"", pkgs: backendTests},
	{name: "backend: announced answers of any size", file: "proxy/backend/http.go", old: "if resp.ContentLength > int64(h.opts.MaxResult) {", new: "if false {", pkgs: backendTests},
	{name: "backend: answers of any size", file: "proxy/backend/http.go", old: "wire.ReadAll(resp.Body, limit)", new: "wire.ReadAll(resp.Body, 1<<30)", pkgs: backendTests},
	{name: "backend: no credential", file: "proxy/backend/http.go", old: "\tset(http.CanonicalHeaderKey(h.opts.Credential.Header), h.opts.Credential.Value.Reveal())\n", new: "", pkgs: backendTests},
	{name: "backend: the environment names a proxy", file: "proxy/backend/http.go", old: "Proxy:                  nil,", new: "Proxy:                  http.ProxyFromEnvironment,", pkgs: backendTests},
	{name: "backend: names as they are", file: "proxy/backend/http.go", old: "set(\"Mcp-Name\", EncodeHeader(x.Name))", new: "set(\"Mcp-Name\", x.Name)", pkgs: backendTests},
	{name: "backend: silence never ends", file: "proxy/backend/http.go", old: "idle := time.AfterFunc(h.opts.IdleTimeout, cancel)", new: "idle := time.AfterFunc(1000*h.opts.IdleTimeout, cancel)", pkgs: backendTests},
	{name: "backend: a long stream ends", file: "proxy/backend/http.go", old: "idle.Reset(h.opts.IdleTimeout)", new: "_ = idle", pkgs: backendTests},
	{name: "backend: redirects are followed", file: "proxy/backend/http.go", old: "transport.RoundTrip(h.request(ctx, x))", new: "(&http.Client{Transport: transport}).Do(h.request(ctx, x))", pkgs: backendTests},

	{name: "audit file: torn lines stay open", file: "proxy/audit/audit.go", old: "\tif last[0] != '\\n' {", new: "\tif false {", pkgs: auditTests},
	{name: "audit file: a torn line swallows the next", file: "proxy/audit/audit.go", old: "\tif w.torn {", new: "\tif false {", pkgs: auditTests},
	{name: "audit file: intents do not wait for the disk", file: "proxy/audit/audit.go", old: "if w.opts.SyncAll || e.Phase == PhaseIntent {", new: "if w.opts.SyncAll {", pkgs: auditTests},
	{name: "audit file: a failed fsync is forgotten", file: "proxy/audit/audit.go", old: "\t\tw.broken = err\n", new: "", pkgs: auditTests},
	{name: "audit file: a failed write succeeds", file: "proxy/audit/audit.go", old: "return 0, fmt.Errorf(\"write audit record: %w\", err)", new: "return w.written, nil", pkgs: auditTests},
	{name: "audit file: names as they are", file: "proxy/audit/audit.go", old: "s = w.opts.Redact(s)", new: "_ = w.opts.Redact", pkgs: auditTests},
	{name: "audit file: texts of any length", file: "proxy/audit/audit.go", old: "if len(s) > maxText {", new: "if false {", pkgs: auditTests},
	{name: "audit file: anybody reads it", file: "proxy/audit/audit.go", old: "os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600", new: "os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o644", pkgs: auditTests},
	{name: "audit file: records after Close vanish", file: "proxy/audit/audit.go", old: "return 0, ErrClosed", new: "return 0, nil", pkgs: auditTests},

	{name: "wiring: strict allows without a policy", file: "proxy/sidecar/build.go", old: "if s.cfg.Preset == config.PresetStrict {\n\t\t\treturn &policy.Engine{}, nil", new: "if false {\n\t\t\treturn &policy.Engine{}, nil", pkgs: sidecarTests},
	{name: "wiring: no audience", file: "proxy/sidecar/build.go", old: "Audience: s.cfg.Auth.Audience, Now:", new: "Audience: []string{\"doc-server\", \"other-service\"}, Now:", pkgs: sidecarTests},
	{name: "wiring: balanced observes", file: "proxy/sidecar/build.go", old: "if p == config.PresetObserve {", new: "if p != config.PresetStrict {", pkgs: sidecarTests},
	{name: "wiring: observe enforces", file: "proxy/sidecar/build.go", old: "if p == config.PresetObserve {", new: "if false {", pkgs: sidecarTests},
	{name: "wiring: nobody is asked for a token", file: "proxy/sidecar/endpoint.go", old: "Authenticator: sh.verifier,", new: "Authenticator: nil,", pkgs: sidecarTests},
	{name: "wiring: tools mean nothing", file: "proxy/sidecar/endpoint.go", old: "Catalog:       s.parts.catalog,", new: "", pkgs: sidecarTests},
	{name: "wiring: no secrets guard", file: "proxy/sidecar/endpoint.go", old: "[]guards.Output{secrets.New(), injection.New()}", new: "[]guards.Output{injection.New()}", pkgs: sidecarTests},
	{name: "wiring: no injection guard", file: "proxy/sidecar/endpoint.go", old: "[]guards.Output{secrets.New(), injection.New()}", new: "[]guards.Output{secrets.New()}", pkgs: sidecarTests},
	{name: "wiring: wrapped before redacted", file: "proxy/sidecar/endpoint.go", old: "[]guards.Output{secrets.New(), injection.New()}", new: "[]guards.Output{injection.New(), secrets.New()}", pkgs: sidecarTests},
	{name: "wiring: no command guard", file: "proxy/sidecar/build.go", old: "command.New(enums)", new: "command.New(nil)", pkgs: sidecarTests},
	{name: "wiring: no SSRF rules", file: "proxy/sidecar/build.go", old: "resolver), urls)", new: "resolver), map[string]map[string]ssrf.Rule{\"docs/import_url\": {}})", pkgs: sidecarTests},
	{name: "wiring: no schema", file: "proxy/sidecar/endpoint.go", old: "\treturn s.Fits, nil\n", new: "\treturn func([]byte) (bool, error) { return true, nil }, nil\n", pkgs: sidecarTests},
	{name: "wiring: no request limit", file: "proxy/sidecar/endpoint.go", old: "RequestBody: int64(limits.RequestBody),", new: "RequestBody: 1 << 30,", pkgs: sidecarTests},
	{name: "wiring: strict asks for no confirmation", file: "proxy/sidecar/build.go", old: "return c.Destructive || strict && !c.ReadOnly", new: "return c.Destructive || strict && false", pkgs: sidecarTests},
	{name: "wiring: destructive tools ask for no confirmation", file: "proxy/sidecar/build.go", old: "return c.Destructive || strict && !c.ReadOnly", new: "return strict && !c.ReadOnly", pkgs: sidecarTests},
	{name: "several: paths are decoded", file: "proxy/front/route.go", old: "return r.URL.EscapedPath()", new: "return r.URL.Path", pkgs: sidecarTests},
	{name: "several: one metadata document for all", file: "proxy/front/route.go", old: "if len(endpoints) == 1 {", new: "if len(endpoints) > 0 {", pkgs: sidecarTests},
	{name: "several: each server counts for itself", file: "proxy/sidecar/endpoint.go", old: "Shared:        sh.counts,", new: "", pkgs: sidecarTests},
	{name: "several: one set of rules", file: "proxy/sidecar/endpoint.go", old: "of == server {", new: "of != \"\" {", pkgs: sidecarTests},
	{name: "several: one server's name in policy and records", file: "proxy/sidecar/endpoint.go", old: "Server:        e.name,", new: "Server:        s.endpoints[0].name,", pkgs: sidecarTests},
	{name: "wiring: metadata from nowhere", file: "proxy/sidecar/build.go", old: "f.MetadataURL = public + front.MetadataPath + e.path", new: "f.MetadataURL = \"\"", pkgs: sidecarTests},
	{name: "wiring: a secret of several lines", file: "proxy/sidecar/sidecar.go", old: ` || strings.ContainsAny(line, "\r\n\x00")`, new: "", pkgs: sidecarTests},
}
