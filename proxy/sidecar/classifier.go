package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/injection"
	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/proxy/classifier"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/pipeline"
)

// ruleClassifier is the rule of what the classifier has flagged.
const ruleClassifier = "classifier"

// Bounds of what is asked. Both are about the classifier: a message of many doubtful texts must
// not flood it, and one that fails must not hold up every call.
const (
	maxQuestions = 64 // of one message
	askAgain     = 2 * time.Second
)

// doubts asks the operator's classifier where the injection guard is not sure. It only adds to
// what the guard has found: a service that is fooled, down or hostile takes nothing away.
type doubts struct {
	client    *classifier.Client
	low, high float64 // high is 0 where the guard's own threshold counts
	timeout   time.Duration
	pass      bool // what nobody answered is let be
	life      context.Context
	now       func() time.Time
	log       *slog.Logger
	failed    atomic.Pointer[time.Time] // when the last question failed; nil where it did not
}

func (s *Sidecar) buildClassifier() error {
	c := s.cfg.Classifier
	if c == nil {
		return nil
	}
	low, high := c.Zone()
	// Otherwise nobody would ever be asked, and a check that looks on would be off.
	if least := injection.Doubts(guards.Text{Kind: guards.Description}).Least; low >= least {
		return fmt.Errorf("%w: classifier.low: must be below %.2f, where the injection guard reports by itself", ErrConfig, least)
	}
	token, err := s.optionalSecret(c.TokenFile)
	if err == nil {
		err = s.refuseInbound(token.Reveal())
	}
	if err != nil {
		return fmt.Errorf("%w: classifier.token_file: %w", ErrConfig, err)
	}
	client, err := classifier.New(c.URL, token)
	if err != nil {
		return fmt.Errorf("%w: classifier.url: %w", ErrConfig, err)
	}
	s.doubts = &doubts{
		client: client, low: low, high: high, timeout: time.Duration(cmp.Or(c.Timeout, config.DefaultClassifierTimeout)),
		pass: c.OnError == config.OnErrorPass, life: s.life, now: s.opts.Now, log: s.log,
	}
	return nil
}

// reviews starts reviews of messages; nil without a classifier.
func (s *Sidecar) reviews() func() pipeline.Review {
	if s.doubts == nil {
		return nil
	}
	return func() pipeline.Review { return (&questions{doubts: s.doubts}).review }
}

// questions are those about one message.
type questions struct {
	*doubts
	asked, answered int
	until           time.Time // when the message goes on
}

// review implements [pipeline.Review].
func (q *questions) review(guard string, t guards.Text, found []guards.Finding) (all []guards.Finding, passed bool) {
	if guard != injection.Name || len(found) > 0 {
		return found, false
	}
	d := injection.Doubts(t)
	report := func(rule, what string, score float64) []guards.Finding {
		return []guards.Finding{{Guard: injection.Name, Rule: rule, Label: "prompt_injection:" + what, Start: d.Start, End: d.End, Score: score}}
	}
	switch {
	case d.Score < q.low:
		return nil, false
	case d.Score >= min(cmp.Or(q.high, d.Least), d.Least):
		if t.Except.Has(injection.Suspected) {
			return nil, false
		}
		return report(injection.Suspected, injection.Suspected, d.Score), false
	case t.Except.Has(ruleClassifier):
		return nil, false
	}
	switch v, err := q.ask(t, d); {
	case err != nil && q.pass:
		return nil, true
	case err != nil:
		return report(ruleClassifier, ruleClassifier+"-unanswered", d.Score), false
	case v.Flagged:
		return report(ruleClassifier, ruleClassifier, v.Score), false
	}
	return nil, false
}

// errNotAsked says that a question was not put at all.
var errNotAsked = errors.New("the classifier is not asked")

func (q *questions) ask(t guards.Text, d injection.Doubt) (classifier.Verdict, error) {
	failed := q.failed.Load()
	if q.asked == maxQuestions || failed != nil && q.now().Before(failed.Add(askAgain)) {
		return classifier.Verdict{}, errNotAsked
	}
	if q.asked++; q.asked == 1 {
		q.until = time.Now().Add(q.timeout)
	}
	ctx, cancel := context.WithDeadline(q.life, q.until)
	defer cancel()
	v, err := q.client.Ask(ctx, classifier.Question{Text: doubtful(t, d), Kind: kindNames[t.Kind], Score: d.Score})
	switch {
	case err == nil:
		q.answered++
		if q.failed.Swap(nil) != nil {
			q.log.Info("the classifier answers again")
		}
	case errors.Is(err, classifier.ErrTime) && q.answered > 0: // the time was spent on the others
	default:
		now := q.now()
		if q.failed.Swap(&now) == nil {
			q.log.Warn("the classifier does not answer", "reason", err.Error(), "on_error", q.onError().String())
		}
	}
	return v, err
}

func (q *questions) onError() config.OnError {
	if q.pass {
		return config.OnErrorPass
	}
	return config.OnErrorFlag
}

// kindNames are the kinds of texts as questions name them.
var kindNames = map[guards.Kind]string{
	guards.Content: "content", guards.Structured: "structured", guards.Error: "error", guards.Description: "description",
	guards.Instructions: "instructions", guards.Notification: "notification",
}

// doubtful is the part of t that the model is not sure of, with what stands around it. Secrets
// are taken out, whatever the mode of their guard: the classifier is somebody else. They are
// looked for in the whole text, so that none is cut in two.
func doubtful(t guards.Text, d injection.Doubt) string {
	around := max(0, classifier.MaxText-(d.End-d.Start)) / 2
	from := max(0, d.Start-around)
	to := min(len(t.Value), from+classifier.MaxText)
	t.Except = nil
	found := append(secrets.OwnGuard{}.Find(t), secrets.New().Find(t)...)
	slices.SortFunc(found, func(a, b guards.Finding) int { return cmp.Compare(a.Start, b.Start) })
	var b strings.Builder
	for _, f := range found {
		if f.End > from && f.Start < to {
			b.WriteString(t.Value[from:max(from, f.Start)])
			b.WriteString("[REDACTED]")
			from = min(f.End, to)
		}
	}
	b.WriteString(t.Value[from:to])
	text := b.String()
	return strings.ToValidUTF8(text[:min(len(text), classifier.MaxText)], "")
}
