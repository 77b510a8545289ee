package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"mcp-sidecar/scenarios/issuer"
)

// Programs that want access in alice's name: one of her own, which is known
// everywhere, and one that calls itself the same.
const (
	desktopID   = "desktop"
	desktopName = "Desktop App"
	desktopURL  = "https://" + desktopHost + "/callback"
	attackerURL = "https://" + attackerHost + "/callback"
)

// deputy is a server that wants a third party's token of its user, behind something
// that gets it for her: a proxy that the third party knows as one client, and that
// asks nobody; and the sidecar's broker.
func deputy() scenario {
	const secret = "alice's own notes"
	read := func(label string, send func(context.Context, *column, *event) answer) trial {
		return trial{
			label: label, document: secret, overHTTP: true, own: true, logsIn: true, way: throughStatic,
			user: "alice", tool: "read_document", args: args{"id": idArgument}, send: send,
			direct: answer{allowed, readHeader + secret},
		}
	}
	attack := func(label, stop string, link func(*brokered, program) string) trial {
		t := read(label, func(ctx context.Context, c *column, e *event) answer { return c.brokered.lure(ctx, e, link) })
		t.harmful = true
		t.proxied = answer{rejected, "alice's browser stops at: " + stop}
		t.effects = []effect{codeArrived("yes", "no"), thirdGranted("1", "0"), returned("yes", "no")}
		return t
	}
	own := read("alice's own program             ->", func(ctx context.Context, c *column, e *event) answer {
		return c.brokered.grant(ctx, e, program{id: desktopID, redirect: desktopURL, host: desktopHost})
	})
	own.proxied = answer{allowed, readHeader + wrapped(secret, nothingFound)}
	own.effects = []effect{askedBy(thirdPartyTitle, "Allow Desktop App to use docs?, then "+thirdPartyTitle), thirdGranted("1", "1")}

	another := attack("a link to authorize another one ->", "Allow Desktop App to use docs?", func(_ *brokered, p program) string { return p.link() })
	another.effects = append(another.effects, pageNames("no", "yes"))

	const refused = "Access was not granted"
	return scenario{
		name:  "deputy",
		title: "OAuth confused deputy (who is asked, and about whom)",
		trials: []trial{
			own,
			another,
			attack("her program, another's redirect ->", refused, func(_ *brokered, p program) string {
				p.id = desktopID
				return p.link()
			}),
			attack("a state that the attacker wrote ->", refused, func(b *brokered, p program) string {
				return b.vendorLink(remembered{p.redirect, "s", challengeOf(p.verifier)}.pack())
			}),
			attack("no state                        ->", refused, func(b *brokered, _ program) string { return b.vendorLink("") }),
		},
	}
}

// throughStatic is the way through staticProxy.
const throughStatic = "through a proxy with one client id for all"

// program is a client of an authorization server in front of a third party.
type program struct {
	base     string // of the authorization server
	id       string
	redirect string
	host     string // of redirect, where the fakes keep its codes
	verifier string // PKCE
}

// link is what a user opens to give p access.
func (p program) link() string {
	return p.base + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {p.id}, "redirect_uri": {p.redirect}, "state": {"s"}, "scope": {"documents:read"},
		"code_challenge": {challengeOf(p.verifier)}, "code_challenge_method": {"S256"}, "resource": {p.base + "/mcp"},
	}.Encode()
}

// begin opens p's link and goes no further: whoever looks for a request that is under
// way finds p's.
func (p program) begin(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.link(), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// register makes a program known under a name of its own choice (RFC 7591).
func register(ctx context.Context, base, name, redirect string) (id string, err error) {
	body, err := json.Marshal(map[string]any{"client_name": name, "redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none"})
	if err != nil {
		return "", err
	}
	var answer struct {
		ID string `json:"client_id"`
	}
	return answer.ID, postForJSON(ctx, base+"/register", "application/json", string(body), &answer)
}

// redeem turns a code into a token (RFC 6749 section 4.1.3).
func redeem(ctx context.Context, base string, form url.Values) (token string, err error) {
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := postForJSON(ctx, base+"/token", "application/x-www-form-urlencoded", form.Encode(), &answer); err != nil {
		return "", err
	}
	if answer.Token == "" {
		return "", errors.New("no access_token")
	}
	return answer.Token, nil
}

func postForJSON(ctx context.Context, url, media, body string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body)) //nolint:gosec // one of the demo's own
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", media)
	resp, err := rawHTTP.Do(r) //nolint:gosec // one of the demo's own
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answers %d: %s", url, resp.StatusCode, text)
	}
	return json.Unmarshal(text, into)
}

// brokered is what of a column stands in front of a third party.
type brokered struct {
	authority    string // URL of what programs register with, and below it the MCP endpoint
	revision     string // of MCP
	vendor       *thirdParty
	vendorURL    string
	vendorClient string            // what the vendor knows the authority as
	alice        *browser          // hers
	fakes        *fakes            // where programs wait for their codes
	tokens       map[string]string // the demo's, to which those of programs are added
}

// lure registers the attacker's program and has alice open a link of his.
func (b *brokered) lure(ctx context.Context, e *event, link func(*brokered, program) string) answer {
	id, err := register(ctx, b.authority, desktopName, attackerURL)
	if err != nil {
		return answer{failed, err.Error()}
	}
	p := program{base: b.authority, id: id, redirect: attackerURL, host: attackerHost, verifier: rand.Text() + rand.Text()}
	if err := p.begin(ctx); err != nil {
		return answer{failed, err.Error()}
	}
	return b.open(ctx, e, p, link(b, p), false)
}

