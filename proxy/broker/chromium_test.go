package broker

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// chromium finds a browser, or skips the test where that is allowed.
func chromium(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	if own := os.Getenv("CHROMIUM"); own != "" {
		names = []string{own}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("REQUIRE_CHROMIUM") == "1" {
		t.Fatal("REQUIRE_CHROMIUM=1, and there is no Chromium in CHROMIUM or PATH")
	}
	t.Skip("SKIPPED: no Chromium in CHROMIUM or PATH; the consent page was not tried in a browser")
	return ""
}

// tab is a page of a headless Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string // of the browser, about content security policies and else
}

func openTab(t *testing.T) *tab {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"), // no packet leaves this machine
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	call(b, cdplog.Enable, cdp.Empty{})
	call(b, audits.Enable, cdp.Empty{})
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		b.complaints = append(b.complaints, e.Entry.Source.String()+": "+e.Entry.Text)
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue {
			b.complaints = append(b.complaints, "policy: "+e.Issue.Details.ContentSecurityPolicyIssueDetails.ViolatedDirective)
		}
	}
}

// complained are the browser's complaints so far.
func (b *tab) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.complaints), func(c string) bool { return strings.Contains(c, "favicon") })
}

func (b *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%v; the browser says %q", err, b.complained())
	}
}

// value evaluates JavaScript from outside of the page, which has none.
func value[T any](b *tab, expression string) T {
	b.t.Helper()
	return get(b, chromedp.Evaluate[T](expression))
}

func get[T any](b *tab, a chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.t.Fatalf("%v; the browser says %q", err, b.complained())
	}
	return v
}

// call sends a command of the protocol.
func call[P, R any](b *tab, c cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, c, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// focus presses Tab until the focus is on what selector names.
func (b *tab) focus(selector string) {
	b.t.Helper()
	for range 20 {
		b.run(chromedp.KeyEvent(kb.Tab))
		if value[bool](b, `document.activeElement !== null && document.activeElement.matches(`+"`"+selector+"`"+`)`) {
			return
		}
	}
	b.t.Fatalf("Tab never reaches %s", selector)
}

// client is the program at whose address the user ends up.
type client struct {
	*httptest.Server
	arrived chan url.Values
}

func newClient(t *testing.T) *client {
	c := &client{arrived: make(chan url.Values, 4)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/callback" {
			c.arrived <- q.URL.Query()
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(`<!DOCTYPE html><html lang="en"><title>client</title><link rel="icon" href="data:,"><p>Done.`))
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *client) answered(t *testing.T) url.Values {
	t.Helper()
	select {
	case v := <-c.arrived:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("the user did not come back to the client")
		return nil
	}
}

// startInBrowser serves plain http on loopback, where __Host- cookies have to work
// as well.
func startInBrowser(t *testing.T) (*rig, *client, url.Values) {
	t.Helper()
	return startInBrowserAt(t, "127.0.0.1")
}

// startInBrowserAt serves under host, which is another site than the providers'
// unless it is 127.0.0.1.
func startInBrowserAt(t *testing.T, host string) (*rig, *client, url.Values) {
	t.Helper()
	chromium(t)
	c := newClient(t)
	serve := func(h http.Handler) *httptest.Server {
		s := httptest.NewServer(h)
		s.URL = strings.Replace(s.URL, "127.0.0.1", host, 1)
		return s
	}
	r := startOn(t, serve, func(o *Options) {
		o.Clients = append(o.Clients, Client{ID: "desktop", Name: "Desktop App", Redirects: []string{"http://127.0.0.1/callback"}})
	})
	v := r.request()
	v.Set("client_id", "desktop")
	v.Set("redirect_uri", c.URL+"/callback")
	v.Set("scope", "documents:read documents:write")
	return r, c, v
}

const (
	allow = `button[value="approve"]`
	deny  = `button[value="deny"]`
)

// The whole way with the keyboard alone, in a browser that enforces the policies.
func TestChromiumFlow(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) { flowInBrowser(t, host) })
	}
}

