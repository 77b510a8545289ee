package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/scenarios/pgserver"
	"mcp-sidecar/scenarios/pgtest"
)

const dsnPassword = "pa55/w0rd-of-the-policy"

func TestDSN(t *testing.T) {
	authority := filepath.Join(t.TempDir(), "ca.pem")
	cert, _ := certificate(t, "db.example")
	empty := authority + ".empty"
	for name, text := range map[string][]byte{authority: cert, empty: []byte("nothing")} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const plain, verified, unverified = "plain", "verified", "unverified"
	for _, row := range []struct {
		address string // $U is the user with the password
		options PostgresOptions
		want    string // how, or the error
		addr    string
	}{
		{"postgres://$U@127.0.0.1/db", PostgresOptions{}, plain, "127.0.0.1:5432"},
		{"postgresql://$U@localhost:6432/db?sslmode=disable", PostgresOptions{}, plain, "localhost:6432"},
		{"postgres://$U@[::1]/db", PostgresOptions{}, plain, "[::1]:5432"},
		{"postgres://$U@/db?host=/run/postgresql", PostgresOptions{}, plain, "/run/postgresql/.s.PGSQL.5432"},
		{"postgres://$U@db.example/db", PostgresOptions{}, verified, "db.example:5432"},
		{"postgres://$U@db.example/db?sslmode=verify-full", PostgresOptions{}, verified, "db.example:5432"},
		{"postgres://$U@db.example/db?sslrootcert=" + authority, PostgresOptions{}, verified, "db.example:5432"},
		{"postgres://$U@127.0.0.1/db?sslrootcert=" + authority, PostgresOptions{}, verified, "127.0.0.1:5432"},
		{"postgres://$U@db.example/db?sslmode=require", PostgresOptions{InsecureTLS: true}, unverified, "db.example:5432"},
		{"postgres://$U@db.example/db?sslmode=disable", PostgresOptions{AllowPlaintext: true}, plain, "db.example:5432"},
		{"postgres://$U@db.example/db", PostgresOptions{AllowPlaintext: true, InsecureTLS: true}, verified, "db.example:5432"},
		{"postgres://$U@db.example/db?sslmode=disable", PostgresOptions{}, "in the open", ""},
		{"postgres://$U@10.0.0.1/db?sslmode=disable", PostgresOptions{}, "in the open", ""},
		{"postgres://$U@localhost.example/db?sslmode=disable", PostgresOptions{}, "in the open", ""},
		{"postgres://$U@127.1/db?sslmode=disable", PostgresOptions{}, "in the open", ""},
		{"postgres://$U@db.example/db?sslmode=require", PostgresOptions{}, "does not verify", ""},
		{"postgres://$U@db.example/db?sslmode=require", PostgresOptions{AllowPlaintext: true}, "does not verify", ""},
		{"postgres://$U@db.example/db?sslmode=prefer", PostgresOptions{AllowPlaintext: true, InsecureTLS: true}, "must be verify-full", ""},
		{"postgres://$U@db.example/db?sslmode=allow", PostgresOptions{}, "must be verify-full", ""},
		{"postgres://$U@db.example/db?sslmode=verify-ca", PostgresOptions{}, "must be verify-full", ""},
		{"postgres://$U@db.example/db?sslmode=", PostgresOptions{}, "must be verify-full", ""},
		{"postgres://$U@db.example/db?sslmode=DISABLE", PostgresOptions{}, "must be verify-full", ""},
		{"postgres://$U@db.example/db?sslmode=disable&sslmode=verify-full", PostgresOptions{}, "twice", ""},
		{"postgres://$U@127.0.0.1/db?sslmode=disable&sslrootcert=" + authority, PostgresOptions{}, "does nothing", ""},
		{"postgres://$U@/db?host=/run/postgresql&sslmode=verify-full", PostgresOptions{}, "does nothing", ""},
		{"postgres://$U@db.example/db?host=/run/postgresql", PostgresOptions{}, "in place of the host", ""},
		{"postgres://$U@/db?host=db.example", PostgresOptions{}, "in place of the host", ""},
		{"postgres://$U@db.example/db?sslrootcert=" + authority + ".none", PostgresOptions{}, "no such file", ""},
		{"postgres://$U@db.example/db?sslrootcert=" + empty, PostgresOptions{}, "no certificate", ""},
		{"postgres://$U@db.example/db?options=-csearch_path%3Dx", PostgresOptions{}, `"options" is not supported`, ""},
		{"postgres://$U@db.example/", PostgresOptions{}, "a user and a database", ""},
		{"postgres://db.example/db", PostgresOptions{}, "a user and a database", ""},
		{"postgres://$U@/db", PostgresOptions{}, "names no host", ""},
		{"mysql://$U@db.example/db", PostgresOptions{}, "must begin with postgres://", ""},
		{"host=db.example user=policy password=" + dsnPassword, PostgresOptions{}, "must begin with postgres://", ""},
		{"postgres://$U@db.example:port/db", PostgresOptions{}, "is not a URL", ""},
		{"", PostgresOptions{}, "must begin with postgres://", ""},
	} {
		o := row.options
		o.URL = strings.Replace(row.address, "$U", url.UserPassword("policy", dsnPassword).String(), 1)
		got, err := connectOptions(o)
		if err != nil {
			if row.addr != "" || !errors.Is(err, ErrDSN) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s: %v, want %s", row.address, err, row.want)
			}
			if strings.Contains(err.Error(), "pa55") {
				t.Errorf("%s: the error holds the password: %v", row.address, err)
			}
			continue
		}
		how := verified
		switch {
		case got.TLSConfig == nil:
			how = plain
		case got.TLSConfig.InsecureSkipVerify:
			how = unverified
		case got.TLSConfig.ServerName == "" || got.TLSConfig.MinVersion < tls.VersionTLS12:
			t.Errorf("%s: %+v", row.address, got.TLSConfig)
		}
		if how != row.want || got.Addr != row.addr || got.User != "policy" || got.Database != "db" || got.Password != dsnPassword {
			t.Errorf("%s: %s to %s, want %s to %s", row.address, how, got.Addr, row.want, row.addr)
		}
		if how == verified && strings.Contains(row.address, "sslrootcert") != (got.TLSConfig.RootCAs != nil) {
			t.Errorf("%s: other authorities", row.address)
		}
	}
}