// vendorLink goes to the third party as if the authority had sent the user there.
func (b *brokered) vendorLink(state string) string {
	q := url.Values{"response_type": {"code"}, "client_id": {b.vendorClient}, "redirect_uri": {b.authority + "/callback/docs"}}
	if state != "" {
		q.Set("state", state)
	}
	return b.vendorURL + "/authorize?" + q.Encode()
}

// grant has alice give a program of hers access.
func (b *brokered) grant(ctx context.Context, e *event, p program) answer {
	p.base, p.verifier = b.authority, rand.Text()+rand.Text()
	return b.open(ctx, e, p, p.link(), true)
}

// open lets alice's browser open address. If the program gets a code in the end, it
// calls the trial's tool with what the code is good for.
func (b *brokered) open(ctx context.Context, e *event, p program, address string, allow bool) answer {
	before := len(b.vendor.issued())
	last, asked, err := b.alice.visit(ctx, address, allow)
	if err != nil {
		return answer{failed, err.Error()}
	}
	e.asked, e.granted, e.page = strings.Join(asked, ", then "), len(b.vendor.issued())-before, last.body
	code := b.fakes.code(p.host)
	if e.arrived = code != ""; !e.arrived {
		return answer{rejected, "alice's browser stops at: " + last.title}
	}
	token, err := redeem(ctx, b.authority, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.redirect}, "client_id": {p.id}, "code_verifier": {p.verifier},
	})
	if err != nil {
		return answer{failed, err.Error()}
	}
	b.tokens["of "+p.id] = token
	client, err := connect(ctx, b.authority+"/mcp", b.revision, token)
	if err != nil {
		return answer{failed, err.Error()}
	}
	defer client.close()
	return client.call(ctx, "", e.trial.tool, withID(e.trial.args, e.id))
}

// codeArrived looks whether the attacker's page was opened with a code.
func codeArrived(direct, proxied string) effect {
	return effect{"code at " + attackerHost, direct, proxied, func(_ context.Context, _ *column, e event) string { return yesNo(e.arrived) }}
}

// thirdGranted counts the tokens that the third party has given out for it.
func thirdGranted(direct, proxied string) effect {
	return effect{"tokens of the vendor", direct, proxied, func(_ context.Context, _ *column, e event) string { return strconv.Itoa(e.granted) }}
}

// pageNames looks whether alice reads where the answer would go.
func pageNames(direct, proxied string) effect {
	return effect{"alice reads " + attackerHost, direct, proxied, func(_ context.Context, _ *column, e event) string {
		return yesNo(strings.Contains(e.page, attackerHost))
	}}
}

// askedBy is which pages asked alice.
func askedBy(direct, proxied string) effect {
	return effect{"alice is asked", direct, proxied, func(_ context.Context, _ *column, e event) string { return e.asked }}
}

// sidecarClient is what the issuer and the third party know the sidecar as.
const sidecarClient = "mcp-sidecar"

// startBrokered puts both document servers behind a third party, and the static
// proxy and a sidecar with its broker in front of them.
func (l *lab) startBrokered(ctx context.Context) error {
	direct, proxied := l.overHTTP.direct, l.overHTTP.proxied
	if !l.owns() || !l.options.needs(func(t trial) bool { return t.way == throughStatic }) {
		return nil
	}
	vendor := newThirdParty()
	vendorURL, err := l.serve(ctx, vendor.handler())
	if err != nil {
		return err
	}
	for _, c := range []*column{direct, proxied} {
		c.brokered = &brokered{revision: l.options.revision, vendor: vendor, vendorURL: vendorURL, fakes: l.fakes, tokens: l.tokens}
		if c.brokered.alice, err = newBrowser("alice", l.issuerURL, l.fakes, l.ca); err != nil {
			return err
		}
		l.closers = append(l.closers, c.brokered.alice.close)
	}
	if err := l.startStatic(ctx, direct.brokered); err != nil {
		return err
	}
	return l.startBroker(ctx, proxied.brokered)
}

// startStatic puts the static proxy in front of the open server.
func (l *lab) startStatic(ctx context.Context, b *brokered) error {
	target, err := url.Parse(l.overHTTP.direct.url)
	if err != nil {
		return err
	}
	ln, err := listen(ctx, anyPort)
	if err != nil {
		return err
	}
	b.authority, b.vendorClient = "http://"+ln.Addr().String(), staticClient
	proxy := newStaticProxy(b.authority, b.vendorURL, b.vendor.protect("", forward(target)))
	b.vendor.admit(staticClient, b.authority+proxy.callbackPath())
	server := serveHTTP(ln, proxy.handler())
	l.closers = append(l.closers, func() { _ = server.Close() })
	return nil
}

// startBroker puts a sidecar with a broker in front of the other server.
func (l *lab) startBroker(ctx context.Context, b *brokered) error {
	behind := l.overHTTP.proxied.recorder.(*recorder)
	target, err := url.Parse(behind.url)
	if err != nil {
		return err
	}
	service, err := l.folder.secret(serviceFile)
	if err != nil {
		return err
	}
	server, err := l.serve(ctx, b.vendor.protect(service, forward(target)))
	if err != nil {
		return err
	}
	if err := l.folder.write(brokerKeyFile, []byte(rand.Text()+rand.Text())); err != nil {
		return err
	}
	b.vendorClient = sidecarClient
	b.authority, err = l.startAt(ctx, "broker", brokerConfig, func(public string) []replacement {
		b.vendor.admit(sidecarClient, public+"/callback/docs")
		l.issuer.AddClient(issuer.Client{ID: sidecarClient, RedirectURIs: []string{public + "/login/callback"}})
		return behindVendor(server+mcpPath, b.vendorURL, l.issuerURL)
	})
	return err
}
