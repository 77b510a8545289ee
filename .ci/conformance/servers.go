package main

import (
	"bytes"
	"context"
	_ "embed" // the script below
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// preload makes two runs of one server say the same.
//
//go:embed preload.mjs
var preload []byte

// pair is a way through the sidecar: the client's transport and the server's.
type pair struct{ client, upstream string }

func (p pair) String() string { return p.client + " to " + p.upstream }

var pairs = []pair{{"stdio", "stdio"}, {"http", "stdio"}, {"http", "http"}, {"stdio", "http"}}

// changes are what a guard changes on purpose with preset balanced. Everything
// else stays byte for byte; with preset observe, everything does.
var changes = []change{
	{server: "*", step: "unknown tool", path: "/*", reason: "one answer for tools that do not exist, are hidden or are forbidden"},
	{server: "server-everything", step: "get-env 1", path: "/result/content/0/text", reason: "the environment holds a key, which is redacted"},
	{server: "server-everything", step: "get-env 1", path: "/result/_meta", reason: "says so; a note would break the JSON of the text"},
	{server: "server-everything", step: "echo 1", path: "/result/content/0/text", reason: "a NUL in the text is made visible"},
	{server: "server-everything", step: "echo 1", path: "/result/content/1", reason: "the note that says so"},
	{server: "server-everything", step: "echo 2", path: "/result/content/0/text", reason: "refused by the published schema before the server refuses it: message is missing"},
	{server: "server-everything", step: "echo 2", path: "/result/_meta", reason: "says so"},
	{server: "server-everything", step: "echo 3", path: "/result/content/0/text", reason: "refused by the published schema before the server refuses it: message is no text"},
	{server: "server-everything", step: "echo 3", path: "/result/_meta", reason: "says so"},
	{server: "server-everything", step: "get-structured-content 2", path: "/result/content/0/text", reason: "refused by the published schema before the server refuses it: location is none of the list"},
	{server: "server-everything", step: "get-structured-content 2", path: "/result/_meta", reason: "says so"},
	{server: "server-everything", step: "get-sum 2", path: "/result/content/0/text", reason: "refused by the published schema before the server refuses it: a is no number"},
	{server: "server-everything", step: "get-sum 2", path: "/result/_meta", reason: "says so"},
	{server: "server-everything", step: "initialize", path: "/result/instructions", reason: "they are addressed to an agent and tell it what to answer (their Easter egg), which the model takes for an order: wrapped"},
	{server: "server-everything", step: "initialize", path: "/result/_meta", reason: "says so"},
	{server: "server-everything", step: "read 7 demo://resource/static/document/instructions.md", path: "/result/contents/0/text", reason: "the same text as a resource"},
	{server: "server-everything", step: "read 7 demo://resource/static/document/instructions.md", path: "/result/_meta", reason: "says so"},
	{server: "server-filesystem", step: "read_text_file 4", path: "/result/content/0/text", reason: "the file holds a key, which is redacted"},
	{server: "server-filesystem", step: "read_text_file 4", path: "/result/structuredContent/content", reason: "the same in the other view"},
	{server: "server-filesystem", step: "read_text_file 4", path: "/result/_meta", reason: "says so"},
	{server: "server-filesystem", step: "tools/list 1", path: "/result/tools/*/inputSchema/properties/confirm", reason: "tools that say they destroy something want to be confirmed"},
	{server: "server-memory", step: "tools/list 1", path: "/result/tools/*/inputSchema/properties/confirm", reason: "tools that say they destroy something want to be confirmed"},
}

// tolerated are notifications that may come or not, and why.
var tolerated = []struct{ upstream, method, reason string }{
	{"http", "notifications/tools/list_changed", "sent as soon as the client is there: whether it is heard depends on how soon after that the client's stream opens, also directly"},
}

// compareServers plays the same to each npm server, directly and through the
// sidecar.
func (b *bench) compareServers(ctx context.Context) error {
	if err := os.WriteFile(b.preload(), preload, 0o600); err != nil {
		return err
	}
	fmt.Printf("%-20s %-16s %-10s %9s %10s %14s %12s\n", "SERVER", "PAIR", "PRESET", "ANSWERS", "QUESTIONS", "NOTIFICATIONS", "REGRESSIONS")
	var all []error
	used := make([]bool, len(changes))
	for _, s := range npmServers {
		for _, upstream := range upstreamKinds {
			if upstream == "http" && !s.http {
				continue
			}
			if err := b.compareServer(ctx, s, upstream, used); err != nil {
				all = append(all, fmt.Errorf("%s, %s upstream: %w", s.name, upstream, err))
			}
		}
	}
	for i, c := range changes {
		if !used[i] && len(all) == 0 {
			all = append(all, fmt.Errorf("no run of %s shows the change of %s at %s: take it out of the table", c.server, c.step, c.path))
		}
	}
	return errors.Join(append(all, b.compareEras(ctx), b.roundTrip(ctx))...)
}

func (b *bench) compareServer(ctx context.Context, s npmServer, upstream string, used []bool) error {
	direct, err := b.playDirect(ctx, s, upstream, false)
	if err != nil {
		return fmt.Errorf("directly: %w", err)
	}
	// What differs between two direct runs would be blamed on the sidecar.
	again, err := b.playDirect(ctx, s, upstream, false)
	if err != nil {
		return fmt.Errorf("directly: %w", err)
	}
	if found := compareTranscripts(s.name, pair{upstream, upstream}, false, direct, again, used); len(found) > 0 {
		return fmt.Errorf("two direct runs differ:\n    %s", strings.Join(found, "\n    "))
	}
	if len(s.blocked) > 0 {
		if again, err = b.playDirect(ctx, s, upstream, true); err != nil {
			return fmt.Errorf("directly: %w", err)
		}
	}
	var all []error
	for _, p := range pairs {
		if p.upstream == upstream {
			all = append(all, b.comparePair(ctx, s, p, "observe", direct, used), b.comparePair(ctx, s, p, "balanced", again, used))
		}
	}
	return errors.Join(all...)
}

func (b *bench) comparePair(ctx context.Context, s npmServer, p pair, preset string, direct transcript, used []bool) error {
	through, err := b.playThrough(ctx, s, p, preset, direct.size)
	if err != nil {
		return fmt.Errorf("%w: %s, %s: %w", errRegression, p, preset, err)
	}
	found := compareTranscripts(s.name, p, preset != "observe", direct, through, used)
	fmt.Printf("%-20s %-16s %-10s %9d %10d %14d %12d\n", s.name, p, preset, len(through.answers), len(through.questions), len(through.notifications), len(found))
	for _, line := range found {
		fmt.Printf("    REGRESSION %s\n", line)
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: %s, %s: %d messages", errRegression, p, preset, len(found))
	}
	return nil
}

// transcript is what a client heard.
type transcript struct {
	answers       map[string][]byte // by step
	questions     [][]byte          // in their order
	notifications [][]byte          // sorted: they may overtake answers
	size          int               // of all messages
}

// random are ids that a server makes anew on each start, which preload cannot
// repeat: how many it makes before depends on the streams that are open.
var random = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

func write(all []heard) transcript {
	t := transcript{answers: map[string][]byte{}, size: len(all)}
	for _, h := range all {
		body := random.ReplaceAll(h.body, []byte("00000000-0000-4000-8000-000000000000"))
		switch h.kind {
		case answer:
			t.answers[h.step] = body
		case question:
			t.questions = append(t.questions, body)
		default:
			t.notifications = append(t.notifications, body)
		}
	}
	slices.SortFunc(t.notifications, bytes.Compare)
	return t
}

// compareTranscripts describes what is different through the sidecar and should
// not be.
func compareTranscripts(server string, p pair, guarded bool, direct, through transcript, used []bool) []string {
	var found []string
	for step, want := range direct.answers {
		found = append(found, compareMessages(server, step, guarded, want, through.answers[step], used)...)
	}
	for step := range through.answers {
		if _, known := direct.answers[step]; !known {
			found = append(found, step+": an answer that is not there directly")
		}
	}
	for i := range max(len(direct.questions), len(through.questions)) {
		found = append(found, compareMessages(server, fmt.Sprintf("question %d", i+1), guarded, at(direct.questions, i), at(through.questions, i), used)...)
	}
	want, got := direct.expected(p.upstream), through.expected(p.upstream)
	for _, n := range without(want, got) {
		found = append(found, fmt.Sprintf("notification missing: %.400s", n))
	}
	for _, n := range without(got, want) {
		found = append(found, fmt.Sprintf("notification that is not there directly: %.400s", n))
	}
	slices.Sort(found)
	return found
}

// expected are the notifications without those that may come or not.
func (t transcript) expected(upstream string) [][]byte {
	return slices.DeleteFunc(slices.Clone(t.notifications), func(n []byte) bool {
		for _, may := range tolerated {
			if may.upstream == upstream && bytes.Contains(n, []byte(`"`+may.method+`"`)) {
				return true
			}
		}
		return false
	})
}

// without is a less one of each of b.
func without(a, b [][]byte) [][]byte {
	left := map[string]int{}
	for _, m := range b {
		left[string(m)]++
	}
	return slices.DeleteFunc(slices.Clone(a), func(m []byte) bool {
		left[string(m)]--
		return left[string(m)] >= 0
	})
}

func at(list [][]byte, i int) []byte {
	if i < len(list) {
		return list[i]
	}
	return nil
}

func compareMessages(server, step string, guarded bool, direct, through []byte, used []bool) []string {
	switch {
	case bytes.Equal(direct, through):
		return nil
	case through == nil:
		return []string{step + ": missing"}
	case direct == nil:
		return []string{fmt.Sprintf("%s: not there directly: %.300s", step, through)}
	}
	list, err := differences(direct, through)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", step, err)}
	}
	if len(list) == 0 {
		return []string{fmt.Sprintf("%s: written in another way: %.300s instead of %.300s", step, through, direct)}
	}
	var found []string
	for _, d := range list {
		covered := false
		for i, c := range changes {
			if guarded && c.covers(server, step, d) {
				covered, used[i] = true, true
			}
		}
		if !covered {
			found = append(found, step+" "+d.String())
		}
	}
	return found
}