func flowInBrowser(t *testing.T, host string) {
	r, c, v := startInBrowserAt(t, host)
	b := openTab(t)
	b.run(chromedp.Navigate(r.authorizeURL(v)), chromedp.WaitVisible(chromedp.CSS(allow)))
	if r.third.touched() != 0 {
		t.Fatal("the third party was reached before the user was asked")
	}
	b.focus(deny)
	b.focus(allow)
	if outline := value[string](b, `getComputedStyle(document.activeElement).outlineStyle`); outline != "solid" {
		t.Errorf("the focus cannot be seen: %s", outline)
	}
	b.run(chromedp.KeyEvent(kb.Enter))
	q := c.answered(t)
	f := r.redemption(q.Get("code"))
	f.Set("client_id", "desktop")
	f.Set("redirect_uri", c.URL+"/callback")
	if a := r.token(f); a.status != 200 || q.Get("iss") != r.server.URL || q.Get("state") != "state of the client" {
		t.Errorf("%+v, brought back %v", a, q)
	}
	if said := b.complained(); len(said) != 0 {
		t.Errorf("the browser complained: %q", said)
	}
}

func TestChromiumDeny(t *testing.T) {
	r, c, v := startInBrowser(t)
	b := openTab(t)
	b.run(chromedp.Navigate(r.authorizeURL(v)), chromedp.WaitVisible(chromedp.CSS(deny)))
	b.focus(deny)
	b.run(chromedp.KeyEvent(" "))
	if q := c.answered(t); q.Get("error") != "access_denied" || q.Has("code") || r.third.touched() != 0 {
		t.Errorf("brought back %v", q)
	}
	if said := b.complained(); len(said) != 0 {
		t.Errorf("the browser complained: %q", said)
	}
}

// What the browser has kept, as it understood it.
func TestChromiumCookies(t *testing.T) {
	r, _, v := startInBrowser(t)
	b := openTab(t)
	b.run(chromedp.Navigate(r.authorizeURL(v)), chromedp.WaitVisible(chromedp.CSS(allow)))
	cookies := call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{r.server.URL}}).Cookies
	if len(cookies) != 1 {
		t.Fatalf("%d cookies", len(cookies))
	}
	c := cookies[0]
	if !strings.HasPrefix(c.Name, consentCookie) || !c.Secure || !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || c.Path != "/" || c.Domain != "127.0.0.1" || c.Session {
		t.Errorf("%+v", c)
	}
}

// Nobody can put the page into one of his own and have the user click on it.
func TestChromiumFraming(t *testing.T) {
	r, _, v := startInBrowser(t)
	b := openTab(t)
	b.run(chromedp.Navigate(r.authorizeURL(v)), chromedp.WaitVisible(chromedp.CSS(allow)))
	consent := value[string](b, `location.href`)
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!DOCTYPE html><title>attacker</title><link rel="icon" href="data:,"><iframe id="f" src="%s" onload="document.title='loaded'"></iframe>`, consent)
	}))
	defer attacker.Close()
	b.run(chromedp.Navigate(attacker.URL))
	get(b, chromedp.Poll[bool](`document.title === 'loaded'`))
	tree := call(b, cdppage.GetFrameTree, cdp.Empty{}).FrameTree
	if len(tree.ChildFrames) != 1 || !strings.HasPrefix(tree.ChildFrames[0].Frame.URL, "chrome-error://") {
		t.Errorf("the page was framed: %+v", tree.ChildFrames)
	}
	if said := strings.Join(b.complained(), "\n"); !strings.Contains(said, "frame-ancestors") {
		t.Errorf("the browser says %q", said)
	}
}

// A form on another site gets no decision through: same site, since ports do not
// count there, and so with the cookie.
func TestChromiumForgedDecision(t *testing.T) {
	r, c, v := startInBrowser(t)
	b := openTab(t)
	b.run(chromedp.Navigate(r.authorizeURL(v)), chromedp.WaitVisible(chromedp.CSS(allow)))
	flow, csrf := value[string](b, `document.querySelector('[name=flow]').value`), value[string](b, `document.querySelector('[name=csrf]').value`)
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// Even the token would not help.
		_, _ = fmt.Fprintf(w, `<!DOCTYPE html><title>attacker</title><link rel="icon" href="data:,"><form method="post" action="%s/consent"><input name="flow" value="%s"><input name="csrf" value="%s"><button name="decision" value="approve">Win a prize</button></form>`, r.server.URL, flow, csrf)
	}))
	defer attacker.Close()
	b.run(chromedp.Navigate(attacker.URL), chromedp.Click(chromedp.CSS("button")), chromedp.WaitVisible(chromedp.CSS("h1")))
	if title := value[string](b, `document.title`); title != "Access was not granted" || r.third.touched() != 0 || len(c.arrived) != 0 {
		t.Errorf("%q, third party reached %d times", title, r.third.touched())
	}
	r.noCode("consent denied origin")
}

// A script that got into the page after all does not run.
func TestChromiumNoScript(t *testing.T) {
	r, _, v := startInBrowser(t)
	b := openTab(t)
	b.run(chromedp.Navigate(r.authorizeURL(v)), chromedp.WaitVisible(chromedp.CSS(allow)))
	ran := value[bool](b, `(() => { const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s); return window.ran === true })()`)
	if ran || !strings.Contains(strings.Join(b.complained(), "\n"), "script-src") {
		t.Errorf("an inline script ran: %v; the browser says %q", ran, b.complained())
	}
}

// What assistive technology is told about each page.
func TestChromiumAccessibility(t *testing.T) {
	r, _, v := startInBrowser(t)
	for name, address := range map[string]string{"consent": r.authorizeURL(v), "error": r.authorizeURL(url.Values{})} {
		t.Run(name, func(t *testing.T) {
			b := openTab(t)
			b.run(chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS("h1")))
			roles := map[string]int{}
			for _, n := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
				if n.Ignored || n.Role == nil {
					continue
				}
				role, label := strings.Trim(n.Role.Value.String(), `"`), ""
				if n.Name != nil {
					label = strings.Trim(n.Name.Value.String(), `"`)
				}
				roles[role]++
				if slices.Contains([]string{"button", "link", "textbox", "heading", "RootWebArea"}, role) && label == "" {
					t.Errorf("a %s has no name", role)
				}
			}
			if roles["RootWebArea"] != 1 || roles["main"] != 1 || roles["heading"] == 0 || name == "consent" && roles["button"] != 2 {
				t.Errorf("roles %v", roles)
			}
			if lang := value[string](b, `document.documentElement.lang`); lang != "en" {
				t.Errorf("language %q", lang)
			}
			if levels := value[string](b, `[...document.querySelectorAll('h1,h2,h3')].map(h => h.localName).join(' ')`); !strings.HasPrefix(levels, "h1") || strings.Count(levels, "h1") != 1 {
				t.Errorf("headings %s", levels)
			}
		})
	}
}

