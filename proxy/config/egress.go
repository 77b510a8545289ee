package config

import (
	"maps"
	"net/netip"
	"slices"
)

// DNS says how names are resolved.
type DNS struct {
	// Hosts maps a name to its addresses. A name that is absent is resolved.
	Hosts map[string][]netip.Addr `json:"hosts,omitempty" jsonschema:"Addresses by host name. Other names are resolved."`
	// Server is the address and port of the name server that is asked. The zero value
	// means the system's resolver.
	Server netip.AddrPort `json:"server,omitzero" jsonschema:"Name server that is asked, as ADDRESS:PORT. Default: the system's resolver."`
}

// Egress is the forward proxy through which servers reach the outside. Processes that the
// sidecar starts find it in their environment, each with a credential of its own.
type Egress struct {
	// Listen is its host:port; port 0 takes a free one. Empty means DefaultEgress; Address
	// resolves it.
	Listen string `json:"listen,omitempty" jsonschema:"Address of the proxy as host:port; port 0 takes a free one. Default: 127.0.0.1:0."`
	// AllowPlaintext permits a listener that other hosts reach, to which passwords travel
	// unencrypted. False refuses that.
	AllowPlaintext bool `json:"allow_plaintext,omitempty" jsonschema:"Permits a listener that other hosts reach: passwords travel to it unencrypted (an isolated network). Default: false."`
	// Connections bounds those of one server, or of one process, at one time. Zero means 64.
	Connections int `json:"connections,omitempty" jsonschema:"Connections of one server or process at one time. Default: 64."`
	// Dial maps addresses that were judged to loopback ones that are dialed in their place;
	// nothing else is dialed then. Nil dials what was judged.
	Dial map[string]netip.AddrPort `json:"dial,omitempty" jsonschema:"For demos and tests: loopback addresses that are dialed in place of public ones, as ADDRESS:PORT, and no others. Default: what was judged is dialed."`
}

// EgressRule says what one server may reach by the egress proxy. Its zero value is every public
// host at port 443.
type EgressRule struct {
	// Hosts are the only hosts allowed; *.example.com allows every name below
	// example.com. Empty allows every public one.
	Hosts []string `json:"hosts,omitempty" jsonschema:"The only hosts allowed; *.example.com allows every name below example.com. Default: every host with public addresses."`
	// Ports are those that CONNECT may name. Empty allows 443 only.
	Ports []int `json:"ports,omitempty" jsonschema:"Ports that CONNECT may name. Default: 443."`
	// HTTPPorts are those of requests that are not encrypted. Empty allows none.
	HTTPPorts []int `json:"http_ports,omitempty" jsonschema:"Ports of requests that are not encrypted. Default: none, plain http is refused."`
	// PasswordFile names the file with the password of a server with a URL, whose user is
	// the server's name. Empty is refused there; a process gets a random one.
	PasswordFile string `json:"password_file,omitempty" jsonschema:"File with the password of a server with a url, at least 32 characters; its user is the server's name. A command gets a random one for each process."`
}

// DefaultEgress is where the egress proxy listens unless the configuration names another
// address.
const DefaultEgress = "127.0.0.1:0"

// Address is where the proxy listens.
func (e *Egress) Address() string {
	if e.Listen == "" {
		return DefaultEgress
	}
	return e.Listen
}

// maxEgressConnections bounds Egress.Connections.
const maxEgressConnections = 4096

func (c *Config) checkEgress(k *checker) {
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		if up := c.Upstreams[name]; up.Egress != nil {
			up.Egress.check(k, child(child("upstreams", name), "egress"), up, c.Egress != nil)
		}
	}
	e := c.Egress
	if e == nil {
		return
	}
	switch defect := listenDefect(e.Address()); {
	case defect != "":
		k.bad("egress.listen", "%s", defect)
	case !isLoopback(listenHost(e.Address())) && !e.AllowPlaintext:
		k.bad("egress.listen", "is reachable from other hosts, and passwords travel to it unencrypted; listen on loopback, or set allow_plaintext: true on an isolated network")
	case (e.Address() == c.Listen || c.Diagnostics != nil && e.Address() == c.Diagnostics.Address()) && !takesFreePort(e.Address()):
		k.bad("egress.listen", "is the address of another listener of the sidecar")
	}
	k.unless(e.Connections >= 0 && e.Connections <= maxEgressConnections, "egress.connections", "must be from 1 to 4096")
	for _, judged := range slices.Sorted(maps.Keys(e.Dial)) {
		at := child("egress.dial", judged)
		if a, err := netip.ParseAddrPort(judged); err != nil || a.String() != judged {
			k.badKey(at, "must be an address and a port, such as 93.184.215.14:443")
		}
		to := e.Dial[judged]
		k.unless(to.IsValid() && to.Addr().IsLoopback() && to.Port() != 0, at, "must be a loopback address and a port: it is for demos and tests")
	}
}

func (r *EgressRule) check(k *checker, path string, up Upstream, on bool) {
	if !on {
		k.badKey(path, "needs the egress proxy, which is not on; add egress: {}")
	}
	for i, h := range r.Hosts {
		k.unless(isHostPattern(h), item(child(path, "hosts"), i), "must be a host, or *. and a domain, in lower case and without port")
	}
	for _, list := range []struct {
		key   string
		ports []int
	}{{"ports", r.Ports}, {"http_ports", r.HTTPPorts}} {
		for i, p := range list.ports {
			k.unless(p >= 1 && p <= 65535, item(child(path, list.key), i), "must be a port from 1 to 65535")
		}
	}
	k.file(child(path, "password_file"), r.PasswordFile)
	switch {
	case up.Command != nil && r.PasswordFile != "":
		k.badKey(child(path, "password_file"), "is for a server with a url; each process of a command gets a random password")
	case up.Command == nil && r.PasswordFile == "":
		k.lacks(child(path, "password_file"), "is required for a server with a url; make one with: openssl rand -hex 32")
	}
}