// certificate is one for a name, signed by itself.
func certificate(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// With verify-full the connection stands only with the server that the URL names, whose
// certificate is of a known authority, in the revision and for the listener alike.
func TestPostgresTLS(t *testing.T) {
	cert, key := certificate(t, "localhost")
	other, _ := certificate(t, "localhost")
	server := pgtest.Private(t, pgserver.Options{Certificate: cert, Key: key})
	dir := t.TempDir()
	for name, text := range map[string][]byte{"ca.pem": cert, "other.pem": other} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	admin, err := url.Parse(server.AdminURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(host, query string) string {
		u := *admin
		u.Host, u.RawQuery = host+":"+admin.Port(), strings.ReplaceAll(query, "$DIR", dir)
		return u.String()
	}
	s := openPG(t, server.AdminURL("postgres"))
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		address string
		options PostgresOptions
		want    string
	}{
		"the right host":                 {at("localhost", "sslmode=verify-full&sslrootcert=$DIR/ca.pem"), PostgresOptions{}, ""},
		"another host":                   {at("127.0.0.1", "sslmode=verify-full&sslrootcert=$DIR/ca.pem"), PostgresOptions{}, "x509: "},
		"another authority":              {at("localhost", "sslmode=verify-full&sslrootcert=$DIR/other.pem"), PostgresOptions{}, "x509: "},
		"the system's authorities":       {at("localhost", "sslmode=verify-full"), PostgresOptions{}, "x509: "},
		"unverified, as the flag allows": {at("127.0.0.1", "sslmode=require"), PostgresOptions{InsecureTLS: true}, ""},
	} {
		o := row.options
		o.URL = row.address
		s, err := OpenPostgres(o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Revision(t.Context())
		listening := s.Wait(t.Context(), time.Millisecond)
		for what, err := range map[string]error{"asking": err, "listening": listening} {
			if (err == nil) != (row.want == "") || err != nil && (!errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if password, _ := admin.User.Password(); err != nil && strings.Contains(err.Error(), password) {
				t.Errorf("%s: the error holds the password", name)
			}
		}
		_ = s.Close()
	}
	plain := pgtest.Private(t, pgserver.Options{})
	refused := openPG(t, strings.Replace(plain.AdminURL("postgres"), "sslmode=disable", "sslmode=verify-full", 1))
	if _, err := refused.Revision(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a server without TLS: %v", err)
	}
	socket, err := url.Parse(plain.AdminURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	socket.Host, socket.RawQuery = ":"+socket.Port(), "host="+filepath.Dir(plain.Socket())
	if err := openPG(t, socket.String()).Migrate(t.Context()); err != nil {
		t.Errorf("over a unix socket: %v", err)
	}
}

// The password is in nothing that prints a store or its options.
func TestPostgresPrintsNoPassword(t *testing.T) {
	o := PostgresOptions{URL: "postgres://policy:pa55word@127.0.0.1:1/policy"}
	s := openPG(t, o.URL)
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	held := struct{ S Store }{s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		text = append(text, fmt.Sprintf(verb+verb+verb+verb, o, &o, s, held)...)
	}
	if strings.Contains(string(text), "pa55word") {
		t.Errorf("%s", text)
	}
}

// What a database answers to a wrong password says what to do and holds no password.
func TestPostgresErrors(t *testing.T) {
	d := pgtest.DB(t)
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	wrong := *u
	wrong.User = url.UserPassword(u.User.Username(), dsnPassword)
	none := *u
	none.Path = "/no_such_database"
	nobody := *u
	nobody.Host = "127.0.0.1:1"
	for name, row := range map[string]struct{ address, want string }{
		"wrong password": {wrong.String(), "(user or password)"}, "no such database": {none.String(), "(there is no such database)"}, "nobody there": {nobody.String(), "connection refused"},
	} {
		s := openPG(t, row.address)
		_, err := s.Rows(t.Context())
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", name, err)
		}
		if password, _ := u.User.Password(); err != nil && (strings.Contains(err.Error(), dsnPassword) || strings.Contains(err.Error(), password)) {
			t.Errorf("%s: the error holds the password: %v", name, err)
		}
	}
}
