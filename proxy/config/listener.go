package config

// TLS makes the MCP endpoint speak TLS 1.2 or later. The files are read again
// when they change.
type TLS struct {
	// CertFile holds the certificate and those that issued it, leaf first, in PEM.
	// Empty is refused.
	CertFile string `json:"cert_file" jsonschema:"Certificate chain in PEM, the sidecar's own certificate first. Read again when it changes."`
	// KeyFile holds the certificate's private key in PEM. Empty is refused.
	KeyFile string `json:"key_file" jsonschema:"Private key of the certificate in PEM. Read again when it changes."`
	// ClientCAFile holds the authorities of which a client must show a certificate,
	// beside its token. Empty asks clients for none.
	ClientCAFile string `json:"client_ca_file,omitempty" jsonschema:"Authorities in PEM of which every client must show a certificate. Read again when it changes. Default: no client certificates."`
}

// Diagnostics is the listener for probes. It asks nobody who he is and tells no
// secret.
type Diagnostics struct {
	// Listen is its host:port; port 0 takes a free one. Empty means
	// DefaultDiagnostics; Address resolves it.
	Listen string `json:"listen,omitempty" jsonschema:"Address of /livez and /readyz as host:port; port 0 takes a free one. Plain HTTP on loopback; elsewhere with the certificate of tls, if there is one. Default: 127.0.0.1:9464."`
}

// DefaultDiagnostics is where probes are answered unless the configuration names
// another address.
const DefaultDiagnostics = "127.0.0.1:9464"

// Address is where the listener opens.
func (d *Diagnostics) Address() string {
	if d.Listen == "" {
		return DefaultDiagnostics
	}
	return d.Listen
}

// OverTLS says whether the probes of c are answered over TLS: wherever somebody
// else could stand in between, and a certificate is configured. Without one they
// are not worth refusing, since they hold nothing secret.
func (c *Config) OverTLS() bool {
	return c.Diagnostics != nil && c.TLS != nil && !isLoopback(listenHost(c.Diagnostics.Address()))
}

// Quarantines says whether tools without an entry are held back.
func (c *Config) Quarantines() bool {
	if c.Quarantine == nil {
		return c.Preset == PresetStrict
	}
	return *c.Quarantine
}

// Public is the origin under which clients reach the sidecar: public_url, or the
// listen address. It is empty where only the listener will know its port.
func (c *Config) Public() string {
	switch {
	case c.PublicURL != "":
		return c.PublicURL
	case takesFreePort(c.Listen):
		return ""
	case c.TLS != nil:
		return "https://" + c.Listen
	}
	return "http://" + c.Listen
}

func (t *TLS) check(k *checker) {
	if t == nil {
		return
	}
	for _, f := range []struct{ key, name string }{{"cert_file", t.CertFile}, {"key_file", t.KeyFile}} {
		if f.name == "" {
			k.lacks(child("tls", f.key), "is required in tls")
		}
		k.file(child("tls", f.key), f.name)
	}
	k.file("tls.client_ca_file", t.ClientCAFile)
}

func (d *Diagnostics) check(k *checker, endpoint string) {
	if d == nil {
		return
	}
	at := d.Address()
	switch defect := listenDefect(at); {
	case defect != "":
		k.bad("diagnostics.listen", "%s", defect)
	case at == endpoint && !takesFreePort(at):
		// Probes on the port that clients reach would tell them about the inside.
		k.bad("diagnostics.listen", "is the address of the MCP endpoint; probes have one of their own")
	}
}
