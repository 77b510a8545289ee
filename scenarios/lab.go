package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"mcp-sidecar/scenarios/issuer"
)

// introspectionClient is the sidecar's client id at the issuer, as in
// sidecar.yaml.
const introspectionClient = "mcp-sidecar"

// lab is everything around the two columns: issuer, fakes, document servers,
// recorders, sidecar and the clients.
type lab struct {
	options options
	talk    io.Writer // what happens, for people

	folder    folder
	ca        *authority // of the fakes
	tokens    map[string]string
	issuer    *issuer.Issuer
	issuerURL string
	fakes     *fakes
	postgres  *database // nil without one
	processes []*process
	audits    []tape // of sidecars that are no column's

	direct, proxied column
	// overHTTP are the two columns of trials that need HTTP. They are the same as
	// above where that is the transport.
	overHTTP struct{ direct, proxied *column }

	closers []func() // run last to first
}

// newLab starts everything that does not run already. After an error nothing is
// left running.
func newLab(ctx context.Context, o options, talk io.Writer) (*lab, error) {
	l := &lab{options: o, talk: talk}
	l.overHTTP.direct, l.overHTTP.proxied = &l.direct, &l.proxied
	if err := l.build(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) build(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		l.makeFolder,
		l.startIssuer,
		l.startPostgres,
		l.startFakes,
		l.startDirect,
		l.startProxied,
		l.startBeside,
		l.startSecond,
		l.startEgress,
		l.startLogin,
		l.startBrokered,
		l.connect,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) makeFolder(context.Context) (err error) {
	if l.folder, err = newFolder(l.options.work); err != nil {
		return err
	}
	if l.options.work == "" && !l.options.keep {
		l.closers = append(l.closers, func() { _ = os.RemoveAll(string(l.folder)) })
	}
	l.say("work folder %s", l.folder)
	_, err = l.folder.secret(serviceFile)
	return err
}

func (l *lab) startIssuer(ctx context.Context) error {
	secret, err := l.folder.secret(introspectFile)
	if err != nil {
		return err
	}
	ln, err := listen(ctx, l.options.issuer)
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	l.issuerURL = "http://" + ln.Addr().String()
	l.issuer = issuer.New(issuer.Config{URL: l.issuerURL, ClientID: introspectionClient, ClientSecret: secret})
	l.tokens = mintTokens(l.issuer) // before anybody asks for the keys
	if err := l.folder.write(revokedFile, revocations(l.tokens)); err != nil {
		_ = ln.Close()
		return err
	}
	server := serveHTTP(ln, l.issuer.Handler())
	l.closers = append(l.closers, func() { _ = server.Close() })
	l.say("issuer      %s", l.issuerURL)
	return nil
}

func (l *lab) startFakes(ctx context.Context) error {
	ln, err := listen(ctx, l.options.fakes)
	if err != nil {
		return fmt.Errorf("fakes: %w", err)
	}
	if l.ca, err = l.folder.authority(); err != nil {
		_ = ln.Close()
		return err
	}
	if l.fakes, err = startFakes(ln, l.ca); err != nil {
		_ = ln.Close()
		return err
	}
	l.closers = append(l.closers, l.fakes.close)
	l.say("fakes       %s (%s, %s, %s)", l.fakes.addr, metadataHost, routerHost, policyHost)
	return errors.Join(l.folder.write(hostsFile, hostsMap(l.fakes.addr)), l.folder.write(outsideFile, []byte(outsideText)))
}

// startDirect starts the open document server.
func (l *lab) startDirect(ctx context.Context) error {
	l.direct = column{name: "direct", url: l.options.direct}
	if l.direct.url != "" {
		l.lookAtFakes(&l.direct)
		return nil
	}
	if l.options.transport == overStdio {
		command, err := l.pipedServer(&l.direct, "docserver-direct")
		l.direct.command = command
		return err
	}
	return l.serveDirect(ctx, &l.direct, "docserver-direct")
}

// serveDirect starts an open document server over HTTP.
func (l *lab) serveDirect(ctx context.Context, c *column, name string) error {
	r, err := l.startServer(ctx, c, name)
	if err != nil {
		return err
	}
	c.url = r.url
	return nil
}

// startProxied starts the document server that only the sidecar may call, and the
// sidecar in front of it.
func (l *lab) startProxied(ctx context.Context) error {
	l.proxied = column{name: "proxied", url: l.options.proxied}
	if l.proxied.url != "" {
		l.lookAtFakes(&l.proxied)
		return nil
	}
	if l.options.transport == overStdio {
		return l.pipeProxied()
	}
	l.proxied.audit = tape(l.folder.path(auditFile))
	return l.serveProxied(ctx, &l.proxied, "docserver-behind", "mcp-sidecar", configFile)
}

// serveProxied starts a sidecar over HTTP and the server behind it.
func (l *lab) serveProxied(ctx context.Context, c *column, server, sidecar, config string, more ...replacement) error {
	r, err := l.startServer(ctx, c, server, l.serviceToken()...)
	if err != nil {
		return err
	}
	if err := l.folder.config(config, anyPort, l.issuerURL, l.policyAt(append(more, atURL(r.url))...)...); err != nil {
		return err
	}
	p, err := l.start(ctx, sidecar, "mcp-sidecar", "serve", "-c", l.folder.path(config))
	if err != nil {
		return err
	}
	c.url = p.url
	return nil
}

// startBeside starts what the chosen scenarios need HTTP for, beside pipes.
func (l *lab) startBeside(ctx context.Context) error {
	if l.options.transport == overHTTP || !l.options.needs(func(t trial) bool { return t.overHTTP }) {
		return nil
	}
	direct := &column{name: "direct over HTTP"}
	proxied := &column{name: "proxied over HTTP", audit: tape(l.folder.path(httpAuditFile))}
	l.overHTTP.direct, l.overHTTP.proxied = direct, proxied
	if err := l.serveDirect(ctx, direct, "docserver-direct-http"); err != nil {
		return err
	}
	return l.serveProxied(ctx, proxied, "docserver-behind-http", "mcp-sidecar-http", httpConfigFile, apart()...)
}

// startLogin starts one more sidecar in front of the same server, at which clients
// log in.
func (l *lab) startLogin(ctx context.Context) error {
	direct, proxied := l.overHTTP.direct, l.overHTTP.proxied
	if !l.owns() || !l.options.needs(func(t trial) bool { return t.logsIn && t.way == "" }) {
		return nil
	}
	public, err := l.startAt(ctx, "login", loginConfig, func(string) []replacement {
		return []replacement{atURL(proxied.recorder.(*recorder).url)}
	})
	direct.login, proxied.login = direct.url, public+mcpPath
	return err
}

// startAt starts a sidecar that has to know its address before it listens: something
// stands in front of it there, as a load balancer would.
func (l *lab) startAt(ctx context.Context, short, config string, more func(public string) []replacement) (public string, err error) {
	name := "mcp-sidecar-" + short
	ln, err := listen(ctx, anyPort)
	if err != nil {
		return "", err
	}
	l.closers = append(l.closers, func() { _ = ln.Close() })
	public = "http://" + ln.Addr().String()
	if err := l.folder.config(config, anyPort, l.issuerURL, l.policyAt(append(atAddress(public, short), more(public)...)...)...); err != nil {
		return "", err
	}
	p, err := l.start(ctx, name, "mcp-sidecar", "serve", "-c", l.folder.path(config))
	if err != nil {
		return "", err
	}
	target, err := url.Parse(p.url)
	if err != nil {
		return "", fmt.Errorf("%s listens on %q: %w", name, p.url, err)
	}
	front := forward(target)
	front.Rewrite = func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
		p.Out.Host = p.In.Host // the address that browsers and clients know
	}
	l.audits = append(l.audits, tape(l.folder.path(auditOf(short))))
	server := serveHTTP(ln, front)
	l.closers = append(l.closers, func() { _ = server.Close() })
	return public, nil
}