// contrast is the lowest ratio of any text on the page to what is behind it (WCAG
// 2.2, success criterion 1.4.3).
const contrast = `(() => {
	const parse = c => c.match(/[\d.]+/g).map(Number)
	const light = c => parse(c).slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0)
	const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return getComputedStyle(e).backgroundColor } return 'rgb(255, 255, 255)' }
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
	let lowest = 21
	while (walk.nextNode()) {
		if (!walk.currentNode.data.trim()) continue
		const e = walk.currentNode.parentElement, [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x)
		lowest = Math.min(lowest, (a + .05) / (b + .05))
	}
	return lowest
})()`

// The page can be read in light and dark, on a narrow screen, with what is long in
// it wrapped.
func TestChromiumAppearance(t *testing.T) {
	r, _, v := startInBrowser(t)
	long := strings.Repeat("a-very-long-scope-name:", 8) + "x"
	u := r.broker.opts.Upstreams["docs"]
	u.Scopes = append(u.Scopes, long)
	r.broker.opts.Upstreams["docs"] = u
	v.Set("scope", "documents:read "+long)
	for _, scheme := range []string{"light", "dark"} {
		t.Run(scheme, func(t *testing.T) {
			b := openTab(t)
			call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			b.run(chromedp.EmulateViewport(320, 640), chromedp.Navigate(r.authorizeURL(v)), chromedp.WaitVisible(chromedp.CSS(allow)))
			if ratio := value[float64](b, contrast); ratio < 4.5 {
				t.Errorf("contrast %.2f", ratio)
			}
			if dark := value[bool](b, `getComputedStyle(document.body).backgroundColor === 'rgb(20, 20, 20)'`); dark != (scheme == "dark") {
				t.Errorf("dark: %v", dark)
			}
			if width := value[int](b, `document.documentElement.scrollWidth`); width > 320 {
				t.Errorf("%d px wide on a screen of 320", width)
			}
			if height := value[float64](b, `Math.min(...[...document.querySelectorAll('button')].map(b => b.getBoundingClientRect().height))`); height < 24 {
				t.Errorf("a button is %.0f px high", height)
			}
			if folder := os.Getenv("CHROMIUM_SHOTS"); folder != "" {
				_ = os.WriteFile(folder+"/"+scheme+".png", get(b, chromedp.FullScreenshot(100)), 0o600)
			}
		})
	}
}