func (b *bench) playDirect(ctx context.Context, s npmServer, upstream string, guarded bool) (transcript, error) {
	dir, env, err := b.room()
	if err != nil {
		return transcript{}, err
	}
	r := route{command: b.command(s, dir), env: env}
	if upstream == "http" {
		up, err := b.startHTTP(ctx, s, dir, env)
		if err != nil {
			return transcript{}, err
		}
		defer up.stop()
		r.url = up.url
	}
	c := newClient(ctx)
	c.guarded = guarded
	if err := b.connect(ctx, c, r); err != nil {
		return transcript{}, err
	}
	defer c.link.close()
	if err := s.play(c, dir); err != nil {
		return transcript{}, err
	}
	return write(c.all(0)), nil
}

// playThrough plays through a sidecar; size is how many messages come directly.
func (b *bench) playThrough(ctx context.Context, s npmServer, p pair, preset string, size int) (transcript, error) {
	dir, env, err := b.room()
	if err != nil {
		return transcript{}, err
	}
	r, err := b.route(ctx, s, p, preset, dir, env)
	if err != nil {
		return transcript{}, err
	}
	defer r.stop()
	c := newClient(ctx)
	if err := b.connect(ctx, c, r); err != nil {
		return transcript{}, err
	}
	defer c.link.close()
	c.guarded = preset != "observe"
	if err := s.play(c, dir); err != nil {
		return transcript{}, err
	}
	heard := write(c.all(size))
	if c.guarded {
		err = s.playBlocked(c, dir)
	}
	return heard, err
}