// mcpPath is where a sidecar with one server offers it.
const mcpPath = "/mcp"

// lookAtFakes gives a column whose server was started elsewhere the one sensor
// that it can have: fakes at an address that the server was told of.
func (l *lab) lookAtFakes(c *column) {
	l.say("%-11s %s", c.name, c.url)
	if l.options.fakes != anyPort {
		c.fakes = l.fakes
		return
	}
	l.say("warning: without --fakes, the ssrf scenario may make %s call real hosts; see --prepare", c.url)
}

// serviceToken makes a document server accept the sidecar only.
func (l *lab) serviceToken() []string {
	return []string{"--service-token-file", l.folder.path(serviceFile)}
}

// equip gives c the sensors around a document server, and returns the arguments
// that the server then needs.
func (l *lab) equip(c *column, name string) ([]string, error) {
	c.fakes, c.scratch = l.fakes, l.folder.path(name+"-home")
	return []string{"--reset", "--exec", "shell", "--scratch", c.scratch,
		"--hosts", l.folder.path(hostsFile), "--ca-file", l.folder.path(caFile)}, placeCanary(c.scratch)
}

// startServer starts a document server with a recorder in front of it, and gives
// c all its sensors.
func (l *lab) startServer(ctx context.Context, c *column, name string, args ...string) (*recorder, error) {
	more, err := l.equip(c, name)
	if err != nil {
		return nil, err
	}
	c.database = l.postgres.of(name)
	p, err := l.start(ctx, name, "docserver", append(append(args, "--listen", anyPort), more...)...)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(p.url)
	if err != nil {
		return nil, fmt.Errorf("%s listens on %q: %w", name, p.url, err)
	}
	ln, err := listen(ctx, anyPort)
	if err != nil {
		return nil, err
	}
	r := startRecorder(ln, target, believing(forward(target)))
	c.recorder = r
	l.closers = append(l.closers, r.close)
	return r, nil
}

