package main

var (
	verifierTests = []string{"./proxy/identity"}
	dialerTests   = []string{"./guards/ssrf"}
)

// identityMutants believe what must not be believed: answers from elsewhere, and
// keys, tokens and roles that nobody vouches for.
var identityMutants = []mutant{
	{name: "fetch: any host", file: "proxy/identity/fetch.go", old: "if pinned && !slices.Contains(f.origins, originOf(u)) {", new: "if false {", pkgs: verifierTests},
	{name: "fetch: any port", file: "proxy/identity/fetch.go", old: "net.JoinHostPort(strings.ToLower(u.Hostname()), port)", new: "strings.ToLower(u.Hostname() + port[:0])", pkgs: verifierTests},
	{name: "fetch: plain HTTP to any host", file: "proxy/identity/fetch.go", old: " && allowLoopbackHTTP && isLoopback(u.Hostname()):", new: " && allowLoopbackHTTP:", pkgs: verifierTests},
	{name: "fetch: plain HTTP without the flag", file: "proxy/identity/fetch.go", old: " && allowLoopbackHTTP && isLoopback(u.Hostname()):", new: " && isLoopback(u.Hostname()):", pkgs: verifierTests},
	{name: "fetch: plain HTTP to hosts of a stranger's choice", file: "proxy/identity/fetch.go", old: "checkScheme(u, f.opts.AllowLoopbackHTTP && pinned)", new: "checkScheme(u, f.opts.AllowLoopbackHTTP)", pkgs: verifierTests},
	{name: "fetch: URLs with a user", file: "proxy/identity/fetch.go", old: `u.Host == "" || u.User != nil:`, new: `u.Host == "":`, pkgs: verifierTests},
	{name: "fetch: anywhere without a dialer", file: "proxy/identity/fetch.go", old: "if len(o.URLs) == 0 && o.DialContext == nil {", new: "if false {", pkgs: verifierTests},
	{name: "fetch: localhost is wherever the resolver says", file: "proxy/identity/fetch.go", old: "err != nil || !peer.Addr().Unmap().IsLoopback()", new: "err != nil || !peer.IsValid()", pkgs: verifierTests},
	{name: "fetch: redirects are followed", file: "proxy/identity/fetch.go", old: "return http.ErrUseLastResponse", new: "return nil", pkgs: verifierTests},
	{name: "fetch: the environment names a proxy", file: "proxy/identity/fetch.go", old: "Proxy:                  nil,", new: "Proxy:                  http.ProxyFromEnvironment,", pkgs: verifierTests},
	{name: "fetch: old TLS", file: "proxy/identity/fetch.go", old: "\tsecure.MinVersion = max(secure.MinVersion, tls.VersionTLS12)\n", new: "\tsecure.MinVersion = tls.VersionTLS10\n", pkgs: verifierTests},
	{name: "fetch: answers of any size", file: "proxy/identity/fetch.go", old: "resp.Body = http.MaxBytesReader(nil, resp.Body, maxFetched)", new: "_ = maxFetched", pkgs: verifierTests},
	{name: "fetch: any time", file: "proxy/identity/fetch.go", old: "Transport: f, Timeout: fetchTimeout,", new: "Transport: f,", pkgs: verifierTests},
	{name: "fetch: connections without bound", file: "proxy/identity/fetch.go", old: "MaxConnsPerHost:        maxConns,", new: "MaxConnsPerHost:        0 * maxConns,", pkgs: verifierTests},
	{name: "fetch: the dialer is not asked", file: "proxy/identity/fetch.go", old: "DialContext:            dial,", new: "DialContext:            map[bool]func(context.Context, string, string) (net.Conn, error){true: dial}[false],", pkgs: verifierTests},
	{name: "fetch: any status", file: "proxy/identity/fetch.go", old: "reply.Status != http.StatusOK || ", new: "", pkgs: verifierTests},
	{name: "fetch: any media type", file: "proxy/identity/fetch.go", old: " || !slices.Contains(media, reply.Media) {", new: " {", pkgs: verifierTests},
	{name: "introspection: any status is an answer", file: "proxy/identity/introspection.go", old: "r.Status != http.StatusOK || ", new: "", pkgs: verifierTests},
	{name: "introspection: any media type is an answer", file: "proxy/identity/introspection.go", old: ` || r.Media != "application/json" {`, new: " {", pkgs: verifierTests},

	{name: "dialer: private answers", file: "guards/ssrf/dial.go", old: "addrs, b = publicAddrs(ctx, d.Resolver, t.Host); b != nil", new: "addrs, b = publicAddrs(ctx, d.Resolver, t.Host); b != nil && b.Rule != RuleReserved", pkgs: dialerTests},
	{name: "dialer: any host and port", file: "guards/ssrf/dial.go", old: `Examine("https://"+address, d.Rule)`, new: `Examine("https://"+address, Rule{Ports: []int{80, 443, 8443}})`, pkgs: dialerTests},
	{name: "dialer: names are resolved again", file: "guards/ssrf/dial.go", old: "d.connect(try, network, netip.AddrPortFrom(a, port).String())", new: "d.connect(try, network, func() string { x, _ := publicAddrs(ctx, d.Resolver, \"example.com\"); return netip.AddrPortFrom(append(x, a)[0], port).String() }())", pkgs: dialerTests},
	{name: "dialer: the socket is not looked at", file: "guards/ssrf/dial.go", old: "net.Dialer{Control: vetPeer, ", new: "net.Dialer{", pkgs: dialerTests},
	{name: "dialer: any peer", file: "guards/ssrf/dial.go", old: "err != nil || Reserved(peer.Addr().Unmap())", new: "err != nil || !peer.IsValid()", pkgs: dialerTests},
	{name: "dialer: any network", file: "guards/ssrf/dial.go", old: "\tif !isTCP {", new: "\tif !isTCP && false {", pkgs: dialerTests},
	{name: "dialer: one address may take all the time", file: "guards/ssrf/dial.go", old: "time.Until(end)/time.Duration(len(addrs)-i)", new: "time.Until(end)/time.Duration(min(1, len(addrs)-i))", pkgs: dialerTests},
}
