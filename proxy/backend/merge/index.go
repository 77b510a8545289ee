package merge

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/yosida95/uritemplate/v3"
	"golang.org/x/sync/singleflight"

	"mcp-sidecar/proxy/wire"
)

// index knows which server lists which resource. Servers answer for URIs that no
// name of theirs stands in, so this alone says whose a resource is.
type index struct {
	mu     sync.RWMutex
	listed map[string]*listed   // by server
	whole  bool                 // every server has been asked for all of its lists
	looked map[string]time.Time // when a session's lists were fetched for a URI
	looks  singleflight.Group
}

// indexes hold one index for everybody; or one for each caller, where a server is
// shown a credential of each: what it lists is the caller's then, and says nothing
// of another's.
type indexes struct {
	perCaller bool

	mu sync.Mutex
	of map[string]*index // by owner; empty for everybody
}

// maxIndexes bounds the callers whose lists are remembered. Who is forgotten is
// asked for again.
const maxIndexes = 4096

func (v *indexes) at(owner string) *index {
	if !v.perCaller {
		owner = ""
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	x := v.of[owner]
	if x != nil {
		return x
	}
	if v.of == nil {
		v.of = map[string]*index{}
	}
	for other := range v.of {
		if len(v.of) < maxIndexes {
			break
		}
		delete(v.of, other)
	}
	x = &index{listed: map[string]*listed{}, looked: map[string]time.Time{}}
	v.of[owner] = x
	return x
}

// listed is what one server lists, as far as it has been asked.
type listed struct {
	uris      map[string]bool
	templates []template
	changed   bool // it has said so since
}

// template is a resource template.
type template struct {
	raw    string
	prefix string         // what every URI that matches begins with
	match  *regexp.Regexp // nil matches the template's own text only: RFC 6570 does not know it
}

// Bounds of the index. Servers choose the templates and clients the URIs, and each
// is held against each.
const (
	maxTemplates    = 64      // of one server
	maxVariables    = 128     // in them; each may match anywhere, so that they multiply the work
	maxTemplateSize = 1024    // bytes
	maxMatched      = 2 << 10 // bytes of a URI
	maxLooked       = 4096
)

func newTemplate(raw string) template {
	t := template{raw: strings.Clone(raw)} // not the message's memory
	parsed, err := uritemplate.New(t.raw)
	if err == nil && len(raw) <= maxTemplateSize {
		t.match = parsed.Regexp()
		t.prefix = t.raw[:len(t.raw)-len(strings.TrimLeft(t.raw, plainCharacters))]
	}
	return t
}

// plainCharacters are those that an expansion leaves as they are.
const plainCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/"

// variables is how many variables a template has, or more.
func variables(raw string) int { return strings.Count(raw, "{") + strings.Count(raw, ",") }

func (t template) covers(uri string) bool {
	return t.raw == uri || t.match != nil && len(uri) <= maxMatched && strings.HasPrefix(uri, t.prefix) && t.match.MatchString(uri)
}

func (l *listed) has(uri string) bool {
	if l.uris[uri] {
		return true
	}
	for _, t := range l.templates {
		if t.covers(uri) {
			return true
		}
	}
	return false
}

// owner is the one server that lists uri, or whose template matches it; empty when
// there is none, or more than one: then it is not certain whose it is.
func (x *index) owner(uri string) string {
	if uri == "" {
		return ""
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	owner := ""
	for name, l := range x.listed {
		if !l.has(uri) {
			continue
		}
		if owner != "" {
			return ""
		}
		owner = name
	}
	return owner
}

func (x *index) of(server string) *listed {
	if x.listed[server] == nil {
		x.listed[server] = &listed{}
	}
	return x.listed[server]
}

// setURIs replaces what server lists.
func (x *index) setURIs(server string, uris []string) {
	set := make(map[string]bool, len(uris))
	for _, u := range uris {
		set[strings.Clone(u)] = true // not the message's memory
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.of(server).uris, x.of(server).changed = set, false
}

func (x *index) setTemplates(server string, raws []string) {
	var templates []template
	left := maxVariables
	for _, raw := range raws[:min(len(raws), maxTemplates)] {
		if left -= variables(raw); left < 0 {
			break
		}
		templates = append(templates, newTemplate(raw))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.of(server).templates = templates
}

// changes notes that what server lists has changed. Until it lists again, what it
// listed before counts: another server must not get it in the meantime.
func (x *index) changes(server string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.of(server).changed = true
	clear(x.looked)
}

// certain says whether servers need not be asked whose uri is. Before all of them
// have been, a template of one may match what another lists.
func (x *index) certain(uri string) bool {
	owner := x.owner(uri)
	x.mu.RLock()
	defer x.mu.RUnlock()
	return owner != "" && x.whole && !x.listed[owner].changed
}

// lookedLately says whether the lists of a session are fresh enough to prove that
// no server has a resource.
func (x *index) lookedLately(session string, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	last, ok := x.looked[session]
	return ok && now.Sub(last) < lookPause
}

func (x *index) hasLooked(session string, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.looked) >= maxLooked {
		clear(x.looked)
	}
	x.looked[session], x.whole = now, true
}

// lookPause is how long lists are proof that no server has a resource.
const lookPause = time.Second

// Locate makes sure that [Servers.Split] knows whose the resource uri is, as far as
// servers say so: it asks for their lists, in the session and for the owner of x.
// Whoever needs them at the same time waits for the same lists.
func (g *Servers) Locate(ctx context.Context, x wire.Exchange, uri string) error {
	session, index := x.Owner+"\x00"+x.Session, g.indexes.at(x.Owner)
	if index.certain(uri) || index.lookedLately(session, g.opts.Now()) {
		return nil
	}
	// Others wait for this, so it must not end with the client that asked first.
	looking := index.looks.DoChan(session, func() (any, error) { return nil, g.look(context.WithoutCancel(ctx), x, session) })
	select {
	case r := <-looking:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look fetches the lists, templates first: a resource is withheld where another
// server's template matches it.
func (g *Servers) look(ctx context.Context, x wire.Exchange, session string) (err error) {
	defer func() { // nobody else would catch it: this is not the goroutine of an exchange
		if v := recover(); v != nil {
			err = fmt.Errorf("listing resources: panic of type %T", v)
		}
	}()
	index := g.indexes.at(x.Owner)
	if index.lookedLately(session, g.opts.Now()) {
		return nil // somebody's look ended between the caller's question and this one
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.life, cancel)()
	modern := x.Method != ""
	for _, method := range []string{"resources/templates/list", "resources/list"} {
		x.Verb, x.Call, x.Own, x.Name, x.Params, x.Server = wire.Send, true, true, "", nil, ""
		x.Body = g.listRequest(method, modern, x.Version)
		if modern {
			x.Method = method
		}
		if err := g.Do(ctx, x, unread{}); err != nil {
			return fmt.Errorf("listing resources: %w", err)
		}
	}
	index.hasLooked(session, g.opts.Now())
	return nil
}

// listRequest is a request of the sidecar's own.
func (g *Servers) listRequest(method string, modern bool, version string) []byte {
	b := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":"mcp-sidecar/merged-%d","method":%q,"params":{`, g.own.Add(1), method)
	if modern {
		b = fmt.Appendf(b, `"_meta":{"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientInfo":{"name":"mcp-sidecar","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`, version)
	}
	return append(b, `}}`...)
}

// unread takes a list that is asked for because of what is learned from it.
type unread struct{}

// Reply implements [wire.Sink].
func (unread) Reply(wire.Reply) error { return nil }

// Message implements [wire.Sink].
func (unread) Message(wire.Event) error { return nil }