// start runs one of our programs until the lab closes.
func (l *lab) start(ctx context.Context, name, program string, args ...string) (*process, error) {
	path, err := l.program(program)
	if err != nil {
		return nil, err
	}
	more, err := l.postgres.environment(ctx, name, program)
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, string(l.folder), name, path, more, args...)
	if err != nil {
		return nil, err
	}
	l.processes = append(l.processes, p)
	l.closers = append(l.closers, p.stop)
	l.say("%s %s, stderr in %s", name, p.url, p.log)
	return p, nil
}

// program finds one of our programs: next to this one, if not told otherwise.
func (l *lab) program(name string) (string, error) {
	dir := l.options.bin
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("finding %s: %w", name, err)
		}
		dir = filepath.Dir(self)
	}
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Abs(filepath.Join(dir, name))
}

// columns are all there are, those over HTTP only where they are others.
func (l *lab) columns() []*column {
	all := []*column{&l.direct, &l.proxied}
	if l.overHTTP.direct != &l.direct {
		all = append(all, l.overHTTP.direct, l.overHTTP.proxied)
	}
	return all
}

// connect opens a connection for each user in each column.
func (l *lab) connect(ctx context.Context) error {
	service, err := l.folder.secret(serviceFile)
	if err != nil {
		return err
	}
	l.direct.door, l.proxied.door = &l.proxied, &l.proxied
	l.overHTTP.direct.door, l.overHTTP.proxied.door = l.overHTTP.proxied, l.overHTTP.proxied
	for _, c := range l.columns() {
		c.tokens, c.users, c.service, c.revision = l.tokens, make(map[string]*client), service, l.options.revision
		l.closers = append(l.closers, c.close)
		connect, err := l.connector(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", c.name, err, l.tails())
		}
		for _, row := range rows {
			user, err := connect(l.tokens[row.user])
			if err != nil {
				return l.unreachable(c, row.user, err)
			}
			c.users[row.user] = user
		}
	}
	return l.startDetours(ctx)
}

// startDetours puts the wrong proxies of the trials in front of the open server.
func (l *lab) startDetours(ctx context.Context) error {
	if !l.options.needs(func(t trial) bool { return t.overHTTP }) {
		return nil
	}
	c := l.overHTTP.direct
	target, err := url.Parse(c.url)
	if err != nil {
		return err
	}
	ways := map[string]func(*url.URL) http.Handler{throughCopying: copyingProxy, throughAdopter: newAdopter}
	if c.recorder == nil {
		ways[throughBelieving] = believingProxy // those of our own servers believe already
	}
	c.detours = make(map[string]detour)
	for name, proxy := range ways {
		own, err := l.serve(ctx, proxy(target))
		if err != nil {
			return err
		}
		d := detour{url: own + target.Path}
		if d.alice, err = connect(ctx, d.url, l.options.revision, c.tokens["alice"]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.detours[name] = d
	}
	return nil
}

// connector returns what connects one user of c.
func (l *lab) connector(ctx context.Context, c *column) (func(token string) (*client, error), error) {
	if c.command != nil {
		return l.onePipe(ctx, c)
	}
	return func(token string) (*client, error) { return connect(ctx, c.url, l.options.revision, token) }, nil
}

// unreachable tells a server of the user's that is down from one of ours that
// does not work.
func (l *lab) unreachable(c *column, user string, err error) error {
	err = fmt.Errorf("%s, as %s: %w", c.name, user, err)
	if slices.Contains([]string{l.options.direct, l.options.proxied}, c.url) {
		return coded(exitDependency, err)
	}
	return fmt.Errorf("%w\n%s", err, l.tails())
}

// runner joins both columns.
func (l *lab) runner() *runner {
	return &runner{
		direct: &l.direct, proxied: &l.proxied,
		httpDirect: l.overHTTP.direct, httpProxied: l.overHTTP.proxied,
		level: l.owns(),
	}
}

// owns says whether the demo itself has started both servers.
func (l *lab) owns() bool { return l.options.direct == "" && l.options.proxied == "" }

// serve answers at an address of the system's choice until the lab closes.
func (l *lab) serve(ctx context.Context, h http.Handler) (url string, err error) {
	ln, err := listen(ctx, anyPort)
	if err != nil {
		return "", err
	}
	server := serveHTTP(ln, h)
	l.closers = append(l.closers, func() { _ = server.Close() })
	return "http://" + ln.Addr().String(), nil
}

// tails returns the end of the stderr of each program, those that have died
// first.
func (l *lab) tails() string {
	var dead, alive string
	for _, p := range l.processes {
		if p.ended() {
			dead += fmt.Sprintf("%s has ended: %v\n%s\n", p.name, p.err, p.tail())
		} else {
			alive += p.tail() + "\n"
		}
	}
	return dead + alive
}

// close ends the clients, then the programs, then what they talk to.
func (l *lab) close() {
	for _, f := range slices.Backward(l.closers) {
		f()
	}
	l.closers = nil
}

func (l *lab) say(format string, args ...any) {
	fmt.Fprintf(l.talk, "scenarios: "+format+"\n", args...)
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}
